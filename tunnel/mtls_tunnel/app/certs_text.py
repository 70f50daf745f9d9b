"""Certificates and CRLs in lines for people: values in, text out.

Control characters of names are escaped: what stands in somebody else's certificate must not steer a terminal.
Pure; the time is an argument, and days are rounded down as in /certz.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_tunnel.tls.probe import Presented
from mtls_tunnel.trust import chain as chains
from mtls_tunnel.trust.pki import DAY_SECONDS

MAX_REVOKED_SHOWN = 20
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "TLS server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "TLS client",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
}
_SANS: tuple[tuple[type[x509.GeneralName], str], ...] = (
    (x509.DNSName, "DNS"),
    (x509.IPAddress, "IP"),
    (x509.UniformResourceIdentifier, "URI"),
    (x509.RFC822Name, "email"),
    (x509.DirectoryName, "directory"),
    (x509.OtherName, "other"),
    (x509.RegisteredID, "id"),
)


def counts(certificates: int, crls: int, keys: int) -> str:
    parts = [(certificates, "certificate"), (crls, "CRL"), (keys, "private key")]
    words = [f"{number} {word}{'' if number == 1 else 's'}" for number, word in parts if number]
    return ", ".join(words) + (" (not shown)" if keys else "")


def certificates(found: Sequence[x509.Certificate], now: float) -> Iterator[str]:
    for number, certificate in enumerate(found, 1):
        yield from _certificate(number, certificate, now)
    if len(found) > 1:
        yield f"order: {_order(found)}"


def crl(found: x509.CertificateRevocationList, now: float) -> Iterator[str]:
    revoked = list(found)
    yield f"CRL of {_printable(found.issuer.rfc4514_string())}"
    yield f"   made         {_utc(found.last_update_utc)}"
    if found.next_update_utc is None:
        yield "   next update  not given"
    else:
        yield f"   next update  {_utc(found.next_update_utc)} ({_left(found.next_update_utc, now)})"
    for extension in found.extensions:
        if isinstance(extension.value, x509.CRLNumber):
            yield f"   number       {extension.value.crl_number}"
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            yield f"   delta        to number {extension.value.crl_number}: not a full list, the tunnel does not use it"
    yield f"   revoked      {len(revoked)}"
    for entry in revoked[:MAX_REVOKED_SHOWN]:
        yield f"                {entry.serial_number:x} at {_utc(entry.revocation_date_utc)}"
    if len(revoked) > MAX_REVOKED_SHOWN:
        yield f"                and {len(revoked) - MAX_REVOKED_SHOWN} more"


def server(address: str, seen: Presented, now: float) -> Iterator[str]:
    yield f"{address}: {seen.version}, {seen.cipher}; shown as sent, not verified"
    yield from certificates(seen.chain, now)
    if not seen.chain:
        yield "the server presented no certificate"
    if not seen.demands_certificate:
        yield "client certificate: not asked for"
    elif not seen.acceptable:
        yield "client certificate: asked for, without saying from which CAs"
    else:
        yield "client certificate: asked for, from one of these CAs:"
        yield from (f"   {_printable(name.rfc4514_string())}" for name in seen.acceptable)


def _certificate(number: int, certificate: x509.Certificate, now: float) -> Iterator[str]:
    yield f"{number}. {_printable(certificate.subject.rfc4514_string()) or '(empty subject)'}"
    own = certificate.issuer == certificate.subject
    yield f"   issuer       {'itself' if own else _printable(certificate.issuer.rfc4514_string())}"
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension):
        yield "   extensions   cannot be read: no peer will accept this certificate"
        extensions = x509.Extensions([])
    if (names := _names(extensions)) or not _is_ca(certificate):
        yield f"   names        {names or 'none: no subject alternative name, so no client accepts it from a server'}"
    yield f"   purpose      {_purpose(extensions)}"
    yield f"   key          {_key(certificate)}"
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    yield f"   valid        {_utc(begins)} to {_utc(ends)} ({_state(begins, ends, now)})"
    yield f"   serial       {certificate.serial_number:x}"
    yield f"   sha256       {certificate.fingerprint(hashes.SHA256()).hex()}"


def _names(extensions: x509.Extensions) -> str:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return ", ".join(_name(one) for one in names)


def _name(name: x509.GeneralName) -> str:
    kind = next((word for form, word in _SANS if isinstance(name, form)), "other")
    if isinstance(name, x509.DirectoryName):
        return f"{kind} {_printable(name.value.rfc4514_string())}"
    if isinstance(name, x509.OtherName):
        return f"{kind} {name.type_id.dotted_string}"
    return f"{kind} {_printable(str(name.value))}"


def _purpose(extensions: x509.Extensions) -> str:
    words = []
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True, path_length=length):
                words.append("CA" if length is None else f"CA (path length {length})")
            case x509.ExtendedKeyUsage() as usages:
                words += [_PURPOSES.get(usage, usage.dotted_string) for usage in usages]
    return ", ".join(words) or "any (no extended key usage)"


def _key(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case ec.EllipticCurvePublicKey() as key:
            return f"ECDSA {key.curve.name}"
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size} bits"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case other:
            return type(other).__name__


def _order(found: Sequence[x509.Certificate]) -> str:
    if all(chains.issued(above, below) for below, above in pairwise(found)):
        return "right, each certificate was issued by the next"
    if all(_is_ca(one) for one in found):
        return "none, a bundle of CAs"
    ordered = chains.order(found[0], found[1:])
    if not ordered.strangers:
        wanted = ", ".join(str(found.index(one) + 1) for one in ordered.chain)
        return f"wrong, the chain is {wanted}; the tunnel puts it right, other servers may not"
    leaves = [one for one in found if not _is_ca(one)]
    if len(leaves) == 1 and leaves[0] != found[0]:
        return f"wrong, the leaf is number {found.index(leaves[0]) + 1} and must come first"
    strangers = ", ".join(str(found.index(one) + 1) for one in ordered.strangers)
    return f"broken, not part of the chain of the first: {strangers}"


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _state(begins: datetime, ends: datetime, now: float) -> str:
    if now < begins.timestamp():
        return f"not valid yet, begins in {_days(begins.timestamp() - now)}: is a clock wrong?"
    return _left(ends, now)


def _left(end: datetime, now: float) -> str:
    left = end.timestamp() - now
    return f"{_days(left)} left" if left >= 0 else f"EXPIRED {_days(-left)} ago"


def _days(seconds: float) -> str:
    days = math.floor(seconds / DAY_SECONDS)
    if days >= 1:
        return f"{days} day{'' if days == 1 else 's'}"
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min"


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
