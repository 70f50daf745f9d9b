"""Limits that end a connection or keep it waiting: handshake, idle, half-close, lifetime, slots, a dial that fails."""

import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from mtls_tunnel.config.schema import Address, Proxy
from support.pki import Authority
from support.ports import free_port
from support.servers import Echo, Silent, Stubborn
from support.waiting import eventually
from support.wire import Running, TlsServer, client_settings, plain_client, server_settings, tls_client, tls_context

AUTHORITY = Authority()


def proxy(**over: float) -> Proxy:
    return Proxy(**over)  # type: ignore[arg-type]


def test_a_handshake_that_never_ends_is_cut() -> None:
    with Running(server_settings(AUTHORITY, 1, proxy=proxy(handshake_timeout_seconds=0.2))) as tunnel:
        with plain_client(tunnel.port) as client:
            client.sendall(b"\x16\x03\x01")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        eventually(lambda: tunnel.meters.handshake_failures["timeout"] == 1, f"{tunnel.meters.handshake_failures}")
        tunnel.wait_until_idle()


@pytest.mark.parametrize(
    ("limits", "act", "reason"),
    [
        pytest.param(proxy(idle_timeout_seconds=0.3), lambda wire: None, "idle", id="idle"),
        pytest.param(proxy(half_close_timeout_seconds=0.3), lambda wire: wire.end(), "half_close", id="half closed"),
        pytest.param(proxy(max_lifetime_seconds=0.3), lambda wire: None, "lifetime", id="lifetime"),
    ],
)
def test_a_session_is_cut_with_a_reset_when_its_time_is_over(
    limits: Proxy, act: Callable[[object], None], reason: str
) -> None:
    with Stubborn() as backend, Running(server_settings(AUTHORITY, backend.port, proxy=limits)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            act(wire)
            with pytest.raises(ConnectionResetError):
                wire.read_all()
        tunnel.wait_until_over(reason)


def test_bytes_in_either_direction_keep_a_session_alive() -> None:
    limits = proxy(idle_timeout_seconds=0.4)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, proxy=limits)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            began = time.monotonic()
            while time.monotonic() - began < 1.2:
                wire.send(b"x")
                assert wire.read(1) == b"x"
            wire.end()
            assert wire.read_all() == b""
        tunnel.wait_until_over("eof")


def test_the_open_direction_keeps_a_half_closed_session_alive() -> None:
    limits = proxy(half_close_timeout_seconds=0.4, idle_timeout_seconds=30)
    server = tls_context(AUTHORITY, AUTHORITY.server(), client=False)
    with TlsServer(server) as upstream, Running(client_settings(AUTHORITY, upstream.port, proxy=limits)) as tunnel:
        with plain_client(tunnel.port) as application:
            application.shutdown(socket.SHUT_WR)
            with upstream.accept() as wire:
                assert wire.read_all() == b""
                began = time.monotonic()
                while time.monotonic() - began < 1.2:
                    wire.send(b"x")
                    assert application.recv(1) == b"x"
                wire.end()
                assert application.recv(1) == b""
        tunnel.wait_until_over("eof")


def test_who_finds_no_slot_waits_in_the_backlog() -> None:
    limits = proxy(max_connections=2)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, proxy=limits)) as tunnel:
        first, second = (tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) for _ in range(2))
        with plain_client(tunnel.port) as third:  # its connection is in the kernel's backlog
            eventually(lambda: tunnel.meters.connections == 2, "two were accepted")
            assert len(tunnel.registry) == 2
            first.reset()
            eventually(lambda: tunnel.meters.connections == 3, "the third has the slot of the first")
            third.close()
        second.close()
        tunnel.wait_until_idle()


def test_a_raised_limit_lets_the_waiting_in() -> None:
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, proxy=proxy(max_connections=1))) as tunnel:
        first = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client())
        with plain_client(tunnel.port):
            eventually(lambda: tunnel.meters.connections == 1, "one was accepted")
            tunnel.settings.proxy = proxy(max_connections=2)
            eventually(lambda: tunnel.meters.connections == 2, "the other one too")
        first.close()


