"""Byte streams over blocking sockets, plain or TLS 1.3, and the small language generator and backend speak on them.

TLS works on memory BIOs so that one system call moves many records: the ends of the measurement must be cheaper
than what is measured.  No call waits for ever (`prepared`); the limit stands in the socket's own options because
Python's socket timeout would cost a poll(2) for each call.

A request is a `Request`, answered as its verb says:

    UPLOAD    *amount* bytes follow; DONE comes back when all have arrived
    DOWNLOAD  *amount* bytes come back
    ECHO      everything that follows comes back, until the end
    STATE     RESUMED, FULL or PLAIN: how the connection came to the backend
"""

import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

SUITE = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"
HOST = "127.0.0.1"
SERVER_NAME = "localhost"
READ_BYTES = 64 * 1024  # a memory BIO never shrinks, and the generator holds 10,000 of them
_SINK = memoryview(bytearray(256 * 1024))  # shared by all threads: nobody reads what lands in it

UPLOAD, DOWNLOAD, ECHO, STATE = b"U", b"D", b"E", b"S"
DONE, RESUMED, FULL, PLAIN = b"k", b"r", b"f", b"p"


@dataclass(frozen=True, slots=True)
class Request:
    """The header of each exchange; *amount* is 0 where the verb needs none."""

    verb: bytes
    amount: int = 0

    FORM: ClassVar[struct.Struct] = struct.Struct("!cQ")

    def __bytes__(self) -> bytes:
        return self.FORM.pack(self.verb, self.amount)

    @classmethod
    def of(cls, header: bytes) -> Self:
        return cls(*cls.FORM.unpack(header))


class Stream(Protocol):
    """Two-way bytes.

    `read_into` and `skip` return how many bytes came, 0 at the end; `skip` forgets them.  `finish` ends the
    output, waits for the other end and closes.
    """

    def send(self, content: bytes | memoryview) -> None: ...
    def read_into(self, view: memoryview) -> int: ...
    def skip(self, limit: int) -> int: ...
    def finish(self) -> None: ...


class PlainStream:
    """Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, content: bytes | memoryview) -> None:
        self._sock.sendall(content)

    def read_into(self, view: memoryview) -> int:
        return self._sock.recv_into(view)

    def skip(self, limit: int) -> int:
        # The kernel counts the bytes without copying them (tcp(7), MSG_TRUNC): a cheaper end.
        return self._sock.recv_into(_SINK, min(limit, len(_SINK)), socket.MSG_TRUNC)

    def finish(self) -> None:
        with self._sock, suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            while self._sock.recv(READ_BYTES):
                pass


class TlsStream:
    """Owns the socket.  Both sides verify: the contexts of `client_context` and `server_context` demand it."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else SERVER_NAME
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, name, session)
        self._handshake()

    @property
    def session(self) -> ssl.SSLSession | None:
        return self._tls.session

    @property
    def resumed(self) -> bool:
        return bool(self._tls.session_reused)

    def send(self, content: bytes | memoryview) -> None:
        self._tls.write(content)
        self._sock.sendall(self._outgoing.read())

    def read_into(self, view: memoryview) -> int:
        while True:
            try:
                return int(self._tls.read(len(view), view))
            except ssl.SSLWantReadError:
                if not self._feed():
                    return 0
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return 0

    def skip(self, limit: int) -> int:
        return self.read_into(_SINK[:limit])

    def finish(self) -> None:
        with self._sock, suppress(OSError):
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._sock.sendall(self._outgoing.read())
            self._sock.shutdown(socket.SHUT_WR)
            while self._sock.recv(READ_BYTES):
                pass

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                if not self._feed():
                    raise ConnectionError("closed during the handshake") from None
            else:
                break
        self._sock.sendall(self._outgoing.read())
        used = self._tls.cipher()
        if used is None or used[0] != SUITE:
            raise ConnectionError(f"the suite must be {SUITE} for all, and was {used}")

    def _feed(self) -> bool:
        return bool(self._incoming.write(self._sock.recv(READ_BYTES)))


def read_exactly(stream: Stream, amount: int) -> bytes:
    """Return *amount* bytes; fewer only if the stream ended before the first of them."""
    found = memoryview(bytearray(amount))
    have = 0
    while have < amount:
        got = stream.read_into(found[have:])
        if not got:
            if have:
                raise ConnectionError(f"the stream ended after {have} of {amount} bytes")
            return b""
        have += got
    return bytes(found)


def prepared(sock: socket.socket, *, patience_seconds: int) -> socket.socket:
    """Give *sock* what every socket of the measurement has: no delay, bounded patience."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit = struct.pack("ll", patience_seconds, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return sock


def client_context(folder: Path) -> ssl.SSLContext:
    """Return the context that shows client.pem of *folder* and demands a certificate of its ca.pem."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "client.pem", folder / "client-key.pem")
    context.load_verify_locations(folder / "ca.pem")
    return context


def server_context(folder: Path, *, tickets: int) -> ssl.SSLContext:
    """Return the context that shows server.pem of *folder*, demands a certificate, and issues *tickets*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.num_tickets = tickets
    return context
