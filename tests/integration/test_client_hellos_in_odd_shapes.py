"""A ClientHello may come in any slices, and name any host: the same handshake, the same demand.

A server tunnel has one route, so SNI chooses nothing; what it may never do is let somebody in without a
certificate, or fall over.
"""

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from support.clients import PING, plain, refusal, rest, talk
from support.guarded import Guarded, Sign, handshake_failure
from support.hellos import SLICES, OverBio, Slices, entry, hello_with_names


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


@pytest.mark.parametrize("slices", SLICES)
@pytest.mark.parametrize("padded", [pytest.param(False, id="short"), pytest.param(True, id="over 16 KB")])
def test_any_slicing_of_the_hello_is_the_same_hello(guarded: Guarded, slices: Slices, padded: bool) -> None:
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
