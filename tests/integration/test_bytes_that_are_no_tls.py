"""HTTP, greetings of other protocols and noise on the TLS port: `not_tls`, at once, and nothing passes."""

import socket
import ssl
from collections.abc import Iterator

import pytest

from support.clients import plain, rest
from support.guarded import Guarded, Sign, handshake_failure

PG_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
TLS_HELLO_START = bytes.fromhex("16030100c8010000c40303")


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


NO_TLS = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="HTTP"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
    pytest.param(PG_SSL_REQUEST + TLS_HELLO_START, id="PostgreSQL's SSLRequest before the hello"),
    pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + TLS_HELLO_START, id="a PROXY header before the hello"),
    pytest.param(b"\0" * 600, id="zeros"),
    pytest.param(bytes(range(255, 0, -1)) * 4, id="noise"),
    pytest.param(bytes.fromhex("802e0100020015000000100100800700c0030080060040020080"), id="an SSLv2 hello"),
]


@pytest.mark.parametrize("noise", NO_TLS)
def test_it_is_turned_away(guarded: Guarded, noise: bytes) -> None:
    with guarded.refuses(handshake_failure("not_tls")), plain(guarded.port) as raw:
        raw.sendall(noise)
        assert rest(raw) in ("closed", "reset")


@pytest.mark.parametrize(
    "glued", [pytest.param(b"INSERT\n", id="text"), pytest.param(b"\x17\x03\x03\x00\x05AAAAA", id="a record")]
)
def test_plaintext_glued_behind_the_hello_never_passes(guarded: Guarded, glued: bytes) -> None:
    """What somebody in the middle slips in before the handshake is over (CVE-2021-23214)."""
    with guarded.refuses(Sign("mtlsd_handshake_failures_total", {}, 'msg="tls handshake failed"')):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = guarded.good.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with plain(guarded.port) as raw:
            raw.sendall(outgoing.read() + glued)
            assert rest(raw) in ("closed", "reset")


def test_a_client_that_leaves_before_the_handshake_is_counted_as_closed(guarded: Guarded) -> None:
    with guarded.refuses(handshake_failure("closed")), plain(guarded.port) as raw:
        raw.sendall(TLS_HELLO_START)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(1 << 16):
            pass
