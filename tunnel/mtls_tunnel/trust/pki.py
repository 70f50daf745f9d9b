"""A development CA: names, a validity and a key kind become certificates, chains and CRLs.

What it makes satisfies OpenSSL's X509_STRICT and Go: version 3, critical basicConstraints and keyUsage,
key identifiers on both sides, serials of 159 random bits, an empty subject only with a critical SAN.  It is for
development, tests and the operator's own CA: no policy, no database, no OCSP.  Who may have which name is
not decided here, and a validity is signed as given, whether it fits the issuer's or not.

Pure but for the random numbers of the cryptography package: no files and no clock; every time is passed in
as seconds since the epoch.

Sources: RFC 5280 §4.1.2, §4.2.1, §5.2; RFC 8410 §5 (keyUsage of Ed25519); RFC 9525 §2 (names live in SANs).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyKind = Literal["ecdsa", "rsa", "ed25519"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Extension = tuple[x509.ExtensionType, bool]  # what it says, whether it is critical

RSA_BITS = 2048
SKEW_SECONDS = 300.0  # a fresh certificate is already valid on a host whose clock is this much behind
DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when, both ends included, in epoch seconds."""

    not_before: float
    not_after: float

    @classmethod
    def starting(cls, now: float, seconds: float) -> "Validity":
        return cls(now - SKEW_SECONDS, now + seconds)

    def within(self, issuer: x509.Certificate) -> "Validity":
        """Cut to the issuer's own validity: outside of it the chain does not verify anyway."""
        return Validity(
            max(self.not_before, issuer.not_valid_before_utc.timestamp()),
            min(self.not_after, issuer.not_valid_after_utc.timestamp()),
        )


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate says about its holder; the first four make the subject, the others the SAN."""

    cn: str = ""
    orgs: tuple[str, ...] = ()
    ous: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()

    def subject(self) -> x509.Name:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, org) for org in self.orgs]
        parts += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou) for ou in self.ous]
        if self.cn:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, self.cn))
        return x509.Name(parts)

    def alternatives(self) -> tuple[x509.GeneralName, ...]:
        """The SAN entries.  Raises ValueError for an address that is none and for names beyond ASCII."""
        return (
            *(x509.DNSName(name) for name in self.dns),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in self.ips),
            *(x509.UniformResourceIdentifier(uri) for uri in self.uris),
            *(x509.RFC822Name(email) for email in self.emails),
        )


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, its private key, and the intermediates between it and its root (nearest first, no root)."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def cert_pem(self) -> bytes:
        """What a server or client sends: leaf first, then the intermediates."""
        return b"".join(cert.public_bytes(Encoding.PEM) for cert in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class Revoked:
    """One line of a CRL."""

    serial: int
    at: float
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def new_key(kind: KeyKind = "ecdsa") -> PrivateKey:
    match kind:
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def make_root(names: Names, *, validity: Validity, key: PrivateKey) -> Credential:
    """A self-signed CA without a limit on the length of the chains below it."""
    subject = names.subject()
    extensions = authority_extensions(key.public_key(), key.public_key(), path_length=None)
    return Credential(_sign(subject, key, subject, key.public_key(), validity, extensions), key)


def make_intermediate(
    issuer: Credential, names: Names, *, validity: Validity, key: PrivateKey, path_length: int | None = 0
) -> Credential:
    """A CA below `issuer`; with the default path length it may sign leaves and nothing else."""
    extensions = authority_extensions(key.public_key(), issuer.key.public_key(), path_length=path_length)
    return sign(issuer, names.subject(), key, validity, extensions)


def make_leaf(
    issuer: Credential,
    names: Names,
    *,
    validity: Validity,
    key: PrivateKey,
    server: bool = True,
    client: bool = True,
) -> Credential:
    """A leaf for TLS servers, clients, or both."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    extensions = leaf_extensions(key.public_key(), issuer.key.public_key(), names, usages)
    return sign(issuer, names.subject(), key, validity, extensions)


def sign(
    issuer: Credential, subject: x509.Name, key: PrivateKey, validity: Validity, extensions: Iterable[Extension]
) -> Credential:
    """Any certificate below `issuer`, with exactly these extensions: the general form of the makers above."""
    certificate = _sign(issuer.certificate.subject, issuer.key, subject, key.public_key(), validity, extensions)
    is_root = issuer.certificate.subject == issuer.certificate.issuer
    return Credential(certificate, key, () if is_root else (issuer.certificate, *issuer.chain))


def authority_extensions(own: PublicKey, issuer: PublicKey, *, path_length: int | None) -> tuple[Extension, ...]:
    return (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), True),
        *_key_identifiers(own, issuer),
    )


def leaf_extensions(
    own: PublicKey, issuer: PublicKey, names: Names, usages: Sequence[x509.ObjectIdentifier]
) -> tuple[Extension, ...]:
    is_rsa = isinstance(own, rsa.RSAPublicKey)
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True, key_encipherment=is_rsa), True),
        *_key_identifiers(own, issuer),
    ]
    if usages:
        extensions.append((x509.ExtendedKeyUsage(usages), False))
    if alternatives := names.alternatives():
        # RFC 5280 §4.2.1.6: critical exactly if the subject is empty.
        extensions.append((x509.SubjectAlternativeName(alternatives), not names.subject().rdns))
    return tuple(extensions)


def make_crl(
    issuer: Credential,
    revoked: Iterable[Revoked],
    *,
    number: int,
    this_update: float,
    next_update: float,
    extensions: Iterable[Extension] = (),
) -> x509.CertificateRevocationList:
    """A full CRL of `issuer`.  `number` must grow from one list to the next (RFC 5280 §5.2.3)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_moment(this_update))
        .next_update(_moment(next_update))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for line in revoked:
        builder = builder.add_revoked_certificate(_crl_entry(line))
    return builder.sign(issuer.key, _digest_for(issuer.key))


def _crl_entry(line: Revoked) -> x509.RevokedCertificate:
    entry = x509.RevokedCertificateBuilder().serial_number(line.serial).revocation_date(_moment(line.at))
    if line.reason is not x509.ReasonFlags.unspecified:  # RFC 5280 §5.3.1: leave "unspecified" out
        entry = entry.add_extension(x509.CRLReason(line.reason), critical=False)
    return entry.build()


def _sign(
    issuer: x509.Name,
    issuer_key: PrivateKey,
    subject: x509.Name,
    public_key: PublicKey,
    validity: Validity,
    extensions: Iterable[Extension],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(validity.not_before))
        .not_valid_after(_moment(validity.not_after))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, _digest_for(issuer_key))


def _digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)  # X.509 knows whole seconds only


def _key_identifiers(own: PublicKey, issuer: PublicKey) -> tuple[Extension, Extension]:
    return (x509.SubjectKeyIdentifier.from_public_key(own), False), (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer),
        False,
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
