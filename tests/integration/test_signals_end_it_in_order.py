"""SIGTERM drains, a second one ends at once; storms of signals do neither harm nor delay."""

import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import PING, Refused, ask, connect, plain
from support.guarded import Guarded
from support.ports import listening
from support.scrape import get
from support.servers import Silent
from support.waiting import eventually


@contextmanager
def draining(folder: Path) -> Iterator[tuple[Guarded, ssl.SSLSocket]]:
    """A server tunnel that has got SIGTERM while one connection is open."""
    with Guarded(folder) as guarded, connect(guarded.port, guarded.good) as connection:
        assert ask(connection) == PING
        guarded.tunnel.signal(signal.SIGTERM)
        eventually(lambda: not listening(guarded.port), "accepting has stopped")
        yield guarded, connection
        assert "Traceback" not in guarded.tunnel.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_tunnel_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.tunnel.signal(number)
        assert guarded.tunnel.wait() == 0
        assert guarded.tunnel.errors == []


def test_it_waits_for_the_last_connection(tmp_path: Path) -> None:
    with draining(tmp_path) as (guarded, connection):
        assert get(guarded.tunnel.admin, "/readyz").status == 503
        assert get(guarded.tunnel.admin, "/healthz").status == 200
        assert get(guarded.tunnel.admin, "/metrics").status == 200
        assert ask(connection) == PING
        connection.close()
        assert guarded.tunnel.wait() == 0


def test_a_second_sigterm_ends_it_at_once_with_1(tmp_path: Path) -> None:
    with draining(tmp_path) as (guarded, _):
        guarded.tunnel.signal(signal.SIGTERM)
        assert guarded.tunnel.wait() == 1


def test_hangups_while_draining_change_nothing(tmp_path: Path) -> None:
    with draining(tmp_path) as (guarded, connection):
        for _ in range(50):
            guarded.tunnel.signal(signal.SIGHUP)
        assert ask(connection) == PING
        assert not listening(guarded.port)
        connection.close()
        assert guarded.tunnel.wait() == 0


def test_a_storm_of_hangups_loses_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.greet()
        with connect(guarded.port, guarded.good) as connection:
            for _ in range(200):
                guarded.tunnel.signal(signal.SIGHUP)
            assert ask(connection) == PING
            guarded.greet()
            guarded.tunnel.wait_for_line("certificates reloaded successfully")
        guarded.tunnel.hang_up()
        assert guarded.tunnel.finish() == 0


def test_a_signal_while_starting_ends_it_cleanly(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.tunnel.signal(signal.SIGHUP)
        guarded.tunnel.signal(signal.SIGTERM)
        assert guarded.tunnel.wait() == 0


def test_a_backend_that_hangs_is_cut_at_the_shutdown_timeout(tmp_path: Path) -> None:
    """What is cut is said, with its number; the exit code is that of a shutdown that went as configured."""
    with Silent() as backend, Guarded(tmp_path, {"proxy": {"shutdown_timeout": "1s"}}, backend=backend) as guarded:
        with connect(guarded.port, guarded.good) as one, connect(guarded.port, guarded.good):
            one.sendall(PING)
            guarded.tunnel.wait_for_value(2, "mtlsd_active_connections")
            eventually(lambda: backend.accepted == 2, "both reached the backend")
            guarded.tunnel.signal(signal.SIGTERM)
            assert guarded.tunnel.wait() == 0
            with pytest.raises(Refused):
                ask(one)
        guarded.tunnel.wait_for_line(r"level=WARN .*\b2\b")


def test_a_handshake_that_hangs_does_not_hold_the_end(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"proxy": {"handshake_timeout": "2s"}}) as guarded, plain(guarded.port):
        guarded.tunnel.wait_for_value(1, "mtlsd_connections_total")
        assert guarded.tunnel.finish() == 0
