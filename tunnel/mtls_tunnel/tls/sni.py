"""The first bytes of a connection become the server name that its ClientHello asks for; nothing else is read.

Feed all bytes that have come so far; None means that more are needed.  Records and the message inside may be cut
anywhere, the answer is the same.  Names come back in lower case.  What is refused rather than guessed: two names,
two SNI extensions, an empty or overlong name, an address, anything but ASCII letters, digits, "-", "_" and dots
between labels.  One dot at the end is legal in the DNS and not in the RFC; clients send it, and it is dropped.  So
a name that is returned can be looked up as it stands.

Pure: nothing is decrypted, nothing verified; whoever sent it may ask for any name.

Sources: RFC 8446 §4.1.2 and §5.1, RFC 5246 §7.4.1.2 (ClientHello); RFC 6066 §3 (server_name).
"""

import re
import struct
from dataclasses import dataclass

from mtls_tunnel.errors import PeerRejected

LARGEST_HELLO = 65536  # post-quantum key shares and padding stay far below
MOST_OCTETS = 2 * LARGEST_HELLO  # on the wire, where a record may hold little beside its header
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_LARGEST_RECORD = 16384
_EXTENSION = struct.Struct("!HH")  # kind, size
_NAME = re.compile(rb"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_ADDRESS = re.compile(rb"[0-9.]+|0[xX][0-9a-fA-F.]+")
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Hello:
    """What was asked for; `server_name` is None where the client names nobody."""

    server_name: str | None


def client_hello(octets: bytes) -> Hello | None:
    """Read the ClientHello at the start of *octets*; None if it is not complete yet.

    Raises:
        PeerRejected: ``not_tls`` if these bytes cannot become a ClientHello, ``bad_sni`` if its server name is not
            one that can be looked up.
    """
    message = _message(octets)
    return None if message is None else Hello(_server_name(_extensions(_Reader(message))))


def still_needed(octets: bytes) -> int:
    """At least how many bytes must follow *octets*, the incomplete ClientHello that `client_hello` accepted so far."""
    at = 0
    while True:
        header = octets[at : at + 5]
        if len(header) < 5:
            return 5 - len(header)
        size = int.from_bytes(header[3:5], "big")
        at += 5 + size
        if at > len(octets):
            return at - len(octets)


class _Reader:
    """Takes fields off the front of a message; running out of bytes is the peer's fault."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._octets[self._at : self._at + count]
        if len(piece) < count:
            raise _beyond()
        self._at += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field with its length in *size* bytes before it."""
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return self._at < len(self._octets)


def _message(octets: bytes) -> bytes | None:
    """The body of the first handshake message, joined from its records."""
    if octets[:1] == b"\x16" and octets[1:2] == b"\x03" and octets[5:6] == b"\x01":
        size = int.from_bytes(octets[3:5], "big")
        if 4 < size <= _LARGEST_RECORD and len(octets) >= 5 + size and int.from_bytes(octets[6:9], "big") == size - 4:
            return octets[9 : 5 + size]  # nearly always: one record with nothing else in it
    joined = bytearray()
    at = 0
    while True:
        header = octets[at : at + 5]
        if not _may_be_record(header):
            raise PeerRejected("not_tls", "the first bytes are not a TLS handshake record")
        size = int.from_bytes(header[3:5], "big")
        if len(header) < 5:
            return None
        joined += octets[at + 5 : at + 5 + size]
        if joined and joined[0] != _CLIENT_HELLO:
            raise PeerRejected("not_tls", "the first handshake message is not a ClientHello")
        if len(joined) >= 4:
            length = int.from_bytes(joined[1:4], "big")
            if length > LARGEST_HELLO:
                raise PeerRejected("not_tls", f"a ClientHello of {length} bytes")
            if len(joined) >= 4 + length:
                return bytes(joined[4 : 4 + length])
        at += 5 + size
        if at > len(octets):
            return None


def _may_be_record(header: bytes) -> bool:
    """Say whether *header*, as far as it has come, begins a handshake record with something in it."""
    if header[:1] not in (b"", bytes([_HANDSHAKE])) or header[1:2] not in (b"", b"\x03"):
        return False
    if len(header) < 5:
        return True
    return 0 < int.from_bytes(header[3:5], "big") <= _LARGEST_RECORD


def _extensions(hello: _Reader) -> list[bytes]:
    """The bodies of all server_name extensions."""
    hello.take(2 + 32)  # legacy_version, random
    hello.vector(1)  # legacy_session_id
    hello.vector(2)  # cipher_suites
    hello.vector(1)  # legacy_compression_methods
    if not hello:
        return []  # TLS 1.2 without extensions
    octets, found, at = hello.vector(2), [], 0
    while at < len(octets):  # a reader would do, at several times the cost: there are a dozen in each hello
        if at + _EXTENSION.size > len(octets):
            raise _beyond()
        kind, size = _EXTENSION.unpack_from(octets, at)
        at += _EXTENSION.size + size
        if at > len(octets):
            raise _beyond()
        if kind == _SERVER_NAME:
            found.append(octets[at - size : at])
    if hello:
        raise PeerRejected("not_tls", "bytes behind the extensions of the ClientHello")
    return found


def _beyond() -> PeerRejected:
    return PeerRejected("not_tls", "a length inside the ClientHello points beyond its end")


def _server_name(bodies: list[bytes]) -> str | None:
    if not bodies:
        return None
    if len(bodies) > 1:
        raise PeerRejected("bad_sni", "two server_name extensions")
    body = _Reader(bodies[0])
    names = _Reader(body.vector(2))
    if body or not names:
        raise PeerRejected("bad_sni", "a server_name extension without a list of names")
    kind, name = names.number(1), names.vector(2)
    if names or kind != _HOST_NAME:
        raise PeerRejected("bad_sni", "more than one server name, or one of an unknown kind")
    name = name.removesuffix(b".")
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None or _ADDRESS.fullmatch(name) is not None:
        raise PeerRejected("bad_sni", "the server name is not a DNS name")
    return name.decode("ascii").lower()
