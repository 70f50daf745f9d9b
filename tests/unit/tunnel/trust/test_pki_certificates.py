"""The development CA: certificates are parsed back, and OpenSSL with X509_STRICT accepts what it should."""

import itertools
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from mtls_tunnel.trust import pki
from mtls_tunnel.trust.pki import Credential, KeyKind, Names, Revoked, Validity
from support.clock import NOW
from support.pki import Authority

KINDS: tuple[KeyKind, ...] = ("ecdsa", "rsa", "ed25519")


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority(now=NOW)


def verify(leaf: Credential, root: Authority, *crls: x509.CertificateRevocationList, at: float = NOW) -> None:
    """Verify strictly, as OpenSSL does with X509_STRICT.  Raises X509StoreContextError."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(datetime.fromtimestamp(at, UTC).replace(tzinfo=None))
    store.add_cert(crypto.X509.from_cryptography(root.certificate))
    for crl in crls:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
        store.add_crl(crl)
    chain = [crypto.X509.from_cryptography(one) for one in leaf.chain]
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf.certificate), chain).verify_certificate()


@pytest.mark.parametrize(("above", "below"), list(itertools.product(KINDS, KINDS)))
def test_every_pair_of_key_kinds_verifies_strictly(above: KeyKind, below: KeyKind) -> None:
    root = Authority(now=NOW, key=above)
    verify(root.intermediate(key=above).leaf("web", dns=("web.example",), key=below), root)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("ecdsa", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey), ("ed25519", ed25519.Ed25519PrivateKey)],
)
def test_a_key_is_of_the_kind_asked_for(kind: KeyKind, form: type) -> None:
    assert isinstance(pki.new_key(kind), form)


def test_all_names_come_back_from_the_certificate(ca: Authority) -> None:
    leaf = ca.leaf(
        "web",
        org=("Example", "Other"),
        ou=("Ops",),
        dns=("web.example", "*.web.example"),
        ip=("10.0.0.1", "::1"),
        uri=("spiffe://example.org/web",),
        email=("ops@example.org",),
    ).certificate
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [one.value for one in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["Example", "Other"]
    assert leaf.subject.rfc4514_string() == "CN=web,OU=Ops,O=Other,O=Example"
    assert [str(one.value) for one in names.value] == [
        "web.example",
        "*.web.example",
        "10.0.0.1",
        "::1",
        "spiffe://example.org/web",
        "ops@example.org",
    ]
    assert not names.critical


def test_without_a_subject_the_san_is_critical(ca: Authority) -> None:
    leaf = ca.leaf(uri=("spiffe://example.org/web",))
    assert leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    verify(leaf, ca)


@pytest.mark.parametrize(
    ("server", "client", "usages"),
    [
        (True, False, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (False, True, [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (True, True, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
    ids=["server", "client", "both"],
)
def test_a_leaf_is_for_what_it_was_made_for(
    ca: Authority, server: bool, client: bool, usages: list[x509.ObjectIdentifier]
) -> None:
    leaf = ca.leaf("web", server=server, client=client).certificate
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


def test_an_intermediate_signs_leaves_and_no_other_ca(ca: Authority) -> None:
    below = ca.intermediate()
    verify(below.leaf("web"), ca)
    with pytest.raises(crypto.X509StoreContextError, match="path length"):
        verify(below.intermediate("deeper").leaf("web"), ca)


def test_what_is_sent_is_leaf_first_without_the_root(ca: Authority) -> None:
    below = ca.intermediate()
    leaf = below.leaf("web")
    assert x509.load_pem_x509_certificates(leaf.cert_pem) == [leaf.certificate, below.certificate]
    assert x509.load_pem_x509_certificates(ca.leaf("web").cert_pem) != [ca.certificate]


@pytest.mark.parametrize(("at", "good"), [(-2, False), (0, True), (89, True), (91, False)], ids=str)
def test_a_leaf_is_good_between_its_dates(ca: Authority, at: float, good: bool) -> None:
    leaf = ca.leaf("web", days=90)
    if good:
        verify(leaf, ca, at=NOW + at * pki.DAY_SECONDS)
    else:
        with pytest.raises(crypto.X509StoreContextError):
            verify(leaf, ca, at=NOW + at * pki.DAY_SECONDS)


def test_a_crl_revokes_what_it_lists_and_nothing_else(ca: Authority) -> None:
    good, bad = ca.leaf("good"), ca.leaf("bad")
    crl = ca.crl(bad)
    verify(good, ca, crl)
    with pytest.raises(crypto.X509StoreContextError, match="revoked"):
        verify(bad, ca, crl)


def test_a_crl_says_when_why_and_which_number(ca: Authority) -> None:
    line = Revoked(7, NOW - 5, x509.ReasonFlags.key_compromise)
    crl = pki.make_crl(ca.credential, [line], number=12, this_update=NOW, next_update=NOW + 60)
    (entry,) = crl
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 12
    assert (entry.serial_number, entry.revocation_date_utc.timestamp()) == (7, NOW - 5)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


def test_an_expired_crl_does_not_count(ca: Authority) -> None:
    with pytest.raises(crypto.X509StoreContextError, match="CRL has expired"):
        verify(ca.leaf("good"), ca, ca.crl(hours=-0.5))


@given(
    since=st.floats(min_value=-400, max_value=400),
    days=st.floats(min_value=1, max_value=400),
)
def test_no_validity_leaves_its_issuers(since: float, days: float) -> None:
    issuer = SHARED.certificate
    wanted = Validity(NOW + since * pki.DAY_SECONDS, NOW + (since + days) * pki.DAY_SECONDS)
    cut = wanted.within(issuer)
    assert issuer.not_valid_before_utc.timestamp() <= cut.not_before
    assert cut.not_after <= issuer.not_valid_after_utc.timestamp()


SHARED = Authority(now=NOW, days=100)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="10"):
        Names(ips=("10.0.0.0/8",)).alternatives()


def test_serials_are_large_and_never_the_same(ca: Authority) -> None:
    serials = {ca.leaf("web").certificate.serial_number for _ in range(20)}
    assert len(serials) == 20
    assert min(serials) > 2**64
