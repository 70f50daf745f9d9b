"""Who is on the other end: a verified leaf certificate becomes an `Identity`.

The handshake has already checked signatures, dates and the trust bundle; this module only reads names,
and only from the leaf: extra certificates name nobody.  Whether a name may pass is decided in `policy`.
Pure: no I/O, no clock, no logging.

Two views of the subject are kept because deny and allow must err in opposite directions.  `cn`, `orgs`
and `ous` are the names a peer may be let in by; `every_cn`, `every_org` and `every_ou` hold each value
that stands anywhere in the subject, also in multi-valued RDNs, and are only good for refusing.

Sources: RFC 5280 §4.1.2.6 (subject) and §4.2.1.6 (subjectAltName); SPIFFE X509-SVID §2 and §5.2.
"""

import hashlib
import ipaddress
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.trust import spiffe


@dataclass(frozen=True, slots=True)
class Identity:
    """The names a peer proved.  An empty tuple means "none", never "any"."""

    fingerprint: str  # SHA-256 of the DER, lower-case hex
    subject: str  # RFC 4514 text, for people: never compared
    cn: str | None  # the only common name; None without one and with more than one
    orgs: tuple[str, ...]
    ous: tuple[str, ...]
    dns: tuple[str, ...]  # lower case, wildcards included
    ips: tuple[str, ...]  # as the ipaddress module writes them
    emails: tuple[str, ...]  # the part after @ in lower case
    uris: tuple[str, ...]
    uri: str | None  # the only URI name; None with more than one, and if it says spiffe: but is no valid SVID
    spiffe_id: str | None  # `uri` where that is a SPIFFE ID
    not_before: float  # seconds since the epoch
    not_after: float
    serial: int
    every_cn: tuple[str, ...] = ()
    every_org: tuple[str, ...] = ()
    every_ou: tuple[str, ...] = ()

    @property
    def trust_domain(self) -> str | None:
        """The SPIFFE trust domain that the peer belongs to, if any."""
        return None if self.spiffe_id is None else spiffe.trust_domain_of(self.spiffe_id)


@dataclass(frozen=True, slots=True)
class _Subject:
    text: str
    trusted: dict[x509.ObjectIdentifier, tuple[str, ...]]
    every: dict[x509.ObjectIdentifier, tuple[str, ...]]


def identity_of(leaf: x509.Certificate) -> Identity:
    """Read the peer's names from its verified *leaf*.

    Neither signature nor dates are checked.  A leaf without any name is an identity without names.

    Raises:
        PeerRejected: reason ``bad_certificate`` if the subject or an extension does not parse, or if any
            name holds a NUL, which other software would cut it at.
    """
    der = leaf.public_bytes(Encoding.DER)
    try:
        with warnings.catch_warnings(action="ignore"):  # a peer's oddities are no text for standard error
            extensions = leaf.extensions
            subject = _subject(leaf.subject)
            sans = _sans(extensions)
            not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
            serial = leaf.serial_number
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise PeerRejected("bad_certificate", "the names of the certificate do not parse") from error
    uris = tuple(name.value for name in sans if isinstance(name, x509.UniformResourceIdentifier))
    uri, spiffe_id = _only_uri(uris, extensions)
    return Identity(
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject=subject.text,
        cn=_only(subject),
        orgs=subject.trusted[NameOID.ORGANIZATION_NAME],
        ous=subject.trusted[NameOID.ORGANIZATIONAL_UNIT_NAME],
        dns=_filled(name.value.lower() for name in sans if isinstance(name, x509.DNSName)),
        ips=_filled(_address(name) for name in sans if isinstance(name, x509.IPAddress)),
        emails=_filled(mailbox(name.value) for name in sans if isinstance(name, x509.RFC822Name)),
        uris=_filled(uris),
        uri=uri,
        spiffe_id=spiffe_id,
        not_before=not_before.timestamp(),
        not_after=not_after.timestamp(),
        serial=serial,
        every_cn=subject.every[NameOID.COMMON_NAME],
        every_org=subject.every[NameOID.ORGANIZATION_NAME],
        every_ou=subject.every[NameOID.ORGANIZATIONAL_UNIT_NAME],
    )


def certificate_of(der: bytes) -> x509.Certificate:
    """Decode a peer's certificate; its oddities are not written to standard error.

    Raises:
        PeerRejected: reason ``bad_certificate`` if it is none that can be decoded.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise PeerRejected("bad_certificate", "the certificate does not parse") from error


def mailbox(address: str) -> str:
    """Bring an e-mail address into the form that is compared: only the host ignores case (RFC 5280 §7.5)."""
    local, at, host = address.rpartition("@")
    return f"{local}{at}{host.lower()}"


def _subject(name: x509.Name) -> _Subject:
    """Sort the subject's values: those of single-valued RDNs are names, the others can only count against."""
    wanted = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
    trusted: dict[x509.ObjectIdentifier, list[str]] = {oid: [] for oid in wanted}
    every: dict[x509.ObjectIdentifier, list[str]] = {oid: [] for oid in wanted}
    for rdn in name.rdns:
        attributes = list(rdn)
        for attribute in attributes:
            value = attribute.value
            if isinstance(value, bytes):  # a BIT STRING, as in x500UniqueIdentifier: no name of ours
                continue
            _refuse_nul(value)
            if attribute.oid not in every or not value:
                continue
            every[attribute.oid].append(value)
            if len(attributes) == 1:
                trusted[attribute.oid].append(value)
    return _Subject(
        name.rfc4514_string(),
        {oid: tuple(values) for oid, values in trusted.items()},
        {oid: tuple(values) for oid, values in every.items()},
    )


def _only(subject: _Subject) -> str | None:
    """The common name, if the whole subject has exactly one and it stands in an RDN of its own."""
    names = subject.trusted[NameOID.COMMON_NAME]
    return names[0] if len(names) == 1 and len(subject.every[NameOID.COMMON_NAME]) == 1 else None


def _sans(extensions: x509.Extensions) -> tuple[x509.GeneralName, ...]:
    try:
        names = tuple(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()
    for name in names:
        if isinstance(name, (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name)):
            _refuse_nul(name.value)
            if not name.value.isascii():  # IA5String; internationalised names travel as xn-- or percent-encoded
                raise PeerRejected("bad_certificate", "an alternative name of the certificate is not ASCII")
        elif isinstance(name, x509.DirectoryName):
            _subject(name.value)
    return names


def _only_uri(uris: tuple[str, ...], extensions: x509.Extensions) -> tuple[str | None, str | None]:
    """Pick the URI that may be matched, and the SPIFFE ID.

    X509-SVID §5.2 makes a validator refuse more than one; choosing one would let whoever wrote the request
    choose.  A URI that says spiffe: without being one must not get in by an exact rule either.
    """
    if len(uris) != 1 or not uris[0]:
        return None, None
    uri = uris[0]
    if not spiffe.claims_spiffe(uri):
        return uri, None
    if spiffe.fault_in_id(uri) or spiffe.fault_in_leaf(extensions):
        return None, None
    return uri, uri


def _address(name: x509.IPAddress) -> str:
    """The text of an address; a network has no place in a leaf's names (RFC 5280 §4.2.1.6)."""
    value = name.value
    return str(value) if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)) else ""


def _refuse_nul(name: str) -> None:
    if "\0" in name:
        raise PeerRejected("bad_certificate", "a name of the certificate holds a NUL")


def _filled(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name)
