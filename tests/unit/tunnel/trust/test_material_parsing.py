import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.errors import MaterialError
from mtls_tunnel.trust import material as materials
from mtls_tunnel.trust.decode import PrivateKey
from mtls_tunnel.trust.material import Caution, File, Material, TlsFiles
from mtls_tunnel.trust.pki import Credential, KeyKind
from support.clock import NOW
from support.leaves import DAY, files
from support.pki import Authority

ROOT = Authority(now=NOW)
MIDDLE = ROOT.intermediate("Middle", path_length=None)
LOW = MIDDLE.intermediate("Low")
SERVER = ROOT.server()
DEEP = LOW.leaf("web", dns=("localhost",))


def parse(given_files: TlsFiles, *, strict: bool = False, serves: bool = True) -> Material:
    return materials.parse(given_files, now=NOW, strict=strict, serves=serves)


def problems(given_files: TlsFiles, *, strict: bool = False, serves: bool = True) -> list[str]:
    with pytest.raises(MaterialError) as caught:
        parse(given_files, strict=strict, serves=serves)
    return [str(problem) for problem in caught.value.problems]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def cautions(material: Material) -> list[str]:
    return [caution.msg for caution in material.warnings]


def test_a_good_set_is_read_whole_and_without_complaint() -> None:
    crl = ROOT.crl_pem(7)
    material = parse(files(DEEP, ROOT, trust=(("example.org", MIDDLE),), crls=(crl,)), strict=True)
    assert (material.leaf, material.chain) == (DEEP.certificate, (LOW.certificate, MIDDLE.certificate))
    assert material.bundle == (ROOT.certificate,)
    assert material.trust == (("example.org", (MIDDLE.certificate,)),)
    assert material.anchors() == (ROOT.certificate, MIDDLE.certificate)
    assert material.crls == (ROOT.crl(7),) or len(material.crls or ()) == 1
    assert material.key.public_key() == DEEP.key.public_key()
    assert material.warnings == ()
    assert material.bundle_digest == hashlib.sha256(ROOT.pem).hexdigest()
    assert (material.cert_path, material.key_path, material.ca_paths) == ("server.pem", "server-key.pem", ("ca.pem",))


def test_the_key_shows_in_no_text() -> None:
    assert "key=" not in repr(parse(files(SERVER, ROOT)))


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_every_usual_kind_and_form_of_key_is_read(kind: KeyKind, form: PrivateFormat) -> None:
    credential = ROOT.leaf("x", dns=("x",), key=kind)
    if kind == "ed25519" and form is PrivateFormat.TraditionalOpenSSL:
        return  # it has no older form
    key = credential.key.private_bytes(Encoding.PEM, form, NoEncryption())
    assert parse(files(credential, ROOT, key=File("k", key))).leaf == credential.certificate


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_the_three_curves_of_tls_are_taken(curve: ec.EllipticCurve) -> None:
    credential = self_signed(ec.generate_private_key(curve))
    assert parse(files(credential, ROOT)).leaf == credential.certificate


