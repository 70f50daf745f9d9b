"""What CRLs say of a verified chain: revoked, unknown because no usable CRL covers it, or nothing against it.

The handshake asks OpenSSL, which has the same CRLs; this is the judgement for connections that are already
open.  It fails closed as the handshake does: a CRL that has run out, is a delta, is not signed by the issuing
CA or does not cover the certificate is no CRL.  The newest CRL that is valid now decides; where none is, a
revocation in one that has run out still counts.

Memory and time: a CRL's serials are put into a set the first time its issuer is asked about; 50,000 entries
take about 0.1 s, once for each set of CRLs.  Pure; the clock is an argument.

Sources: RFC 5280 §5.2.4 (delta), §5.2.5 (issuing distribution point), §6.3.3 (which CRL covers what).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from mtls_tunnel.trust.chain import Authority

Status = Literal["good", "revoked", "crl_unavailable"]

_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.CRLNumber, x509.AuthorityKeyIdentifier)
_VERIFIERS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


def is_delta(crl: x509.CertificateRevocationList) -> bool:
    """Say whether *crl* only lists changes to another one."""
    return any(isinstance(extension.value, x509.DeltaCRLIndicator) for extension in crl.extensions)


def signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Say whether the name and the key of *issuer* made *crl*, and its keyUsage allows that."""
    if crl.issuer != issuer.subject:
        return False
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    except (ValueError, x509.DuplicateExtension):
        return False  # what its key may be used for cannot be read
    try:
        key = issuer.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(key, dsa.DSAPublicKey) or not isinstance(key, _VERIFIERS):
        return False
    try:
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False


@dataclass(frozen=True, slots=True)
class _Usable:
    """A full CRL of one issuer, with its serials at hand."""

    serials: frozenset[int]
    last_update: float
    next_update: float | None
    scope: x509.IssuingDistributionPoint | None

    def current(self, now: float) -> bool:
        return self.last_update <= now and (self.next_update is None or now <= self.next_update)

    def covers(self, certificate: x509.Certificate) -> bool:
        return self.scope is None or _in_scope(self.scope, certificate)


class Revocation:
    """The CRLs of one `Material`, indexed by the CA that signed them, as the CAs turn up in chains."""

    def __init__(self, crls: Sequence[x509.CertificateRevocationList], *, whole_chain: bool) -> None:
        self._crls = tuple(crls)
        self._whole_chain = whole_chain
        self._by_authority: dict[bytes, tuple[_Usable, ...]] = {}

    def status(
        self, leaf: x509.Certificate, above: Sequence[Authority], now: float, *, anchor: int | None = None
    ) -> Status:
        """Judge a verified *leaf* and the CAs *above* it; `above[anchor]` is the one that is trusted, else the last.

        From the anchor upwards a CRL may be missing, for trust does not come from there; that it lists the anchor
        counts all the same.  With ``crl_check: leaf`` only the leaf is looked up.  Signatures in the chain are
        taken as verified.
        """
        trusted = len(above) - 1 if anchor is None else anchor
        certificates = (leaf, *(one.certificate for one in above))
        issuers = above if self._whole_chain else above[:1]
        found = [
            self._one(certificate, issuer, now) for certificate, issuer in zip(certificates, issuers, strict=False)
        ]
        if "revoked" in found:
            return "revoked"
        return "crl_unavailable" if "crl_unavailable" in found[: trusted + 1] else "good"

    def index(self, issuer: Authority) -> tuple["_Usable", ...]:
        """Return the CRLs that *issuer* signed; the first call for a CA does the work."""
        found = self._by_authority.get(issuer.key)
        if found is None:
            usable = [_index(crl) for crl in self._crls if _understood(crl) and signed_by(crl, issuer.certificate)]
            found = self._by_authority[issuer.key] = tuple(usable)
        return found

    def _one(self, certificate: x509.Certificate, issuer: Authority, now: float) -> Status:
        with warnings.catch_warnings(action="ignore"):  # of serials that are not positive
            serial = certificate.serial_number
        usable = [crl for crl in self.index(issuer) if crl.covers(certificate)]
        current = [crl for crl in usable if crl.current(now)]
        if not current:
            return "revoked" if any(serial in crl.serials for crl in usable) else "crl_unavailable"
        # The newest decides, as in the handshake: an older one beside it may list what has been lifted since.
        newest = max(current, key=lambda crl: crl.last_update)
        return "revoked" if serial in newest.serials else "good"


def _understood(crl: x509.CertificateRevocationList) -> bool:
    """A full CRL whose critical extensions are known here; a CRL of attribute certificates or of others is none."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return False
        if extension.critical and not isinstance(value, _UNDERSTOOD):
            return False
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.indirect_crl or value.only_contains_attribute_certs or value.only_some_reasons
        ):
            return False
    return True


def _index(crl: x509.CertificateRevocationList) -> _Usable:
    end = crl.next_update_utc
    scope = next((one.value for one in crl.extensions if isinstance(one.value, x509.IssuingDistributionPoint)), None)
    with warnings.catch_warnings(action="ignore"):
        serials = frozenset(entry.serial_number for entry in crl)
    return _Usable(
        serials=serials,
        last_update=crl.last_update_utc.timestamp(),
        next_update=None if end is None else end.timestamp(),
        scope=scope,
    )


def _in_scope(scope: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> bool:
    """Say whether a partial CRL is the one for *certificate*: kind of certificate, and distribution point."""
    is_ca, points = False, []
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints):
            is_ca = extension.value.ca
        elif isinstance(extension.value, x509.CRLDistributionPoints):
            points = [name for point in extension.value for name in point.full_name or ()]
    if (scope.only_contains_user_certs and is_ca) or (scope.only_contains_ca_certs and not is_ca):
        return False
    return scope.full_name is None or any(name in points for name in scope.full_name)
