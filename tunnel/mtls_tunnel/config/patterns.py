"""What an ACL may ask for: each pattern checked, and brought to the one form in which it is compared.

A pattern that can never match is refused here: an allow rule with a slip in it would lock its owner out, a deny
rule with one would let everybody in.  Matching itself is `trust.policy`'s.

Sources: RFC 5280 §4.2.1.6 (names in certificates); SPIFFE-ID §2 (trust domain, path); RFC 9525 §6.3 (wildcards).
"""

import re
from ipaddress import ip_address, ip_network

FINGERPRINT_DIGITS = 64
SHA1_DIGITS = 40
MAX_URI_BYTES = 2048  # SPIFFE-ID §2.3
MAX_DNS_NAME = 253
MAX_TRUST_DOMAIN = 255

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_URI_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SPIFFE_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_SPIFFE = "spiffe://"
_SCHEME_ALONE = "spiffe:"


def name(text: str) -> str:
    """A common name, organization or unit: compared character by character, nothing is a wildcard."""
    if not text:
        raise ValueError("is empty - no certificate matches an empty name; remove it")
    if text != text.strip():
        raise ValueError("begins or ends with a space - names are compared exactly; remove it")
    return text


def dns(text: str) -> str:
    """A DNS name, or ``*.`` and a name: the star stands for one label.  Lower case comes back."""
    lowered = text.lower()
    labels = lowered.removeprefix("*.").split(".")
    if "*" in "".join(labels):
        raise ValueError("has a * that is not the whole first label - write *.example.com")
    if not lowered.isascii():
        raise ValueError("has letters beyond ASCII - certificates carry the xn-- form")
    if len(lowered) > MAX_DNS_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is no possible DNS name - write db.example.com or *.example.com")
    return lowered


def ip(text: str) -> str:
    """An address or a network in CIDR notation, in its canonical spelling."""
    try:
        if "/" not in text:
            return str(_unscoped(text))
        address, _, bits = text.partition("/")
        _unscoped(address)
        if not (bits.isascii() and bits.isdigit()):
            raise ValueError(text)
        network = ip_network(f"{address}/{bits}", strict=False)
    except ValueError:
        raise ValueError("is no IP address or network - write 10.1.2.3 or 10.0.0.0/8") from None
    if network.network_address != ip_address(address):
        raise ValueError(f"has bits set beyond its prefix - write {network}")
    return str(network)


def _unscoped(text: str) -> object:
    if "%" in text:
        raise ValueError("a certificate's address has no zone")
    return ip_address(text)


def email(text: str) -> str:
    """A mailbox as a certificate carries it; exact."""
    local, at, host = text.rpartition("@")
    if not (local and at and host and text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("is no e-mail address - write ops@example.com")
    return text


def fingerprint(text: str) -> str:
    """SHA-256 of a certificate's DER in hex, colons or not; 64 lower-case digits come back."""
    digits = text.lower()
    if ":" in digits:
        if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2})*", digits):
            raise ValueError("has colons in odd places - write pairs of hex digits, AA:BB:...")
        digits = digits.replace(":", "")
    if len(digits) == SHA1_DIGITS:
        raise ValueError("is a SHA-1 fingerprint - SHA-256 is wanted: tunnel certs show FILE prints it")
    if not re.fullmatch(rf"[0-9a-f]{{{FINGERPRINT_DIGITS}}}", digits):
        raise ValueError(f"is no SHA-256 fingerprint - it has {FINGERPRINT_DIGITS} hex digits")
    return digits


def uri(text: str) -> str:
    """A URI in which a segment may be ``*`` (one segment) and the last one ``**`` (one or more)."""
    _check_uri(text)
    head, *segments = _path(text)
    if "*" in head:
        raise ValueError("has a * before its path - only whole segments behind the host may be *")
    for position, segment in enumerate(segments):
        if segment == "**" and position < len(segments) - 1:
            raise ValueError("has ** before its end - ** may only be the last segment")
        if "*" in segment and segment not in ("*", "**"):
            raise ValueError("has a * inside a segment - a * stands for a whole segment")
    if text[: len(_SCHEME_ALONE)].lower() == _SCHEME_ALONE:
        _check_spiffe(text, segments, wildcards=True)
    return text


def exact_uri(text: str) -> str:
    """A URI that is compared as it is written; a SPIFFE ID must be a valid one."""
    _check_uri(text)
    if "*" in text:
        raise ValueError("has a * - it is compared exactly here; list each URI")
    if text[: len(_SCHEME_ALONE)].lower() == _SCHEME_ALONE:
        _check_spiffe(text, _path(text)[1:], wildcards=False)
    return text


def trust_domain(text: str) -> str:
    """A SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores."""
    if text.startswith(_SPIFFE):
        raise ValueError(
            f"is a SPIFFE ID - write only the trust domain: {text.removeprefix(_SPIFFE).partition('/')[0]}"
        )
    if not _TRUST_DOMAIN.fullmatch(text) or len(text) > MAX_TRUST_DOMAIN:
        raise ValueError("is no SPIFFE trust domain - lower-case letters, digits, . - and _ make one: example.org")
    return text


def _check_uri(text: str) -> None:
    if not _SCHEME.match(text):
        raise ValueError("is no URI - begin with a scheme, such as spiffe://example.org/db")
    if len(text.encode(errors="replace")) > MAX_URI_BYTES:
        raise ValueError(f"is longer than {MAX_URI_BYTES} bytes - no certificate's URI may be")
    if not _URI_CHARACTERS.fullmatch(text):
        raise ValueError("has a character that no URI can hold - spaces and letters beyond ASCII are %-encoded")


def _path(text: str) -> list[str]:
    """Scheme and authority as one piece, then the segments behind them."""
    scheme, _, rest = text.partition(":")
    if not rest.startswith("//"):
        return [f"{scheme}:", *rest.split("/")] if rest.startswith("/") else text.split("/")
    authority, *segments = rest.removeprefix("//").split("/")
    return [f"{scheme}://{authority}", *segments]


def _check_spiffe(text: str, segments: list[str], *, wildcards: bool) -> None:
    domain = text[len(_SPIFFE) :].partition("/")[0]
    if not text.startswith(_SPIFFE) or not _TRUST_DOMAIN.fullmatch(domain) or len(domain) > MAX_TRUST_DOMAIN:
        raise ValueError(
            "is no SPIFFE ID - its trust domain is lower-case, without port or user: spiffe://example.org/db"
        )
    if not segments:
        raise ValueError("names a trust domain and no workload - add the path: spiffe://example.org/db")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ValueError('is no SPIFFE ID - no segment is empty, "." or "..", and no slash ends it')
        if not (wildcards and segment in ("*", "**")) and not _SPIFFE_SEGMENT.fullmatch(segment):
            raise ValueError("is no SPIFFE ID - its path holds letters, digits, . - and _ only")
