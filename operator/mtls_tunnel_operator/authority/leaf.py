"""A leaf for one role: names and a Signer become a certificate with its key; a stored leaf becomes facts.

The subject is empty and the names stand in a critical SAN: a common name proves nothing.  A leaf is valid from five
minutes ago (clocks differ), no longer than the signer allows and never longer than its CA.  Under a CA that began
less than five minutes ago it begins with that CA and is as long as any other.  Refused here, whoever asks: SPIFFE IDs
of other trust domains or in a wrong form, DNS names with wildcards or anything but letters, digits, dashes and dots,
and more than 64 of them.

Sources: X509-SVID §2 to §4; RFC 5280 §4.2.1.6; RFC 1035 §2.3.4 (length of names).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_tunnel.trust import chain as chains
from mtls_tunnel.trust import decode, pki, spiffe
from mtls_tunnel.trust.decode import File, PrivateKey, Unusable
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.resources import PrivateKey as KeySpec

Usage = Literal["server", "client"]

MOST_DNS_NAMES = 64
SHORTEST_SECONDS = 60  # less than that is over before it has reached a pod
_DNS = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a leaf proves: one SPIFFE ID, and the DNS names of a server."""

    uri: str
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A fresh leaf: `cert_pem` holds the chain, leaf first; `key_pem` is PKCS#8."""

    cert_pem: bytes
    key_pem: bytes
    not_before: float
    not_after: float
    serial: str  # lower-case hex
    issuer_fingerprint: str

    def __repr__(self) -> str:
        return f"Leaf(serial={self.serial}, not_after={self.not_after}, issuer={self.issuer_fingerprint[:16]})"


@dataclass(frozen=True, slots=True)
class LeafFacts:
    """What a stored leaf says; signatures are not checked.  `issuer_fingerprint` is what stands in the
    Secret's annotation, or what `read` was told: a certificate names its issuer but not that certificate."""

    names: Names
    not_before: float
    not_after: float
    serial: str
    issuer_fingerprint: str = ""
    algorithm: Literal["ECDSA", "RSA", "Ed25519", ""] = ""
    size_bits: int = 0
    usage: Usage | Literal[""] = ""
    public_key: bytes = b""  # SHA-256 of the SubjectPublicKeyInfo

    @property
    def issued(self) -> float:
        """When it was made: its validity begins five minutes before.  Later than that under a CA that was new."""
        return self.not_before + pki.SKEW_SECONDS

    @property
    def lifetime(self) -> float:
        return self.not_after - self.issued


def issue(
    signer: Signer,
    names: Names,
    duration_seconds: int,
    private_key: KeySpec,
    usage: Usage,
    now: float,
    key_pem: bytes | None = None,
) -> Leaf:
    """Sign a leaf; *key_pem* is a key to keep, used if it is of the kind that *private_key* asks for.

    Raises:
        AuthorityError: reason NameNotAllowed, CAExpired (less than a minute is left of the CA), CAKeyMissing,
            or what `signer.refusal` says.
    """
    judge_names(names, signer.trust_domain)
    if signer.refusal is not None:
        raise AuthorityError(*signer.refusal)
    if signer.pair.key is None:
        raise AuthorityError("CAKeyMissing", f"{signer.name}: the key of CA {signer.pair.fingerprint[:16]} is gone")
    ca.judge_dates(signer.pair.certificate, now, signer.name)
    validity = _validity(signer, duration_seconds, now)
    key = _kept(key_pem, private_key) or ca.new_key(private_key)
    issuer = pki.Credential(signer.pair.certificate, signer.pair.key, signer.pair.chain)
    made = pki.make_leaf(
        issuer,
        pki.Names(uris=(names.uri,), dns=names.dns),
        validity=validity,
        key=key,
        server=usage == "server",
        client=usage == "client",
    )
    return Leaf(
        cert_pem=made.cert_pem,
        key_pem=made.key_pem,
        not_before=made.certificate.not_valid_before_utc.timestamp(),
        not_after=made.certificate.not_valid_after_utc.timestamp(),
        serial=f"{made.certificate.serial_number:x}",
        issuer_fingerprint=signer.pair.fingerprint,
    )


def judge_names(names: Names, trust_domain: str) -> None:
    """Refuse names that this trust domain does not give.  Raises AuthorityError NameNotAllowed."""
    if fault := spiffe.fault_in_id(names.uri):
        raise AuthorityError("NameNotAllowed", f"{names.uri!r} is no SPIFFE ID: {fault}")
    if spiffe.trust_domain_of(names.uri) != trust_domain:
        raise AuthorityError("NameNotAllowed", f"{names.uri} is not of trust domain {trust_domain}")
    if len(names.dns) > MOST_DNS_NAMES:
        raise AuthorityError("NameNotAllowed", f"{len(names.dns)} DNS names: no leaf gets more than {MOST_DNS_NAMES}")
    for name in names.dns:
        if len(name) > 253 or not _DNS.fullmatch(name):
            raise AuthorityError("NameNotAllowed", f"{name!r} is no DNS name that a leaf may bear")


