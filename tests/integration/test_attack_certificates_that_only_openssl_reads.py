"""Certificates that OpenSSL takes and the parser of names does not: refused with a reason, and with nothing else.

Each is signed by the trusted CA, so that the handshake itself finds nothing; a foreign CA shows them too, since what
is written about a refused certificate is read from it.  None may end in a traceback, nor end the program later.
"""

import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from mtls_tunnel.trust.pki import Credential, Names
from support.clients import PING, ask, connect, context, plain
from support.der import ECDSA_SHA256, sequence, tlv
from support.guarded import Guarded, handshake_failure
from support.pki import Authority, Written
from support.processes import run
from support.tools import need

VERSION_3, VERSION_5 = tlv(0xA0, b"\x02\x01\x02"), tlv(0xA0, b"\x02\x01\x04")
_CN = bytes.fromhex("0603550403")


def subject(value: bytes) -> bytes:
    """A Name with nothing but a common name, whose *value* is a whole element."""
    return sequence(tlv(0x31, sequence(_CN, value)))


ORDINARY = subject(tlv(0x0C, b"ordinary"))
FAULTS = {
    "a name that is a bit string": (ORDINARY, subject(b"\x03\x03\x00ab")),
    "a name with control characters in a PrintableString": (ORDINARY, subject(tlv(0x13, b"a\x01@"))),
    "a name that is not of its alphabet": (ORDINARY, subject(tlv(0x16, b"\xff"))),
    "a name in Latin-1": (ORDINARY, subject(tlv(0x14, b"caf\xe9"))),
    "a name that is a sequence": (ORDINARY, subject(sequence())),
    "a version from the future": (VERSION_3, VERSION_5),
}


def made_odd(ca: Authority, old: bytes, new: bytes) -> tuple[bytes, Credential]:
    """A leaf of *ca* in which *old* was replaced by *new* before it was signed."""
    leaf = ca.odd(Names(dns=("odd.example",)), subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ordinary")]))
    tbs = leaf.certificate.tbs_certificate_bytes
    header = len(tbs) - len(_content(tbs))
    changed = sequence(tbs[header:].replace(old, new, 1))
    assert changed != tbs
    key = ca.credential.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(changed, ec.ECDSA(hashes.SHA256()))
    return sequence(changed, ECDSA_SHA256, tlv(0x03, b"\x00", signature)), leaf


def _content(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def shown(port: int, der: bytes, leaf: Credential) -> str:
    """Show the certificate to the tunnel and return how that ended.  The standard library would not load it."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    with tempfile.NamedTemporaryFile() as file:
        file.write(der)
        file.flush()
        made.use_certificate_file(file.name, crypto.FILETYPE_ASN1)
    made.use_privatekey(leaf.key)
    with plain(port) as sock:
        sock.setblocking(True)
        connection = SSL.Connection(made, sock)
        connection.set_tlsext_host_name(b"localhost")
        connection.set_connect_state()
        try:
            connection.do_handshake()
            connection.send(PING)
            return f"was let in: {connection.recv(100)!r}"
        except SSL.Error as error:
            return f"refused: {error}"


@pytest.mark.parametrize("fault", FAULTS)
def test_from_the_trusted_ca_it_is_refused_as_a_bad_certificate(tmp_path: Path, fault: str) -> None:
    with Guarded(tmp_path) as guarded:
        der, leaf = made_odd(guarded.authority, *FAULTS[fault])
        with guarded.refuses(handshake_failure("bad_certificate")):
            assert shown(guarded.port, der, leaf).startswith("refused")
        assert_only_log_lines(guarded)


@pytest.mark.parametrize("fault", FAULTS)
def test_from_a_foreign_ca_it_is_refused_like_any_other(tmp_path: Path, fault: str) -> None:
    with Guarded(tmp_path) as guarded:
        der, leaf = made_odd(Authority("Foreign Root"), *FAULTS[fault])
        with guarded.refuses(handshake_failure("unknown_ca")):
            assert shown(guarded.port, der, leaf).startswith("refused")
        assert_only_log_lines(guarded)


def test_a_serial_number_of_nought_is_no_text_on_standard_error(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        serial = guarded.authority.client("nought")
        number = serial.certificate.serial_number
        length = (number.bit_length() + 8) // 8
        old = tlv(0x02, number.to_bytes(length, "big"))
        tbs = serial.certificate.tbs_certificate_bytes
        changed = sequence(_content(tbs).replace(old, b"\x02\x01\x00", 1))
        key = guarded.authority.credential.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signature = key.sign(changed, ec.ECDSA(hashes.SHA256()))
        der = sequence(changed, ECDSA_SHA256, tlv(0x03, b"\x00", signature))
        shown(guarded.port, der, serial)
        guarded.tunnel.wait_until_idle()
        assert_only_log_lines(guarded)


def assert_only_log_lines(guarded: Guarded) -> None:
    strange = [line for line in guarded.tunnel.output.splitlines() if line and not line.startswith("time=")]
    assert strange == []
    assert guarded.tunnel.count("level=ERROR") == 0


CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
LEAF_EXTENSIONS = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n"


def below_a_strange_curve(guarded: Guarded, folder: Path) -> Written:
    """A leaf under an intermediate whose key is on a curve that OpenSSL knows and cryptography does not."""
    openssl = need("openssl")

    def do(*words: str) -> None:
        assert run([openssl, *words], cwd=folder).returncode == 0

    (folder / "root.pem").write_bytes(guarded.authority.pem)
    (folder / "root.key").write_bytes(guarded.authority.credential.key_pem)
    issuer = "root"
    for name, curve, extensions in (
        ("between", "prime239v1", CA_EXTENSIONS),
        ("leaf", "prime256v1", LEAF_EXTENSIONS),
    ):
        (folder / f"{name}.ext").write_text(extensions)
        do("ecparam", "-name", curve, "-genkey", "-noout", "-out", f"{name}.key")
        do("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        do("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-days", "30",
           "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
        issuer = name
    both = b"".join((folder / f"{name}.pem").read_bytes() for name in ("leaf", "between"))
    (folder / "both.pem").write_bytes(both)
    return Written(str(folder / "both.pem"), str(folder / "leaf.key"))


@pytest.mark.parametrize("crl_check", ["off", "leaf", "chain"])
def test_an_intermediate_with_a_key_of_a_strange_kind_survives_a_reload(tmp_path: Path, crl_check: str) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    with Guarded(tmp_path) as guarded:
        identity = below_a_strange_curve(guarded, folder)
        with connect(guarded.port, context(guarded.files, identity)) as connection:
            assert ask(connection) == PING
            over: dict[str, object] = {"acl": {"deny_cn": ["nobody"]}}
            if crl_check != "off":
                crl = guarded.files.put("ca.crl", guarded.authority.crl_pem())
                over["tls"] = {"crl": crl, "crl_check": crl_check}
            guarded.tunnel.rewrite(over)
            guarded.tunnel.hang_up()
            assert guarded.tunnel.alive
            if crl_check == "off":
                assert ask(connection) == PING
            else:  # no CRL of that intermediate is there, and that refuses
                guarded.tunnel.wait_for_line("session closed: no longer authorized.*reason=revoked")
        guarded.greet()
        assert_only_log_lines(guarded)