def test_a_target_that_nobody_listens_on_is_a_failed_dial_and_a_reset() -> None:
    with Running(server_settings(AUTHORITY, free_port())) as tunnel:
        wire = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client())
        with wire, pytest.raises(ConnectionResetError):
            wire.read_all()
        tunnel.wait_until_over("dial_failed")
        assert tunnel.meters.dial_errors == 1


def test_a_slow_reader_holds_one_buffer_and_stops_the_sender() -> None:
    with Stubborn() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            wire.sock.settimeout(0)
            sent, stuck = 0, 0
            chunk = bytes(65536)
            while stuck < 100:
                try:
                    sent += wire.connection.send(chunk)
                    stuck = 0
                except Exception:  # WantWrite: the tunnel does not read any more
                    stuck += 1
                    time.sleep(0.002)
            (session,) = tunnel.call(tunnel.registry.snapshot)
            assert session["bytes_in"] < 32 << 20
            assert sent < 64 << 20
        backend.released.set()
        tunnel.wait_until_idle()


def test_a_cut_ends_everything_at_once_and_says_how_many() -> None:
    with Silent() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        wires = [tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) for _ in range(3)]
        eventually(lambda: backend.open == 3, "all three are through")
        assert tunnel.call(tunnel.registry.cut) == 3
        for wire in wires:
            with wire, pytest.raises(ConnectionResetError):
                wire.read_all()
        tunnel.wait_until_over("drain", 3)
        tunnel.wait(tunnel.registry.drained())


def test_the_port_may_be_bound_twice_while_it_moves() -> None:
    """As a reload does it: the new socket accepts before the old one closes."""
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        old = tunnel.listener
        new = type(old)(Address("127.0.0.1", tunnel.port), old._route)
        new.bind(old.offers())
        tunnel.call(new.start)
        tunnel.call(old.stop)
        tunnel.listener = new
        with tls_client(new.address.port, AUTHORITY, AUTHORITY.client()) as wire:
            wire.send(b"hello")
            assert wire.read(5) == b"hello"


def test_a_listener_that_stops_serves_who_is_connected_already() -> None:
    """The second waits in the kernel's queue for a slot, which comes too late for the listener to see it by itself."""
    settings = server_settings(AUTHORITY, 1, proxy=proxy(max_connections=1))
    with Running(settings) as tunnel, plain_client(tunnel.port):
        eventually(lambda: tunnel.meters.connections == 1, "the first has the slot")
        with plain_client(tunnel.port) as second:
            eventually(lambda: not tunnel.listener._watching, "the second waits")
            settings.proxy = proxy(max_connections=2)
            tunnel.call(tunnel.listener.stop)
            assert tunnel.meters.connections == 2
            second.sendall(b"no TLS")
            assert second.recv(1) == b""  # the end of a session; a reset is that of a queue


def test_a_listener_that_stops_takes_no_more_than_it_may() -> None:
    settings = server_settings(AUTHORITY, 1, proxy=proxy(max_connections=1))
    with Running(settings) as tunnel, plain_client(tunnel.port):
        eventually(lambda: tunnel.meters.connections == 1, "the first has the slot")
        with plain_client(tunnel.port) as second:
            tunnel.call(tunnel.listener.stop)
            with pytest.raises(ConnectionResetError):
                second.recv(1)
            assert len(tunnel.registry) == 1


class Short(socket.socket):
    """A listening socket whose process has no descriptor left, every other time."""

    count = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.count += 1
        if self.count % 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_descriptors_that_come_and_go_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mtls_tunnel"), Running(server_settings(AUTHORITY, 1)) as tunnel:
        port = tunnel.port

        def run_short() -> None:
            (old,) = tunnel.listener._sockets
            tunnel.listener._unwatch()
            tunnel.listener._sockets = (Short(fileno=old.detach()),)
            tunnel.listener._watch()

        tunnel.call(run_short)
        for _ in range(10):
            before = tunnel.meters.connections
            with plain_client(port) as client:
                client.sendall(b"no TLS")
                assert client.recv(1) == b""
            assert tunnel.meters.connections == before + 1
        lines = [record.message for record in caplog.records if "accept" in record.message]
        assert lines == ["listener: cannot accept, backing off"]
