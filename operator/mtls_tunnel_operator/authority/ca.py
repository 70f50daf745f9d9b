"""A CA for one trust domain: made, read from PEM, and judged before it signs anything.

A CA made here is a self-signed root with path length 0 (it signs leaves and nothing else) and a *critical* name
constraint that permits URIs of its own trust domain only, so that its key, stolen, makes no identity of another
domain.  Measured with OpenSSL 3.0 and 4.0, Go 1.26 and the tunnel's own verification: leaves under such a root
are accepted with DNS names beside the URI (a constraint on one kind of name leaves the other kinds free, RFC 5280
§4.2.1.10), and a URI of another domain is refused, in OpenSSL's words a permitted subtree violation.  The
constraint is the host of the URI and no suffix in OpenSSL; Go lets hosts below it pass as well.  It cannot say "URIs
only": a leaf without any URI verifies too, and has no identity that a rule of ours would allow.

A CA that somebody else made may be an intermediate: then its own certificate is the trust anchor (the tunnel
verifies partial chains) and is sent behind each leaf for peers that know only the root above it.

Sources: RFC 5280 §4.2.1.3, §4.2.1.9, §4.2.1.10; X509-SVID §4.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from mtls_tunnel.trust import chain as chains
from mtls_tunnel.trust import decode, pki
from mtls_tunnel.trust.decode import File, PrivateKey, Unusable
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.resources import CaSpec
from mtls_tunnel_operator.model.resources import PrivateKey as KeySpec

RSA_BITS = 3072  # of a key whose size nobody named
LONGEST_CN = 64  # RFC 5280, upper bound of a common name
_SCHEME = "spiffe://"
# An empty label, which a constraint would read as "and all below", or an IPv4 address: Go reads no CA with one.
_UNLIMITABLE = re.compile(r"^$|^\.|\.$|\.\.|^[0-9.]+$")


@dataclass(frozen=True, slots=True)
class Pair:
    """A CA certificate and its key; `key` None: the key is gone, what it signed is still verified.

    `chain` holds the intermediates above it, without the root: nothing for a root.
    """

    certificate: x509.Certificate
    key: PrivateKey | None
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, 64 hex digits."""
        return fingerprint(self.certificate)

    @property
    def not_after(self) -> float:
        """The last second of its validity."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def is_root(self) -> bool:
        """Whether it is self-issued: such a certificate is not sent behind a leaf."""
        return self.certificate.subject == self.certificate.issuer

    @property
    def cert_pem(self) -> bytes:
        """The certificate and what stands above it."""
        return pem_of((self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """PKCS#8.  Raises AuthorityError CAKeyMissing."""
        if self.key is None:
            raise AuthorityError("CAKeyMissing", f"the key of CA {self.fingerprint[:16]} is gone")
        return key_pem(self.key)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, 64 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def bundle_fingerprint(certificates: Iterable[x509.Certificate]) -> str:
    """One fingerprint for a bundle: its order counts, since the current CA comes first."""
    return hashlib.sha256(b"".join(one.fingerprint(hashes.SHA256()) for one in certificates)).hexdigest()


def pem_of(certificates: Iterable[x509.Certificate]) -> bytes:
    """The PEM blocks of *certificates*, in their order."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def key_pem(key: PrivateKey) -> bytes:
    """The PKCS#8 form, without a password: it lives in a Secret."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key(spec: KeySpec) -> PrivateKey:
    """A key as the resource asks for: 256 bits for ECDSA, 3072 for RSA where it does not say."""
    if spec.algorithm == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if spec.algorithm == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=spec.size_bits or RSA_BITS)
    return ec.generate_private_key(ec.SECP384R1() if spec.size_bits == 384 else ec.SECP256R1())


def make_root(spec: CaSpec, trust_domain: str, now: float) -> Pair:
    """A new root for *trust_domain*.

    Raises:
        AuthorityError: reason BadTrustDomain if no name constraint can be written for the domain.
    """
    if _UNLIMITABLE.search(trust_domain):
        text = f"trust domain {trust_domain!r}: no CA can be limited to it; choose one in the form of a host name"
        raise AuthorityError("BadTrustDomain", text)
    key = new_key(spec.private_key)
    public = key.public_key()
    validity = pki.Validity.starting(now, spec.duration_seconds)
    extensions = (
        *pki.authority_extensions(public, public, path_length=0),
        (x509.NameConstraints([x509.UniformResourceIdentifier(trust_domain)], None), True),
    )
    subject = _subject(trust_domain, public, now)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(validity.not_before))
        .not_valid_after(_moment(validity.not_after))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Pair(builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key)


def bundle_of(pem: bytes, source: str) -> tuple[x509.Certificate, ...]:
    """The CAs of a bundle, each once, in its order; dates are not looked at.

    Raises:
        AuthorityError: reason BadBundle; the message names *source*, the place and the remedy.
    """
    try:
        return tuple(dict.fromkeys(decode.authorities("ca.crt", File(source, pem))))
    except Unusable as error:
        raise AuthorityError("BadBundle", _sentence(error)) from error


