"""One file of key material: bytes become certificates, a private key or CRLs, or one plain sentence.

A file is all or nothing: one certificate that does not parse refuses the file, since the part that was meant
may be the part that is broken.  Blocks of other kinds are passed over, so a combined file with key and
certificates may be named twice.  Pure.

Sources: RFC 7468 (labels), RFC 5280 §4.2.1.9 (what makes a CA), §5.2.4 (delta CRLs).
"""

import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mtls_tunnel.errors import Problem
from mtls_tunnel.trust import pem

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

MIN_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_KEY_LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
# Their errors for input that is not what it says it is.
_UNDECODABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read: nothing here looks at the disk."""

    path: str
    content: bytes
    readable_by_others: bool = False


class Unusable(Exception):
    """A file that cannot be used; carries the problem to report."""

    def __init__(self, place: str, file: File, text: str, remedy: str = "") -> None:
        self.problem = Problem("", place, f"{file.path}: {text}", remedy)
        super().__init__(str(self.problem))


def certificates(place: str, file: File) -> tuple[x509.Certificate, ...]:
    """Parse every certificate of *file*; there is at least one.  Raises Unusable."""
    found = [block for block in _blocks(place, file) if block.label.endswith("CERTIFICATE")]
    if not found:
        raise Unusable(place, file, "the file holds no certificate", "it has to hold BEGIN CERTIFICATE blocks")
    parsed = []
    for number, block in enumerate(found, 1):
        if block.label != "CERTIFICATE":
            remedy = "write it anew with openssl x509 -in FILE -out FILE"
            raise Unusable(
                place, file, f"certificate {number} is a {block.label} block, which is OpenSSL's own", remedy
            )
        try:
            with warnings.catch_warnings(action="ignore"):
                certificate = x509.load_pem_x509_certificate(block.text)
                # Fields parse when they are looked at; what is broken shall show now and not in a handshake.
                _ = certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key()
        except _UNDECODABLE as error:
            text = f"certificate {number} of {len(found)} does not parse"
            raise Unusable(place, file, text, "copy the file again, or have the certificate issued anew") from error
        parsed.append(certificate)
    return tuple(parsed)


def authorities(place: str, file: File) -> tuple[x509.Certificate, ...]:
    """Parse a CA bundle; each certificate must be a CA.  Dates are not checked.  Raises Unusable."""
    parsed = certificates(place, file)
    for number, certificate in enumerate(parsed, 1):
        if not _is_ca(certificate):
            subject = certificate.subject.rfc4514_string()
            text = f"certificate {number} of {len(parsed)} is not a CA ({subject})"
            raise Unusable(place, file, text, "the bundle holds the CAs that sign the peers, not the peers themselves")
    return parsed


def private_key(place: str, file: File) -> PrivateKey:
    """Parse the one private key of *file*: RSA from 2048 bits, ECDSA on a NIST curve, or Ed25519.  Raises Unusable."""
    found = [block for block in _blocks(place, file) if block.label.endswith("PRIVATE KEY")]
    if not found:
        raise Unusable(place, file, "the file holds no private key", "it has to hold a BEGIN PRIVATE KEY block")
    if len(found) > 1:
        raise Unusable(place, file, f"the file holds {len(found)} private keys", "leave the one of the leaf in it")
    block = found[0]
    if block.encrypted:
        remedy = "a tunnel has nobody to ask for a password: openssl pkey -in FILE -out FILE.plain, mode 0600"
        raise Unusable(place, file, "the private key is encrypted", remedy)
    if block.label not in _KEY_LABELS:
        raise Unusable(place, file, f"a {block.label} block is no key for TLS 1.2 and 1.3", "use RSA, ECDSA or Ed25519")
    try:
        key = load_pem_private_key(block.text, password=None)
    except _UNDECODABLE as error:
        raise Unusable(place, file, "the private key does not parse", "copy the file again") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise Unusable(place, file, f"the RSA key has {key.key_size} bits", f"make one of {MIN_RSA_BITS} bits or more")
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, _CURVES):
        raise Unusable(place, file, f"the key is on the curve {key.curve.name}", "use P-256, P-384 or P-521")
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise Unusable(
            place, file, "the private key is of a kind that TLS peers do not take", "use RSA, ECDSA or Ed25519"
        )
    return key


def revocation_lists(place: str, file: File) -> tuple[x509.CertificateRevocationList, ...]:
    """Parse the CRLs of *file*, PEM (several) or DER (one).  Signatures and dates are not checked.  Raises Unusable."""
    if pem.is_der(file.content):
        return (_crl(place, file, file.content, "the CRL"),)
    found = [block for block in _blocks(place, file) if block.label == "X509 CRL"]
    if not found:
        raise Unusable(place, file, "the file holds no CRL", "it has to hold BEGIN X509 CRL blocks, or DER")
    return tuple(
        _crl(place, file, block.text, f"CRL {number} of {len(found)}") for number, block in enumerate(found, 1)
    )


def _crl(place: str, file: File, content: bytes, which: str) -> x509.CertificateRevocationList:
    try:
        load = x509.load_der_x509_crl if pem.is_der(content) else x509.load_pem_x509_crl
        with warnings.catch_warnings(action="ignore"):
            crl = load(content)
            _ = crl.extensions, crl.issuer, crl.next_update_utc, crl.last_update_utc
    except _UNDECODABLE as error:
        raise Unusable(place, file, f"{which} does not parse", "fetch the file again from the CA") from error
    return crl


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _blocks(place: str, file: File) -> tuple[pem.Block, ...]:
    try:
        return pem.blocks(file.content)
    except pem.PemError as error:
        raise Unusable(place, file, str(error), error.remedy) from error
