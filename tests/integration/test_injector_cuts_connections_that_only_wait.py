"""Silent connections, slow heads, slow bodies, unread answers and crowds: each ends, and nobody else notices."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.server import health_app, listen
from support.injectors import SERVICE, Injector
from support.procfs import sockets
from support.raw_pods import admission_review, raw_pod
from support.tunnel_resources import tunnel_raw
from support.waiting import DEADLINE_SECONDS, eventually, settled

HEAD = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


def test_pain_26_slow_senders_are_cut_while_pods_are_injected(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        eventually(lambda: "patch" in injector.review(raw_pod()), "it injects")
        before = sockets(injector.child.pid)
        context, ended = injector.context(), {}

        def connected(tls: bool) -> socket.socket:
            plain = socket.create_connection(("127.0.0.1", injector.port), timeout=DEADLINE_SECONDS)
            return context.wrap_socket(plain, server_hostname=SERVICE) if tls else plain

        def slow(name: str, tls: bool, drip: bytes, first: bytes = b"") -> None:
            with connected(tls) as peer:
                peer.sendall(first)
                ended[name] = _until_cut(peer, drip)

        cases: list[tuple[str, bool, bytes, bytes]] = [
            ("no handshake", False, b"", b""),
            ("slow handshake", False, b"\x16", b""),
            ("silent", True, b"", b""),
            ("slow head", True, b"x", b"POST /mutate HTTP/1.1\r\nX-Fill: "),
            ("second head slow", True, b"y", b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nPOST /mutate HTTP/1.1\r\nX: "),
            ("slow body", True, b" ", HEAD),
            ("no body", True, b"", HEAD),
        ]
        threads = [threading.Thread(target=slow, args=(name, tls, drip, first)) for name, tls, drip, first in cases]
        for thread in threads:
            thread.start()
        injected = 0
        while any(thread.is_alive() for thread in threads):
            assert "patch" in injector.review(raw_pod())
            injected += 1
        for thread in threads:
            thread.join()

        assert set(ended) == {name for name, *_ in cases}, "each has been cut"
        assert b" 408 " in ended["slow body"]
        assert b" 408 " in ended["no body"]
        assert injected > 20
        settled(lambda: sockets(injector.child.pid), before, "sockets")
        assert 'connections_cut_total{reason="silent"}' in injector.scrape()


def test_an_answer_that_nobody_reads_holds_no_connection_for_ever(tmp_path: Path) -> None:
    """Pipelined requests, not one byte read: the injector stops reading, and the peer's end frees everything."""
    with Injector(tmp_path) as injector:
        before = sockets(injector.child.pid)
        body = json.dumps(admission_review(raw_pod())).encode()
        request = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        context = injector.context()
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", injector.port)), server_hostname=SERVICE
        ) as peer:
            peer.settimeout(1)
            with contextlib.suppress(TimeoutError, ssl.SSLError):
                for _ in range(3_000):
                    peer.sendall(request)
            assert injector.review(raw_pod())["allowed"]
        settled(lambda: sockets(injector.child.pid), before, "sockets")


def test_in_a_crowd_a_newcomer_takes_the_place_of_the_connection_that_was_idle_longest() -> None:
    """Whoever holds many connections does not keep the API server out."""

    async def scenario() -> tuple[bytes, list[str]]:
        meters = Meters()
        place = await listen(health_app(lambda: ""), ("127.0.0.1", 0), meters, most=2)
        async with connected(place.port) as first, connected(place.port) as second:
            await _answered(second)
            await _answered(first)
            async with connected(place.port) as third:
                said = [await _answered(third), await _answered(first)]
                left = b""
                with contextlib.suppress(ConnectionError):
                    left = await second[0].read()
        await place.close()
        cut = meters.registry.get_sample_value("mtls_tunnel_injector_connections_cut_total", {"reason": "crowded"})
        assert cut == 1.0
        return left, said

    left, said = asyncio.run(scenario())
    assert left == b""
    assert [text[:12] for text in said] == ["HTTP/1.1 200"] * 2


def test_a_connection_may_idle_between_requests() -> None:
    """The API server keeps its connections: only the wait for a request that has begun is limited."""

    async def scenario() -> list[str]:
        place = await listen(health_app(lambda: ""), ("127.0.0.1", 0), Meters())
        place.guard.head_seconds = 0.2
        async with connected(place.port) as peer:
            said = [await _answered(peer)]
            await asyncio.sleep(0.5)
            said.append(await _answered(peer))
            peer[1].write(b"GET /healthz HT")
            with contextlib.suppress(ConnectionError):
                assert await peer[0].read() == b"", "the rest of the head did not come"
        await place.close()
        return said

    assert [text[:15] for text in asyncio.run(scenario())] == ["HTTP/1.1 200 OK"] * 2


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _answered(peer: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    reader, writer = peer
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"}")
    return head.decode()


def _until_cut(peer: socket.socket, drip: bytes) -> bytes:
    """Send one byte now and then until the other side has had enough; what it said."""
    said = b""
    give_up = time.monotonic() + DEADLINE_SECONDS
    peer.settimeout(0.5)
    while time.monotonic() < give_up:
        try:
            received = peer.recv(4096)
        except TimeoutError:
            with contextlib.suppress(OSError):
                peer.sendall(drip)
            continue
        except OSError:
            return said
        if not received:
            return said
        said += received
    raise AssertionError("never cut")
