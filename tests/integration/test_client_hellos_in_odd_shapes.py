"""A ClientHello may come in any slices, and name any host: the same handshake, the same demand.

A server tunnel has one route, so SNI chooses nothing; what it may never do is let somebody in without a
certificate, or fall over.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator

import pytest

from support.clients import PING, Refused, plain, refusal, rest, talk
from support.guarded import Guarded, Sign, handshake_failure

RECORD = struct.Struct("!BHH")
HANDSHAKE = 22


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


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


@pytest.mark.parametrize("slices", SLICES)
@pytest.mark.parametrize("padded", [pytest.param(False, id="short"), pytest.param(True, id="over 16 KB")])
def test_any_slicing_of_the_hello_is_the_same_hello(
    guarded: Guarded, slices: Callable[[bytes], Iterable[bytes]], padded: bool
) -> None:
    tls = guarded.good
    if padded:
        tls.set_alpn_protocols([f"{number:0200d}" for number in range(90)])
    with plain(guarded.port) as raw:
        client = OverBio(raw, tls)
        client.handshake(slices)
        assert client.ask() == PING


NAMES = [
    pytest.param(None, id="none"),
    pytest.param("LOCALHOST", id="upper case"),
    pytest.param("localhost.", id="trailing dot"),
    pytest.param("127.0.0.1", id="an address"),
    pytest.param("unknown.example", id="unknown"),
    pytest.param("a." * 126 + "a", id="253 bytes"),
    pytest.param("xn--bcher-kva.example", id="punycode"),
]


@pytest.mark.parametrize("name", NAMES)
def test_no_server_name_opens_the_door_without_a_certificate(guarded: Guarded, name: str | None) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    with guarded.refuses(handshake_failure("no_certificate")):
        refusal(guarded.port, stranger, name=name)


@pytest.mark.parametrize("name", NAMES)
def test_any_server_name_leads_to_the_one_route(guarded: Guarded, name: str | None) -> None:
    tls = guarded.good
    tls.check_hostname = False
    assert talk(guarded.port, tls, name=name) == PING


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


MALFORMED = [
    pytest.param(entry(b""), id="an empty name"),
    pytest.param(entry(b"localhost\0.evil.example"), id="a NUL in the name"),
    pytest.param(entry(b"a" * 300), id="300 bytes"),
    pytest.param(entry(b"a.example") + entry(b"b.example"), id="two names"),
    pytest.param(struct.pack("!BH", 0, 500) + b"short", id="a length that lies"),
    pytest.param(entry(b"localhost", kind=7), id="an unknown kind of name"),
]


@pytest.mark.parametrize("names", MALFORMED)
def test_a_malformed_server_name_ends_the_handshake(guarded: Guarded, names: bytes) -> None:
    """Whatever is said to it, the peer never gets past the handshake: it hears an alert or a close."""
    failure = Sign("mtlsd_handshake_failures_total", {}, 'msg="tls handshake failed"')
    with guarded.refuses(failure), plain(guarded.port) as raw:
        raw.sendall(hello_with_names(names))
        raw.shutdown(socket.SHUT_WR)
        assert rest(raw) in ("closed", "reset")
