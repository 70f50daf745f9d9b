"""HOST:PORT, [v6]:PORT and :PORT -> `Address`, and what may stand for a host.

Nothing is resolved here: a name that does not exist yet is no fault of the configuration.  What can never be a
host is refused, above all numbers that C libraries would read as an address of their own invention (``22`` is
0.0.0.22 to getaddrinfo, ``010.0.0.1`` is 8.0.0.1).
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from mtls_tunnel.config.schema import Address

MAX_PORT = 65535
MAX_NAME = 253  # RFC 1035 §2.3.4, without the root
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def parse(text: str, *, listening: bool) -> Address:
    """The address that *text* spells; a host may be left out, and the port be 0, only when *listening*.

    Raises:
        ValueError: with a plain sentence and, behind " - ", what to write.
    """
    host, port = _split(text)
    number = _port(port, listening=listening)
    if not host:
        if not listening:
            raise ValueError(f"has no host - write for example 127.0.0.1:{number}")
        return Address("", number)
    if text.startswith("["):
        return Address(_ipv6(host), number)
    try:
        check_name(host)
    except ValueError as exc:
        raise ValueError(f"has a host that {exc}") from None
    return Address(host, number)


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]:")
        if not bracket or not host:
            raise ValueError("is no address - an IPv6 address is written as [::1]:8443")
        return host, port
    if "://" in text:
        raise ValueError("is a URL, an address belongs here - write HOST:PORT")
    if text.count(":") > 1:
        raise ValueError("has more than one colon - an IPv6 address is written as [::1]:8443")
    host, colon, port = text.partition(":")
    if not colon and text.isdigit():
        raise ValueError(f"is a port alone - write its host too, such as 127.0.0.1:{text[:5]}")
    if not colon:
        raise ValueError("has no port - write HOST:PORT, such as 127.0.0.1:8443")
    return host, port


def _port(text: str, *, listening: bool) -> int:
    lowest = 0 if listening else 1
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT))):
        raise ValueError(f"has no usable port - it is a number from {lowest} to {MAX_PORT}")
    if not lowest <= int(text) <= MAX_PORT:
        raise ValueError(f"has an impossible port - it is a number from {lowest} to {MAX_PORT}")
    return int(text)


def _ipv6(host: str) -> str:
    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError("has no IPv6 address between its brackets - write for example [::1]:8443") from None
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?", host):
        raise ValueError("has an unusable zone - write for example [fe80::1%eth0]:8443")
    return host


def check_name(host: str) -> None:
    """Refuse what is neither an IPv4 address nor a possible DNS name.

    Raises:
        ValueError: with a plain sentence.
    """
    if not host.isascii():
        raise ValueError("has letters beyond ASCII - write its xn-- form")
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            raise ValueError("is neither an IPv4 address nor a name - check its numbers") from None
        return
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is no possible name - letters, digits, - and dots make a name")


def name_or_ip(text: str) -> str:
    """A name or an address as it may stand in a server's certificate; a final dot is dropped.

    Raises:
        ValueError: with a plain sentence.
    """
    if ":" not in text:
        check_name(text)
        return text.removesuffix(".")
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError("is neither a name nor an IP address - write the name alone") from None


def overlap(one: Address, other: Address) -> bool:
    """Whether both cannot be listened on at once, as far as their spelling tells."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host.lower() == "localhost":  # is listened on in both families
        return any(overlap(Address(host, one.port), other) for host in ("127.0.0.1", "::1"))
    if other.host.lower() == "localhost":
        return overlap(other, one)
    if _every(one.host) or _every(other.host):
        return True
    mine, theirs = _numeric(one.host), _numeric(other.host)
    if mine is None or theirs is None:
        return one.host.lower() == other.host.lower()
    if mine.version != theirs.version:
        return False
    return mine == theirs or mine.is_unspecified or theirs.is_unspecified


def _every(host: str) -> bool:
    """No host at all, and [::] like it, are every address of both families; 0.0.0.0 is every IPv4 address."""
    return not host or _numeric(host) == IPv6Address(0)


def _numeric(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
