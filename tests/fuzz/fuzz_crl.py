"""Whatever a CRL file holds: lists that can be asked, or one plain sentence; nothing else.

The input is a whole file, or the entries and extensions of a CRL that is then signed by the CA that signed the peer,
so that what only a trusted CA could write is met too.
"""

import sys
from base64 import b64encode

import atheris

with atheris.instrument_imports(include=["mtls_tunnel"]):
    from mtls_tunnel.trust.chain import Authority as Known
    from mtls_tunnel.trust.decode import File, Unusable, revocation_lists
    from mtls_tunnel.trust.revocation import Revocation

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from support import der
from support.clock import NOW
from support.pki import Authority

ROOT = Authority(now=NOW)
LEAF = ROOT.server()
ABOVE = (Known.of(ROOT.certificate),)
RAW_SHARE = 0.2
ISSUER = ROOT.certificate.subject.public_bytes()


def sign(body: bytes) -> bytes:
    assert isinstance(ROOT.credential.key, ec.EllipticCurvePrivateKey)
    return ROOT.credential.key.sign(body, ec.ECDSA(hashes.SHA256()))


def entry_of(given: atheris.FuzzedDataProvider) -> bytes:
    serial = der.tlv(0x02, bytes(given.ConsumeBytes(given.ConsumeIntInRange(0, 24))))
    date = given.PickValueInList([b"\x17\x0d261101000000Z", b"\x18\x0f20261101000000Z", b"\x17\x0d269901000000Z", b""])
    if given.ConsumeBool():
        return der.sequence(serial, date)
    reason = der.tlv(0x0A, bytes(given.ConsumeBytes(1)))
    return der.sequence(serial, date, der.sequence(der.extension(bytes.fromhex("0603551d15"), reason)))


def extension_of(given: atheris.FuzzedDataProvider) -> bytes:
    kind = given.PickValueInList(["1c", "14", "1b", "23", "2e"])  # scope, number, delta, key identifier, freshest
    value = bytes(given.ConsumeBytes(given.ConsumeIntInRange(0, 30)))
    critical = b"\x01\x01\xff" if given.ConsumeBool() else b""
    inner = value if given.ConsumeBool() else der.sequence(der.tlv(given.ConsumeIntInRange(0x80, 0x85), value))
    return der.sequence(bytes.fromhex(f"0603551d{kind}"), critical, der.tlv(0x04, inner))


def framed(content: bytes) -> bytes:
    """A whole file as it came, or a signed CRL that is made of the input."""
    given = atheris.FuzzedDataProvider(content)
    if given.ConsumeProbability() < RAW_SHARE:
        return bytes(given.ConsumeBytes(4096))
    entries = b"".join(entry_of(given) for _ in range(given.ConsumeIntInRange(0, 4)))
    extensions = b"".join(extension_of(given) for _ in range(given.ConsumeIntInRange(0, 3)))
    crl = der.crl(ISSUER, entries, extensions, sign)
    return (
        crl if given.ConsumeBool() else b"-----BEGIN X509 CRL-----\n" + b64encode(crl) + b"\n-----END X509 CRL-----\n"
    )


def one_input(content: bytes) -> None:
    try:
        crls = revocation_lists("tls.crl", File("x.crl", framed(content)))
    except Unusable as error:
        if error.problem.place != "tls.crl" or not error.problem.remedy:
            raise
        return
    assert crls
    for whole_chain in (False, True):
        found = Revocation(crls, whole_chain=whole_chain).status(LEAF.certificate, ABOVE, NOW)
        assert found in ("good", "revoked", "crl_unavailable")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
