"""Who issued whom: puts the certificates of a file in the order in which TLS sends them.

Signatures are checked, since two CAs may bear the same name; dates and extensions are not.  Pure.
Source: RFC 8446 §4.4.2 (each certificate should directly certify the one before it).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True, slots=True)
class Ordered:
    """The certificates of a file: those that belong together, leaf first, and those that do not."""

    chain: tuple[x509.Certificate, ...]
    strangers: tuple[x509.Certificate, ...]


def issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Say whether the name and the key of *issuer* certify *subject*."""
    if subject.issuer != issuer.subject:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def order(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> Ordered:
    """Follow the issuers of *leaf* through *others*; a certificate that is there twice is kept once.

    Cross certificates (a second issuer for something in the chain) come after the chain itself.
    """
    chain = [leaf]
    rest = [one for one in dict.fromkeys(others) if one != leaf]
    while (above := next((one for one in rest if issued(one, chain[-1])), None)) is not None:
        chain.append(above)
        rest.remove(above)
    while (cross := next((one for one in rest if any(issued(one, below) for below in chain)), None)) is not None:
        chain.append(cross)
        rest.remove(cross)
    return Ordered(tuple(chain), tuple(rest))


def leads_to(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> bool:
    """Say whether one of *anchors* stands in *chain* or issued something in it."""
    return any(one == anchor or issued(anchor, one) for one in chain for anchor in anchors)


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """A CA certificate with what is asked of it again and again.  Compared by identity: hashing DER is slow."""

    certificate: x509.Certificate
    key: bytes  # name and public key: equal for a CA certificate that was issued again, see `_key_of`
    not_after: float

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Authority":
        return cls(certificate, _key_of(certificate), certificate.not_valid_after_utc.timestamp())


class Authorities:
    """Hands out one `Authority` for each certificate.  Grows with the number of CAs seen; its owner drops it."""

    def __init__(self) -> None:
        self._known: dict[x509.Certificate, Authority] = {}

    def of(self, certificate: x509.Certificate) -> Authority:
        found = self._known.get(certificate)
        if found is None:
            found = self._known[certificate] = Authority.of(certificate)
        return found


def _key_of(certificate: x509.Certificate) -> bytes:
    """Name and public key; where the key is of a kind that only OpenSSL knows, the certificate is equal to itself."""
    try:
        public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return certificate.public_bytes(Encoding.DER)
    return certificate.subject.public_bytes() + public
