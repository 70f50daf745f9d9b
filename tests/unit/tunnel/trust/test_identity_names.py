import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.trust.identity import Identity, certificate_of, identity_of
from mtls_tunnel.trust.pki import Credential, Names
from support import der as encode
from support.clock import NOW
from support.leaves import der
from support.pki import SPIFFE_ID, Authority

CA = Authority(now=NOW)
CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741


def read(credential: Credential) -> Identity:
    return identity_of(credential.certificate)


def subject(*rdns: list[tuple[x509.ObjectIdentifier, str]]) -> Credential:
    """A leaf whose subject has these RDNs, each a list of attributes."""
    name = x509.Name(
        x509.RelativeDistinguishedName([x509.NameAttribute(oid, value) for oid, value in rdn]) for rdn in rdns
    )
    return CA.odd(Names(dns=("localhost",)), subject=name)


def sans(*names: x509.GeneralName) -> Credential:
    return CA.odd(Names(cn="x"), (x509.SubjectAlternativeName(names), False))


def test_every_name_of_an_ordinary_leaf_is_read() -> None:
    leaf = CA.leaf(
        "frontend",
        org=("Example", "Example Ltd"),
        ou=("Web",),
        dns=("A.Example.COM", "*.example.com"),
        ip=("10.0.0.1", "2001:DB8::0:1"),
        uri=(SPIFFE_ID,),
        email=("Ops@Example.COM",),
    )
    assert read(leaf) == Identity(
        fingerprint=hashlib.sha256(der(leaf)).hexdigest(),
        subject=leaf.certificate.subject.rfc4514_string(),
        cn="frontend",
        orgs=("Example", "Example Ltd"),
        ous=("Web",),
        dns=("a.example.com", "*.example.com"),
        ips=("10.0.0.1", "2001:db8::1"),
        emails=("Ops@example.com",),
        uris=(SPIFFE_ID,),
        uri=SPIFFE_ID,
        spiffe_id=SPIFFE_ID,
        not_before=NOW - 86400,
        not_after=NOW + 90 * 86400,
        serial=leaf.certificate.serial_number,
        every_cn=("frontend",),
        every_org=("Example", "Example Ltd"),
        every_ou=("Web",),
    )


def test_a_leaf_without_names_is_an_identity_without_names() -> None:
    who = read(subject())
    assert (who.cn, who.orgs, who.dns, who.uri, who.trust_domain) == (None, (), ("localhost",), None, None)


def test_two_common_names_are_none() -> None:
    who = read(subject([(CN, "a")], [(CN, "b")]))
    assert (who.cn, who.every_cn) == (None, ("a", "b"))


def test_a_multi_valued_rdn_names_nobody_and_still_counts_against() -> None:
    who = read(subject([(CN, "a"), (O, "Ops"), (OU, "Web")]))
    assert (who.cn, who.orgs, who.ous) == (None, (), ())
    assert (who.every_cn, who.every_org, who.every_ou) == (("a",), ("Ops",), ("Web",))


def test_a_second_common_name_in_a_multi_valued_rdn_makes_the_first_ambiguous() -> None:
    assert read(subject([(CN, "a")], [(CN, "b"), (O, "Ops")])).cn is None


@pytest.mark.parametrize("value", ["a,O=Ops", "a+O=Ops", "a/O=Ops", "a\nO=Ops", "a\\,O=Ops", 'a"', "#0c01"])
def test_characters_that_need_escapes_stay_inside_their_value(value: str) -> None:
    who = read(subject([(CN, value)]))
    assert (who.cn, who.orgs) == (value, ())


@pytest.mark.parametrize("oid", [CN, O, OU, NameOID.LOCALITY_NAME], ids=lambda oid: oid._name)
def test_a_nul_anywhere_in_the_subject_refuses_the_certificate(oid: x509.ObjectIdentifier) -> None:
    with pytest.raises(PeerRejected) as caught:
        read(subject([(oid, "frontend\0.evil")]))
    assert caught.value.reason == "bad_certificate"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(x509.DNSName("db\0.evil.example"), id="dns"),
        pytest.param(x509.UniformResourceIdentifier("spiffe://example.org/a\0b"), id="uri"),
        pytest.param(x509.RFC822Name("ops@example.com\0.evil"), id="email"),
        pytest.param(
            x509.DirectoryName(x509.Name([x509.NameAttribute(CN, "a\0b")])),
            id="directory name",
        ),
    ],
)
def test_a_nul_in_any_alternative_name_refuses_the_certificate(name: x509.GeneralName) -> None:
    with pytest.raises(PeerRejected) as caught:
        read(sans(x509.DNSName("good.example"), name))
    assert caught.value.reason == "bad_certificate"


def unparsable(content: bytes) -> Credential:
    value = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, content)
    return CA.odd(Names(cn="x"), (value, False))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x30\x05\x82\x10abc", id="length that lies"),
        pytest.param(b"\x30\x03\x87\x01\x0a", id="address of one byte"),
        pytest.param(b"\x30\x03\x82\x01\xff", id="DNS name beyond ASCII"),
        pytest.param(b"\x30\x04\x86\x02\xc3\xa4", id="URI beyond ASCII"),
        pytest.param(b"\x30\x02\xa3\x00", id="X.400 address"),
    ],
)
def test_alternative_names_that_do_not_parse_refuse_the_certificate(content: bytes) -> None:
    with pytest.raises(PeerRejected) as caught:
        read(unparsable(content))
    assert caught.value.reason == "bad_certificate"


