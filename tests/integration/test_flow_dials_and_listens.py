"""Real sockets at both ends: names and addresses dialled, races won, ports bound; and a loop that gives way."""

import asyncio
import select
import socket
import threading
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

import pytest

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ListenError, UpstreamError
from mtls_tunnel.flow import binding
from mtls_tunnel.flow.listener import Listener
from mtls_tunnel.flow.loop import READ, Loop, new_event_loop, running_poll
from mtls_tunnel.upstream import dial as dialling
from mtls_tunnel.upstream.dial import dial
from support.pki import Authority
from support.ports import free_port
from support.servers import Echo
from support.waiting import DEADLINE_SECONDS, eventually
from support.wire import Running, server_settings

T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(story)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_a_dial_gives_a_connected_socket_that_does_not_block(host: str) -> None:
    with Echo() as backend, closing(run(dial(Address(host, backend.port), timeout=10))) as sock:
        assert sock.getpeername()[:2] == ("127.0.0.1", backend.port)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (Address("127.0.0.1", 0), "connection refused"),
        (Address("host.invalid", 80), "the name does not resolve"),
        (Address("localhost", 0), "connection refused"),
    ],
)
def test_a_failed_dial_says_where_and_why(address: Address, words: str) -> None:
    port = address.port or free_port()
    with pytest.raises(UpstreamError, match=words) as caught:
        run(dial(Address(address.host, port), timeout=10))
    assert caught.value.reason == "dial_failed"
    assert f"{address.host}:{port}" in caught.value.detail


def test_a_dial_that_takes_too_long_is_given_up() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        where = full.getsockname()
        fillers = []
        while True:  # the backlog takes one or two, then SYNs are not answered any more
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(where)
            fillers.append(filler)
            if not select.select([], [filler], [], 0.2)[1]:
                break
        with pytest.raises(UpstreamError, match=r"no connection within 0\.3 s"):
            run(dial(Address(*where), timeout=0.3))
        for filler in fillers:
            filler.close()


def test_of_several_addresses_the_first_that_answers_wins_and_the_rest_are_closed() -> None:
    dead = free_port()
    with Echo() as backend:
        found = [(socket.AF_INET, ("127.0.0.1", dead)), (socket.AF_INET, ("127.0.0.1", backend.port))]
        with closing(run(dialling._race(found))) as sock:
            assert sock.getpeername()[1] == backend.port
    with pytest.raises(OSError, match="refused"):
        run(dialling._race([(socket.AF_INET, ("127.0.0.1", dead))] * 2))


def test_a_listener_says_who_has_the_port() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        tunnel = Running(server_settings(Authority(), 1))
        listener = type(tunnel.listener)(Address(*taken.getsockname()), tunnel.listener._route)
        with pytest.raises(ListenError, match="in use by another program"):
            listener.bind()
        tunnel._loop.close()


@pytest.mark.parametrize(
    "host",
    [
        "",
        pytest.param(
            "::",
            marks=pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6"),
        ),
    ],
)
def test_no_host_and_the_unspecified_one_listen_on_both_families(host: str) -> None:
    with Echo() as backend:
        tunnel = Running(server_settings(Authority(), backend.port))
        tunnel.listener = type(tunnel.listener)(Address(host, 0), tunnel.listener._route)
        with tunnel:
            for loopback in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
                with socket.create_connection((loopback, tunnel.port)) as client:
                    eventually(lambda: len(tunnel.registry) == 1, "it is accepted")
                    (live,) = tunnel.registry.snapshot()
                    assert live["remote"] == str(Address(*client.getsockname()[:2]))
                tunnel.wait_until_idle()


def test_a_name_is_looked_up_while_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.set()
        if host != "slow.example" or not answer.wait(DEADLINE_SECONDS):
            raise socket.gaierror(socket.EAI_NONAME, "")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def story(listener: Listener) -> None:
        lookup = asyncio.create_task(listener.resolve())
        await asyncio.to_thread(asked.wait, DEADLINE_SECONDS)
        answer.set()
        await lookup

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    tunnel = Running(server_settings(Authority(), 1))
    listener = Listener(Address("slow.example", 0), tunnel.listener._route)
    run(story(listener))
    listener.bind()
    assert listener.address.host == "127.0.0.1"
    listener.stop()
    with pytest.raises(ListenError, match=r"cannot listen on other\.example:80: other\.example is no address of this"):
        run(Listener(Address("other.example", 80), tunnel.listener._route).resolve())
    tunnel._loop.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::", "", "localhost", "LocalHost"])
def test_an_address_is_never_looked_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert binding.places(Address(host, 80))


def test_of_two_listeners_only_one_takes_over_what_a_third_gives_up() -> None:
    """Two names of one address are no clash in the file; the second is told when it binds."""
    tunnel = Running(server_settings(Authority(), 1))
    with tunnel:
        offers = tunnel.listener.offers()
        first, second = (Listener(tunnel.listener.address, tunnel.listener._route) for _ in range(2))
        first.bind(offers)
        with pytest.raises(ListenError, match="in use by another program"):
            second.bind(offers)
        first.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_localhost_is_both_loopback_addresses_and_no_other() -> None:
    with Echo() as backend:
        tunnel = Running(server_settings(Authority(), backend.port))
        tunnel.listener = type(tunnel.listener)(Address("localhost", 0), tunnel.listener._route)
        with tunnel:
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, tunnel.port)).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", tunnel.port))
            tunnel.wait_until_idle()
            assert tunnel.listener.address == Address("localhost", tunnel.port)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_one_half_of_localhost_that_is_taken_is_told() -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as taken:
        tunnel = Running(server_settings(Authority(), 1))
        listener = type(tunnel.listener)(Address("localhost", taken.getsockname()[1]), tunnel.listener._route)
        with pytest.raises(ListenError, match="in use by another program"):
            listener.bind()
        tunnel._loop.close()


def test_hot_descriptors_are_served_and_asyncio_is_not_starved() -> None:
    """A watcher that is always ready must hold up neither timers nor callbacks nor other descriptors."""

    async def story() -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        busy, far = socket.socketpair()
        far.send(b"x")  # never read: ready for ever
        calls = 0

        def watcher(_: int) -> None:
            nonlocal calls
            calls += 1

        poll = running_poll()
        poll.watch(busy.fileno(), READ, watcher)
        await asyncio.sleep(0.05)
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.send(b"through")
        got = (await loop.sock_recv(reader, 10)).decode()
        poll.forget(busy.fileno())
        poll.forget(busy.fileno())
        for sock in (busy, far, reader, writer):
            sock.close()
        return calls, got

    calls, got = run(story())
    assert calls > 10
    assert got == "through"


def test_a_future_that_a_watcher_resolves_wakes_its_task_at_once() -> None:
    async def story() -> bytes:
        near, far = socket.socketpair()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        poll = running_poll()

        def resolve(_: int) -> None:
            if not future.done():
                future.set_result(near.recv(10))

        poll.watch(near.fileno(), READ, resolve)
        far.send(b"now")
        got = await future
        poll.forget(near.fileno())
        near.close()
        far.close()
        return got

    assert run(story()) == b"now"


def test_the_data_path_says_so_when_it_runs_on_a_foreign_loop() -> None:
    async def story() -> None:
        running_poll()

    with pytest.raises(RuntimeError, match="new_event_loop"):
        asyncio.run(story())
    loop = Loop()
    loop.close()