def load(cert_pem: bytes, key_pem: bytes, *, now: float, trust_domain: str = "", source: str = "the CA Secret") -> Pair:
    """Read a CA: the first certificate that fits the key, with what stands above it.

    Raises:
        AuthorityError: reasons BadCA (does not parse), CAKeyMismatch, NotACA, CAExpired, CANotYetValid and
            CANotPermitted (its name constraints leave *trust_domain* out).
    """
    pair = _read(cert_pem, key_pem, source)
    _judge_purpose(pair.certificate, source)
    judge_dates(pair.certificate, now, source)
    if trust_domain:
        _judge_constraints((pair.certificate, *pair.chain), trust_domain, source)
    return pair


def key_of(key_pem: bytes, certificate: x509.Certificate) -> PrivateKey:
    """The key of *certificate*.  Raises AuthorityError BadCA or CAKeyMismatch."""
    key = _read(pem_of((certificate,)), key_pem, "the CA Secret").key
    assert key is not None
    return key


def judge_dates(certificate: x509.Certificate, now: float, source: str) -> None:
    """Refuse a CA outside of its validity.  Raises AuthorityError CAExpired or CANotYetValid."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end.timestamp():
        text = f"{source}: the CA expired on {end:%Y-%m-%d %H:%M} UTC: put a new CA there"
        raise AuthorityError("CAExpired", text)
    if now < start.timestamp() - pki.SKEW_SECONDS:
        text = f"{source}: the CA is not valid before {start:%Y-%m-%d %H:%M} UTC: compare the clocks"
        raise AuthorityError("CANotYetValid", text)


def _read(cert_pem: bytes, key_pem: bytes, source: str) -> Pair:
    try:
        found = decode.certificates("tls.crt", File(source, cert_pem))
        key = decode.private_key("tls.key", File(source, key_pem))
    except Unusable as error:
        raise AuthorityError("BadCA", _sentence(error)) from error
    certificate = next((one for one in found if _public(one.public_key()) == _public(key.public_key())), None)
    if certificate is None:
        text = f"{source}: tls.key fits no certificate of tls.crt: put both of one CA there"
        raise AuthorityError("CAKeyMismatch", text)
    above = chains.order(certificate, found).chain[1:]
    return Pair(certificate, key, tuple(one for one in above if one.subject != one.issuer))


def _judge_purpose(certificate: x509.Certificate, source: str) -> None:
    extensions = {type(extension.value): extension.value for extension in certificate.extensions}
    basic, usage = extensions.get(x509.BasicConstraints), extensions.get(x509.KeyUsage)
    if not isinstance(basic, x509.BasicConstraints) or not basic.ca:
        text = (
            f"{source}: {certificate.subject.rfc4514_string()} is not a CA (basicConstraints CA:TRUE): use one that is"
        )
        raise AuthorityError("NotACA", text)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        text = f"{source}: the CA may not sign certificates (keyUsage without keyCertSign): have it issued anew"
        raise AuthorityError("NotACA", text)


def permits(certificate: x509.Certificate, trust_domain: str) -> bool:
    """Whether the name constraints of a CA let it sign SPIFFE IDs of *trust_domain*."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    permitted = [one.value for one in limits.permitted_subtrees or () if _is_uri(one)]
    excluded = [one.value for one in limits.excluded_subtrees or () if _is_uri(one)]
    outside = bool(permitted) and not any(_covers(limit, trust_domain) for limit in permitted)
    return not outside and not any(_covers(limit, trust_domain) for limit in excluded)


def _judge_constraints(certificates: Iterable[x509.Certificate], trust_domain: str, source: str) -> None:
    for certificate in certificates:
        if not permits(certificate, trust_domain):
            text = (
                f"{source}: the name constraints of {certificate.subject.rfc4514_string()} leave out"
                f" {_SCHEME}{trust_domain}: use a CA that may sign for it"
            )
            raise AuthorityError("CANotPermitted", text)


def _is_uri(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.UniformResourceIdentifier)


def _covers(limit: str, trust_domain: str) -> bool:
    # RFC 5280 §4.2.1.10: a leading dot means every host below, and not the host itself.
    return trust_domain.endswith(limit.lower()) if limit.startswith(".") else trust_domain == limit.lower()


def _subject(trust_domain: str, public: pki.PublicKey, now: float) -> x509.Name:
    """A name that no other CA of the domain has: two roots of one name make some verifiers try the wrong key."""
    key = hashlib.sha256(_public(public)).hexdigest()[:8]
    ending = f" CA {_moment(now):%Y-%m-%d} {key}"
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, trust_domain[: LONGEST_CN - len(ending)] + ending)])


def _public(key: object) -> bytes:
    encode = getattr(key, "public_bytes")  # noqa: B009 - every public key has it, their union is not exported
    return bytes(encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _sentence(error: Unusable) -> str:
    problem = error.problem
    return f"{problem.text}: {problem.remedy}" if problem.remedy else problem.text
