"""ClientHellos in slices of any kind, and such as no library sends."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterable

import pytest

from support.clients import PING, Refused

RECORD = struct.Struct("!BHH")
HANDSHAKE = 22
Slices = Callable[[bytes], Iterable[bytes]]


class OverBio:
    """A TLS client whose first flight is sent by `deliver`, in whatever slices that likes."""

    def __init__(self, raw: socket.socket, tls: ssl.SSLContext, name: str | None = "localhost") -> None:
        self.raw = raw
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def handshake(self, deliver: Callable[[bytes], Iterable[bytes]]) -> None:
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            for piece in deliver(self._outgoing.read()):
                self.raw.sendall(piece)
            if done:
                return
            self._feed()

    def ask(self, question: bytes = PING) -> bytes:
        self.tls.write(question)
        self.raw.sendall(self._outgoing.read())
        answer = b""
        while len(answer) < len(question):
            try:
                answer += self.tls.read(1024)
            except ssl.SSLWantReadError:
                self._feed()
        return answer

    def _feed(self) -> None:
        chunk = self.raw.recv(1 << 16)
        if not chunk:
            raise Refused("closed")
        self._incoming.write(chunk)


def byte_by_byte(flight: bytes) -> Iterable[bytes]:
    return (flight[at : at + 1] for at in range(len(flight)))


def in_small_records(flight: bytes) -> Iterable[bytes]:
    """Each handshake record as many records of seven bytes: legal, and rare."""
    while flight:
        kind, version, size = RECORD.unpack_from(flight)
        body, flight = flight[RECORD.size : RECORD.size + size], flight[RECORD.size + size :]
        step = 7 if kind == HANDSHAKE else size
        for at in range(0, size, step):
            piece = body[at : at + step]
            yield RECORD.pack(kind, version, len(piece)) + piece


def whole(flight: bytes) -> Iterable[bytes]:
    return (flight,) if flight else ()


SLICES = [pytest.param(way, id=way.__name__.replace("_", " ")) for way in (whole, byte_by_byte, in_small_records)]


def hello_with_names(*entries: bytes) -> bytes:
    """A ClientHello whose server_name extension holds these raw entries (RFC 6066 §3)."""
    names = b"".join(entries)
    server_names = struct.pack("!H", len(names)) + names
    extensions = (
        struct.pack("!HH", 0, len(server_names))
        + server_names
        + bytes.fromhex("000a00040002001d" + "000d00060004040308 04".replace(" ", "") + "002b0003020304")
        + bytes.fromhex("003300260024001d0020")
        + bytes(range(1, 33))
    )
    body = (
        b"\x03\x03" + bytes(32) + b"\x00" + bytes.fromhex("00021301") + b"\x01\x00"
        + struct.pack("!H", len(extensions)) + extensions
    )  # fmt: skip
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return RECORD.pack(HANDSHAKE, 0x0301, len(message)) + message


def entry(name: bytes, kind: int = 0) -> bytes:
    return struct.pack("!BH", kind, len(name)) + name