def read(cert_pem: bytes, issuer_fingerprint: str = "") -> LeafFacts:
    """Facts of the first certificate of *cert_pem*.

    Raises:
        AuthorityError: reason BadLeaf if it does not parse.
    """
    return _facts(_parse(cert_pem), issuer_fingerprint)


def read_pair(cert_pem: bytes, key_pem: bytes, signer: Signer) -> LeafFacts:
    """Facts of a stored leaf whose key fits and whose issuer is found in the signer's bundle by its signature.

    Raises:
        AuthorityError: reason BadLeaf for what does not parse, LeafKeyMismatch for a key of another leaf.
    """
    certificate = _parse(cert_pem)
    try:
        key = decode.private_key("tls.key", File("tls.key", key_pem))
    except Unusable as error:
        raise AuthorityError("BadLeaf", f"the stored key does not parse: {error}") from error
    facts = _facts(certificate, _issuer_of(certificate, signer))
    if _digest(key.public_key()) != facts.public_key:
        raise AuthorityError("LeafKeyMismatch", "tls.key and tls.crt of the stored leaf are of different pairs")
    return facts


def is_early(not_before: float, now: float) -> bool:
    """Whether a leaf that begins then is not valid yet, by more than clocks may differ."""
    return not_before > now + pki.SKEW_SECONDS


def _parse(cert_pem: bytes) -> x509.Certificate:
    try:
        return decode.certificates("tls.crt", File("tls.crt", cert_pem))[0]
    except Unusable as error:
        raise AuthorityError("BadLeaf", f"the stored certificate does not parse: {error}") from error


def _facts(certificate: x509.Certificate, issuer_fingerprint: str) -> LeafFacts:
    try:
        names, usage = _names_of(certificate), _usage_of(certificate)
    except ValueError as error:
        raise AuthorityError("BadLeaf", f"the names of the stored certificate do not parse: {error}") from error
    algorithm, bits = _kind_of(certificate.public_key())
    return LeafFacts(
        names=names,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        serial=f"{certificate.serial_number:x}",
        issuer_fingerprint=issuer_fingerprint,
        algorithm=algorithm,
        size_bits=bits,
        usage=usage,
        public_key=_digest(certificate.public_key()),
    )


def _issuer_of(certificate: x509.Certificate, signer: Signer) -> str:
    return next((ca.fingerprint(one) for one in signer.bundle if chains.issued(one, certificate)), "")


def _validity(signer: Signer, duration_seconds: int, now: float) -> pki.Validity:
    seconds = min(duration_seconds, signer.max_leaf_seconds)
    # A beginning that is cut moves the end: from the length of a stored leaf it is seen what was asked for.
    start = max(now, signer.pair.certificate.not_valid_before_utc.timestamp() + pki.SKEW_SECONDS)
    validity = pki.Validity.starting(start, seconds).within(signer.pair.certificate)
    if validity.not_after - now < SHORTEST_SECONDS:
        text = f"{signer.name}: its CA expires within a minute: rotate it (annotation mtlstunnel.dev/rotate)"
        raise AuthorityError("CAExpired", text)
    return validity


def _kept(key_pem: bytes | None, spec: KeySpec) -> PrivateKey | None:
    """The key to keep, unless it is broken or the resource asks for another kind by now."""
    if key_pem is None:
        return None
    try:
        key = decode.private_key("tls.key", File("tls.key", key_pem))
    except Unusable:
        return None
    return key if _kind_of(key.public_key()) == wanted_kind(spec) else None


def wanted_kind(spec: KeySpec) -> tuple[str, int]:
    """Algorithm and bits that *spec* asks for; bits are 256 for Ed25519."""
    default = {"ECDSA": 256, "RSA": ca.RSA_BITS, "Ed25519": 256}[spec.algorithm]
    return spec.algorithm, default if spec.algorithm == "Ed25519" else spec.size_bits or default


def _kind_of(key: object) -> tuple[Literal["ECDSA", "RSA", "Ed25519", ""], int]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA", key.key_size
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    return ("Ed25519", 256) if isinstance(key, ed25519.Ed25519PublicKey) else ("", 0)


def _names_of(certificate: x509.Certificate) -> Names:
    try:
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names("")
    uris = sans.get_values_for_type(x509.UniformResourceIdentifier)
    return Names(uris[0] if len(uris) == 1 else "", tuple(sans.get_values_for_type(x509.DNSName)))


def _usage_of(certificate: x509.Certificate) -> Usage | Literal[""]:
    try:
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ""
    if usages == {ExtendedKeyUsageOID.SERVER_AUTH}:
        return "server"
    return "client" if usages == {ExtendedKeyUsageOID.CLIENT_AUTH} else ""


def _digest(key: object) -> bytes:
    encode = getattr(key, "public_bytes")  # noqa: B009 - every public key has it, their union is not exported
    return hashlib.sha256(encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
