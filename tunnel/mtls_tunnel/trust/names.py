"""Is this the server that was asked for: a leaf's names against an expected one; a mismatch says what was there.

Only subject alternative names count, never the common name.  A wildcard is the whole leftmost label, stands for
exactly one label and needs two more behind it; an address matches only an IP name, a name only a DNS name.
The chain is not looked at: the handshake verifies it.  Pure.

Sources: RFC 9525 §6.3 (DNS names), §6.4 (addresses) and §6.2 (no fall-back to the common name).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from mtls_tunnel.trust.identity import Identity


@dataclass(frozen=True, slots=True)
class Match:
    """Whether the server is the expected one.  It is true in a condition if so."""

    expected: tuple[str, ...]
    by: str  # the name of the certificate that matched, "" if none did
    present: tuple[str, ...]  # the names that were there to match, as DNS:..., IP:..., URI:...

    def __bool__(self) -> bool:
        return self.by != ""

    def __str__(self) -> str:
        wanted = " or ".join(self.expected)
        if self.by:
            return f"{wanted} matches {self.by}"
        there = ", ".join(self.present) or "no subject alternative names (a common name does not count)"
        return f"expected {wanted}, the certificate has {there}"


def match_host(identity: Identity, expected: str) -> Match:
    """Compare with a DNS name or an IP address (brackets around IPv6 allowed), as the target was written."""
    present = _present(identity)
    address = _address(expected)
    if address is not None:
        by = next((f"IP:{name}" for name in identity.ips if ipaddress.ip_address(name) == address), "")
    else:
        wanted = expected.lower().removesuffix(".")
        by = next((f"DNS:{name}" for name in identity.dns if dns_matches(name, wanted)), "")
    return Match((expected,), by, present)


def match_uri(identity: Identity, expected: Sequence[str]) -> Match:
    """Compare with any of several URIs, exactly; a certificate with two URI names matches none."""
    found = identity.uri is not None and identity.uri in expected
    return Match(tuple(expected), f"URI:{identity.uri}" if found else "", _present(identity))


def dns_matches(presented: str, wanted: str) -> bool:
    """Compare a DNS name of a certificate (lower case) with the name asked for (lower case, no trailing dot)."""
    if not wanted or "*" in wanted:
        return False
    if presented == wanted:
        return True
    star, _, parent = presented.partition(".")
    if star != "*" or "." not in parent or "*" in parent:
        return False
    label, _, rest = wanted.partition(".")
    return label != "" and rest == parent


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _present(identity: Identity) -> tuple[str, ...]:
    return (
        *(f"DNS:{name}" for name in identity.dns),
        *(f"IP:{name}" for name in identity.ips),
        *(f"URI:{name}" for name in identity.uris),
    )