def test_a_network_among_the_addresses_is_no_address() -> None:
    assert read(unparsable(b"\x30\x0a\x87\x08\x0a\x00\x00\x00\xff\x00\x00\x00")).ips == ()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([x509.DNSName("spiffe://example.org/frontend")], id="as DNS name"),
        pytest.param([x509.RFC822Name("spiffe://example.org/frontend")], id="as e-mail"),
        pytest.param([x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x02hi")], id="as other name"),
    ],
)
def test_a_look_alike_in_another_kind_of_name_is_no_spiffe_id(names: list[x509.GeneralName]) -> None:
    who = read(sans(*names))
    assert (who.uri, who.uris, who.spiffe_id) == (None, (), None)


def test_a_spiffe_id_in_the_common_name_is_only_a_common_name() -> None:
    who = read(CA.leaf(SPIFFE_ID))
    assert (who.cn, who.uri, who.spiffe_id) == (SPIFFE_ID, None, None)


@given(st.integers(min_value=2, max_value=9), st.booleans())
def test_no_number_of_uris_above_one_gives_a_uri(count: int, same: bool) -> None:
    """X509-SVID §5.2: a validator must refuse, not pick one."""
    uris = tuple(SPIFFE_ID if same else f"{SPIFFE_ID}/{n}" for n in range(count))
    who = read(CA.leaf("x", uri=uris))
    assert (who.uri, who.spiffe_id, who.uris) == (None, None, uris)


def test_another_scheme_is_a_uri_and_no_spiffe_id() -> None:
    who = read(CA.leaf("x", uri=("https://example.org/a",)))
    assert (who.uri, who.spiffe_id) == ("https://example.org/a", None)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://Example.org/a",
        "spiffe://example.org/%2e%2e/a",
        "spiffe://example.org//a",
        "spiffe://example.org/a/",
        "spiffe://example.org:8443/a",
        "spiffe://example.org/a?b",
        "SPIFFE://example.org/a",
        pytest.param("spiffe://example.org/" + "a" * 2048, id="over 2048 bytes"),
    ],
)
def test_a_malformed_spiffe_id_cannot_be_matched_but_can_be_denied(uri: str) -> None:
    who = read(CA.leaf("x", uri=(uri,)))
    assert (who.uri, who.spiffe_id, who.uris) == (None, None, (uri,))


def key_usage(**bits: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # type: ignore[assignment]
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names})


@pytest.mark.parametrize(
    "leaf",
    [
        pytest.param(CA.ca_leaf(uri=(SPIFFE_ID,)), id="CA certificate"),
        pytest.param(CA.no_digital_signature(uri=(SPIFFE_ID,)), id="no digitalSignature"),
        pytest.param(
            CA.odd(Names(uris=(SPIFFE_ID,)), (key_usage(digital_signature=True, key_cert_sign=True), True)),
            id="keyCertSign",
        ),
        pytest.param(
            CA.odd(Names(uris=(SPIFFE_ID,)), (key_usage(digital_signature=True, crl_sign=True), True)), id="cRLSign"
        ),
    ],
)
def test_a_certificate_that_may_not_be_an_svid_has_no_spiffe_id(leaf: Credential) -> None:
    assert (read(leaf).uri, read(leaf).spiffe_id) == (None, None)


def test_a_leaf_without_key_usage_may_be_an_svid() -> None:
    """X509-SVID §5.2 does not make validators ask for it, and openssl recipes leave it out."""
    assert read(CA.odd(Names(uris=(SPIFFE_ID,)), without=(x509.KeyUsage,))).spiffe_id == SPIFFE_ID


def test_the_trust_domain_is_that_of_the_spiffe_id() -> None:
    assert read(CA.leaf("x", uri=(SPIFFE_ID,))).trust_domain == "example.org"


def test_a_certificate_is_decoded_from_what_travels() -> None:
    leaf = CA.client()
    assert certificate_of(der(leaf)) == leaf.certificate


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate_are_refused(content: bytes) -> None:
    with pytest.raises(PeerRejected) as caught:
        certificate_of(content)
    assert caught.value.reason == "bad_certificate"


@pytest.mark.parametrize("length", [65, 5000])
def test_an_overlong_name_is_a_name_and_no_warning(length: int) -> None:
    """RFC 5280's upper bounds are not kept everywhere, and a peer must not write to our standard error."""
    value = encode.tlv(0x0C, b"a" * length)
    name = encode.sequence(encode.tlv(0x31, encode.sequence(bytes.fromhex("0603550403"), value)))
    public_key = CA.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = encode.certificate(name, encode.extension(encode.SAN, encode.sequence(b"\x82\x01a")), public_key)
    assert identity_of(certificate_of(raw)).cn == "a" * length