def self_signed(key: PrivateKey) -> Credential:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(ROOT.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(ROOT.certificate.not_valid_after_utc)
    return Credential(builder.sign(key, hashes.SHA256()), key)


def test_parameters_before_an_ec_key_are_passed_over() -> None:
    """As `openssl ecparam -genkey` writes it."""
    key = SERVER.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert parse(files(SERVER, ROOT, key=File("k", parameters + key))).leaf == SERVER.certificate


def test_one_combined_file_serves_as_certificate_and_key() -> None:
    both = File("both.pem", SERVER.key_pem + SERVER.cert_pem)
    assert parse(files(SERVER, ROOT, cert=both, key=both)).leaf == SERVER.certificate


# --- chain order -------------------------------------------------------------------------------------------

CHAIN = (DEEP.certificate, LOW.certificate, MIDDLE.certificate)


@given(st.permutations(CHAIN))
def test_a_reordered_chain_gives_the_same_material(shuffled: Sequence[x509.Certificate]) -> None:
    straight = parse(files(DEEP, ROOT))
    bent = parse(files(DEEP, ROOT, cert=File("server.pem", pem(*shuffled))))
    changed = tuple(shuffled) != CHAIN
    assert replace(bent, warnings=(), key=straight.key) == replace(straight, warnings=())
    assert cautions(bent) == ["certstore: chain put in order"] * changed


def test_a_wrong_order_is_an_error_when_strict() -> None:
    bent = files(DEEP, ROOT, cert=File("server.pem", pem(*reversed(CHAIN))))
    assert problems(bent, strict=True) == [
        "tls.cert: server.pem: chain put in order - leaf first, then each one's issuer"
    ]


def test_a_root_behind_the_chain_may_stay() -> None:
    material = parse(files(DEEP, ROOT, cert=File("c", pem(*CHAIN, ROOT.certificate))), strict=True)
    assert material.chain[-1] == ROOT.certificate


def test_certificates_that_do_not_chain_are_an_error() -> None:
    mixed = files(
        SERVER, ROOT, cert=File("server.pem", pem(SERVER.certificate, Authority("Other", now=NOW).certificate))
    )
    assert problems(mixed) == [
        "tls.cert: server.pem: CN=Other,O=Test did not issue anything in the leaf's chain"
        " - keep the leaf and its intermediates; the CAs that sign the peers go to tls.ca"
    ]


def test_a_key_of_another_pair_is_an_error() -> None:
    mixed = files(SERVER, ROOT, key=File("server-key.pem", ROOT.server().key_pem))
    assert problems(mixed) == [
        "tls.cert: no certificate of server.pem fits the key server-key.pem"
        " - cert and key have to be of one pair; one of the two may be of an older one"
    ]


# --- cautions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_files", "caution"),
    [
        pytest.param(
            files(SERVER, ROOT, key=File("k", SERVER.key_pem, readable_by_others=True)),
            Caution("certstore: key file can be read by others", "k", "chmod 600, or 640 with a group of its own"),
            id="key mode",
        ),
        pytest.param(
            files(SERVER, Authority("Other", now=NOW)),
            Caution(
                "certstore: leaf was not issued by a CA of tls.ca",
                "server.pem",
                "peers that trust only tls.ca refuse it",
            ),
            id="foreign leaf",
        ),
        pytest.param(
            files(ROOT.cn_only(), ROOT),
            Caution(
                "certstore: leaf has no subject alternative name, clients will refuse it",
                "server.pem",
                "issue it anew with its DNS names as SANs",
            ),
            id="no SAN",
        ),
        pytest.param(
            files(SERVER, ROOT, crls=()),
            Caution(
                "certstore: no CRL in tls.crl, every peer is refused",
                "",
                "put the CRL of the CA that signs the peers there",
            ),
            id="no CRL in the folder",
        ),
    ],
)
def test_what_works_but_should_not_stay_so_is_a_caution_and_an_error_when_strict(
    given_files: TlsFiles, caution: Caution
) -> None:
    assert parse(given_files).warnings == (caution,)
    assert len(problems(given_files, strict=True)) == 1


def test_names_are_only_asked_of_a_leaf_that_serves() -> None:
    assert parse(files(ROOT.cn_only(), ROOT), serves=False, strict=True).warnings == ()


# --- dates -------------------------------------------------------------------------------------------------


def test_an_expired_leaf_is_a_fact_and_no_error() -> None:
    material = parse(files(ROOT.expired(), ROOT))
    assert (material.expired(NOW), material.not_yet_valid(NOW), material.not_after) == (True, False, NOW - DAY)


def test_an_expired_leaf_is_an_error_when_strict() -> None:
    assert problems(files(ROOT.expired(), ROOT), strict=True) == [
        "tls.cert: server.pem: the leaf expired on 2026-11-20 12:00 UTC - renew it"
    ]


def test_a_leaf_of_tomorrow_is_not_yet_valid_and_an_error_when_strict() -> None:
    early = files(ROOT.not_yet_valid(), ROOT)
    material = parse(early)
    assert (material.expired(NOW), material.not_yet_valid(NOW)) == (False, True)
    assert problems(early, strict=True) == [
        "tls.cert: server.pem: the leaf is not valid before 2026-12-21 12:00 UTC"
        " - set the clock of this machine, or of the one that issued it"
    ]


def test_the_last_second_of_a_leaf_is_still_valid() -> None:
    material = parse(files(SERVER, ROOT))
    assert [material.expired(material.not_after + late) for late in (0, 1)] == [False, True]


# --- files that cannot be used -----------------------------------------------------------------------------

HALF = SERVER.cert_pem[:300]
BROKEN = SERVER.cert_pem.replace(b"MII", b"AII", 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"hello\n", "the file holds no PEM block", id="garbage"),
        pytest.param(HALF, "the file is incomplete", id="half written"),
        pytest.param(BROKEN, "certificate 1 of 1 does not parse", id="broken"),
        pytest.param(SERVER.key_pem, "the file holds no certificate", id="a key"),
        pytest.param(SERVER.certificate.public_bytes(Encoding.DER), "DER form", id="DER"),
        pytest.param(
            SERVER.cert_pem.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "OpenSSL's own", id="trusted certificate"
        ),
    ],
)
@pytest.mark.parametrize("role", ["cert", "ca"])
def test_a_certificate_file_that_is_none_says_what_it_is(role: str, content: bytes, sentence: str) -> None:
    file = File("x.pem", content)
    [problem] = problems(files(SERVER, ROOT, cert=file) if role == "cert" else files(SERVER, ROOT, ca=(file,)))
    assert problem.startswith(f"tls.{role}: x.pem: ")
    assert sentence in problem
    assert " - " in problem


