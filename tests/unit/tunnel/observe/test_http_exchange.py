"""One connection of the status listener, as bytes in and bytes out."""

import http.client
import io
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.exchange import (
    MAX_HEADER_BYTES,
    MAX_REQUESTS,
    Exchange,
    Request,
    Response,
    Route,
    is_loopback,
    local_only,
    names_this_machine,
)

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16030100f1010000ed0303") + bytes(230)


def broken(_request: Request) -> Response:
    raise KeyError("tunnel")


ROUTES: Mapping[str, Route] = {
    "/healthz": lambda _request: Response(200, b'{"status":"alive"}'),
    "/accept": lambda request: Response(200, request.accept.encode(), "text/plain"),
    "/statusz": local_only(lambda _request: Response(200, b"{}")),
    "/broken": broken,
}


class Talk:
    """An exchange, and everything it has answered."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        self.broken: list[str] = []
        self.exchange = Exchange(ROUTES, peer=peer, failed=lambda path, _error: self.broken.append(path))
        self.sent = b""

    def hear(self, *chunks: bytes) -> "Talk":
        for chunk in chunks:
            if not self.exchange.finished:
                self.sent += self.exchange.receive(chunk)
        return self

    @property
    def status(self) -> int:
        return int(self.sent.split(b" ", 2)[1]) if self.sent else 0


def asked(request: bytes, *, peer: str = "127.0.0.1") -> Talk:
    return Talk(peer).hear(request)


def test_a_known_path_is_answered_whole_and_the_connection_stays() -> None:
    talk = asked(HEALTHZ)
    assert talk.sent == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n"
        b'Cache-Control: no-store\r\n\r\n{"status":"alive"}'
    )
    assert not talk.exchange.finished


def test_head_has_the_headers_of_get_and_no_body() -> None:
    talk = asked(HEALTHZ.replace(b"GET", b"HEAD")).hear(HEALTHZ)
    first, _, rest = talk.sent.partition(b"\r\n\r\n")
    assert b"Content-Length: 18" in first
    assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        pytest.param(b"GET /healthz?verbose=1 HTTP/1.1", 200, id="a query is ignored"),
        pytest.param(b"GET / HTTP/1.1", 404, id="the root"),
        pytest.param(b"GET /healthz/ HTTP/1.1", 404, id="a trailing slash"),
        pytest.param(b"GET /../healthz HTTP/1.1", 404, id="traversal"),
        pytest.param(b"GET /..%2f..%2fetc%2fpasswd HTTP/1.1", 404, id="encoded traversal"),
        pytest.param(b"GET //healthz HTTP/1.1", 404, id="two slashes"),
        pytest.param(b"GET http://localhost/healthz HTTP/1.1", 404, id="absolute form"),
        pytest.param(b"GET /HEALTHZ HTTP/1.1", 404, id="upper case"),
        pytest.param(b"POST /healthz HTTP/1.1", 405, id="POST"),
        pytest.param(b"DELETE /healthz HTTP/1.1", 405, id="DELETE"),
        pytest.param(b"OPTIONS * HTTP/1.1", 405, id="OPTIONS"),
        pytest.param(b"CONNECT db:5432 HTTP/1.1", 405, id="CONNECT"),
        pytest.param(b"get /healthz HTTP/1.1", 405, id="methods are case-sensitive"),
        pytest.param(b"GET /healthz HTTP/1.0", 200, id="HTTP/1.0"),
        pytest.param(b"GET /healthz HTTP/2.0", 400, id="HTTP/2"),
        pytest.param(b"GET /healthz", 400, id="no version"),
        pytest.param(b"GET /heal\x00thz HTTP/1.1", 400, id="NUL in the path"),
        pytest.param("GET /healthz\x85 HTTP/1.1".encode(), 400, id="bytes beyond ASCII"),
        pytest.param(b"quit", 400, id="a word"),
    ],
)
def test_only_the_exact_paths_and_two_methods_are_served(request_line: bytes, status: int) -> None:
    assert asked(request_line + b"\r\nHost: localhost\r\n\r\n").status == status


def test_another_method_is_told_which_ones_there_are_and_is_closed() -> None:
    talk = asked(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    assert talk.status == 405
    assert b"\r\nAllow: GET, HEAD\r\n" in talk.sent
    assert b"\r\nConnection: close\r\n" in talk.sent
    assert talk.exchange.finished


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(CLIENT_HELLO, id="a TLS ClientHello"),
        pytest.param(b"\x00\x00\x00\x08\x04\xd2\x16/", id="PostgreSQL SSLRequest"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two Host headers"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", id="no Host header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", id="a space before the colon"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", id="a length in letters"),
    ],
)
def test_what_is_not_http_is_refused_and_closed(octets: bytes) -> None:
    talk = asked(octets)
    assert talk.status == 400
    assert talk.exchange.finished


def header_of(size: int) -> bytes:
    start = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("step", [1, 100, 4096, 8191, 8192, 100_000])
def test_the_header_limit_does_not_depend_on_how_it_arrives(step: int) -> None:
    for size, status in ((MAX_HEADER_BYTES, 200), (MAX_HEADER_BYTES + 1, 431), (1_000_000, 431)):
        header = header_of(size)
        talk = Talk().hear(*(header[start : start + step] for start in range(0, len(header), step)))
        assert (talk.status, talk.exchange.finished) == (status, status != 200)


def test_a_long_request_line_counts_as_header() -> None:
    assert asked(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n").status == 431


def test_the_second_request_of_a_connection_has_the_whole_limit_again() -> None:
    talk = asked(header_of(MAX_HEADER_BYTES) * 2)
    assert talk.sent.count(b"HTTP/1.1 200 OK") == 2


@given(
    st.lists(st.sampled_from([HEALTHZ, HEALTHZ.replace(b"GET", b"HEAD"), b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"])),
    st.data(),
)
def test_every_chunking_gives_the_same_answers(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) if start < end]
    assert Talk().hear(*chunks).sent == Talk().hear(*([stream] if stream else [])).sent


@given(st.lists(st.binary(min_size=1), max_size=20))
def test_no_bytes_are_answered_with_anything_but_http(chunks: list[bytes]) -> None:
    talk = Talk().hear(*chunks, b"")
    assert talk.exchange.finished
    assert not talk.sent or talk.sent.startswith(b"HTTP/1.1 ")


def test_requests_on_one_connection_are_bounded() -> None:
    talk = Talk().hear(*[HEALTHZ] * (MAX_REQUESTS + 5))
    assert talk.sent.count(b"HTTP/1.1 200 OK") == MAX_REQUESTS
    assert talk.sent.count(b"Connection: close") == 1


def test_a_client_that_asks_to_close_is_closed() -> None:
    assert asked(HEALTHZ[:-2] + b"Connection: close\r\n\r\n").exchange.finished


def test_a_client_that_just_leaves_gets_nothing() -> None:
    talk = asked(b"")
    assert (talk.sent, talk.exchange.finished) == (b"", True)


def test_a_body_is_not_read() -> None:
    talk = asked(b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert (talk.status, talk.exchange.finished) == (200, True)


def test_an_upgrade_is_not_taken_up() -> None:
    talk = asked(HEALTHZ[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert talk.status == 200


def test_a_broken_page_is_a_500_and_leaves_the_others_working() -> None:
    talk = asked(HEALTHZ.replace(b"healthz", b"broken")).hear(HEALTHZ)
    assert talk.status == 500
    assert talk.broken == ["/broken"]
    assert b"tunnel" not in talk.sent
    assert talk.sent.endswith(b'{"status":"alive"}')


def test_a_route_sees_the_accept_header() -> None:
    talk = asked(b"GET /accept HTTP/1.1\r\nHost: a\r\nAccept: text/plain;q=0.5\r\n\r\n")
    response = http.client.HTTPResponse(_Wire(talk.sent))  # type: ignore[arg-type]
    response.begin()
    assert (response.read(), response.getheader("Content-Type")) == (b"text/plain;q=0.5", "text/plain")


class _Wire:
    """What `http.client` wants of a socket."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._octets)


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        pytest.param("127.0.0.1", b"localhost:9000", 200, id="by name"),
        pytest.param("127.0.0.1", b"127.0.0.1:9000", 200, id="by address"),
        pytest.param("127.9.9.9", b"127.0.0.1", 200, id="any loopback address"),
        pytest.param("::1", b"[::1]:9000", 200, id="IPv6"),
        pytest.param("::ffff:127.0.0.1", b"LOCALHOST", 200, id="IPv4 in IPv6"),
        pytest.param("10.0.0.5", b"localhost:9000", 403, id="another machine"),
        pytest.param("::ffff:10.0.0.5", b"localhost", 403, id="another machine, mapped"),
        pytest.param("fe80::1%eth0", b"localhost", 403, id="link-local"),
        pytest.param("127.0.0.1", b"rebound.example:9000", 403, id="a browser with a rebound name"),
        pytest.param("127.0.0.1", b"127.0.0.1.example", 403, id="a name that looks like an address"),
    ],
)
def test_status_is_for_clients_on_this_machine(peer: str, host: bytes, status: int) -> None:
    assert asked(b"GET /statusz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", peer=peer).status == status


def test_words_that_are_no_address_are_not_loopback() -> None:
    assert [is_loopback(word) for word in ("", "localhost", "127.0.0.1.example", "0.0.0.0")] == [False] * 4


def test_an_absent_host_header_names_this_machine() -> None:
    assert names_this_machine("")