def encrypted(form: PrivateFormat) -> bytes:
    return SERVER.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


def plain(key: rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(SERVER.cert_pem, "the file holds no private key", id="a certificate"),
        pytest.param(SERVER.key_pem[:60], "the file is incomplete", id="half written"),
        pytest.param(SERVER.key_pem * 2, "the file holds 2 private keys", id="two keys"),
        pytest.param(SERVER.key_pem.replace(b"MIG", b"AIG"), "the private key does not parse", id="broken"),
        pytest.param(encrypted(PrivateFormat.PKCS8), "the private key is encrypted", id="encrypted"),
        pytest.param(
            encrypted(PrivateFormat.TraditionalOpenSSL), "the private key is encrypted", id="encrypted, older"
        ),
        pytest.param(plain(rsa.generate_private_key(65537, 1024)), "the RSA key has 1024 bits", id="short RSA"),
        pytest.param(plain(ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1", id="odd curve"),
        pytest.param(plain(ed448.Ed448PrivateKey.generate()), "of a kind that TLS peers do not take", id="Ed448"),
        pytest.param(SERVER.key_pem.replace(b"PRIVATE", b"OPENSSH PRIVATE"), "is no key for TLS", id="a key of ssh"),
    ],
)
def test_a_key_file_that_is_none_says_what_it_is(content: bytes, sentence: str) -> None:
    [problem] = problems(files(SERVER, ROOT, key=File("k.pem", content)))
    assert problem.startswith("tls.key: k.pem: ")
    assert sentence in problem
    assert " - " in problem


def test_one_certificate_that_is_no_ca_refuses_the_bundle() -> None:
    bundle = File("ca.pem", ROOT.pem + SERVER.cert_pem)
    assert problems(files(SERVER, ROOT, ca=(bundle,))) == [
        "tls.ca: ca.pem: certificate 2 of 2 is not a CA (CN=localhost)"
        " - the bundle holds the CAs that sign the peers, not the peers themselves"
    ]


def test_one_broken_certificate_refuses_the_bundle() -> None:
    [problem] = problems(files(SERVER, ROOT, ca=(File("ca.pem", ROOT.pem + BROKEN),)))
    assert "certificate 2 of 2 does not parse" in problem


def test_no_bundle_at_all_is_an_error_and_never_the_systems_roots() -> None:
    [problem] = problems(files(SERVER, ca=()))
    assert problem == "tls.ca: no CA file is named - name the CA bundle that signs the peers"


def test_a_leaf_signed_with_sha1_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # The library does not sign with SHA-1, so the algorithm is rewritten; the signature is not looked at here.
    weak = der_swapped(SERVER.certificate)
    assert weak.signature_hash_algorithm is not None
    assert weak.signature_hash_algorithm.name == "sha1"
    assert key is not None
    [problem, *_] = problems(files(SERVER, ROOT, cert=File("server.pem", pem(weak))))
    assert "is signed with SHA1" in problem


def der_swapped(certificate: x509.Certificate) -> x509.Certificate:
    """ecdsa-with-SHA256 becomes ecdsa-with-SHA1: as long as a tagged NULL pads the shorter OID."""
    old = bytes.fromhex("300a06082a8648ce3d040302")
    new = bytes.fromhex("300906072a8648ce3d0401")
    body = certificate.tbs_certificate_bytes
    inner = body[4:].replace(old, new)
    signature = certificate.signature
    bits = b"\x03" + bytes([len(signature) + 1]) + b"\x00" + signature
    tbs = b"\x30\x82" + len(inner).to_bytes(2) + inner
    whole = tbs + new + bits
    return x509.load_der_x509_certificate(b"\x30\x82" + len(whole).to_bytes(2) + whole)


def test_all_faults_are_told_at_once() -> None:
    broken = TlsFiles(
        cert=File("c", b""),
        key=File("k", b"x"),
        ca=(File("a1", HALF), File("a2", b"")),
        trust=(("Example.org", (File("t", b""),)),),
        crls=(File("l", b"x"),),
    )
    places = [problem.split(": ")[:2] for problem in problems(broken)]
    assert sorted(places) == [
        ["tls.ca", "a1"],
        ["tls.ca", "a2"],
        ["tls.cert", "c"],
        ["tls.crl", "l"],
        ["tls.key", "k"],
        ["tls.trust", "Example.org"],
        ["tls.trust", "t"],
    ]


def test_the_section_of_the_configuration_is_named() -> None:
    [problem] = problems(files(SERVER, ROOT, key=File("k", b""), place="outbound"))
    assert problem.startswith("outbound.key: ")


def test_a_trust_domain_stands_there_once() -> None:
    twice = files(SERVER, ROOT, trust=(("example.org", ROOT), ("example.org", MIDDLE)))
    assert problems(twice) == ["tls.trust: example.org: it is listed twice"]
