"""Idle, half-closed, too old, too many: each limit of `proxy` does what it says and names itself."""

import socket
from pathlib import Path

import pytest

from support.clients import PING, ask, connect, plain, rest
from support.guarded import Guarded, client_settings
from support.ports import free_port
from support.tunnels import Tunnel
from support.waiting import eventually


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        pytest.param({"idle_timeout": "1s"}, "idle", id="idle"),
        pytest.param({"max_lifetime": "1s"}, "lifetime", id="lifetime"),
    ],
)
def test_a_connection_ends_at_its_limit(tmp_path: Path, limit: dict[str, str], reason: str) -> None:
    with Guarded(tmp_path, {"proxy": limit}) as guarded, connect(guarded.port, guarded.good) as connection:
        assert ask(connection) == PING
        assert rest(connection) in ("closed", "reset")
        guarded.tunnel.wait_for_value(1, "mtlsd_sessions_closed_total", reason=reason)
        eventually(lambda: guarded.backend.open == 0, "the backend's side has ended too")


def test_traffic_keeps_an_idle_timer_from_firing(tmp_path: Path) -> None:
    with (
        Guarded(tmp_path, {"proxy": {"idle_timeout": "2s"}}) as guarded,
        connect(guarded.port, guarded.good) as busy,
        connect(guarded.port, guarded.good) as quiet,
    ):
        assert ask(busy) == ask(quiet) == PING

        def quiet_one_has_ended() -> bool:
            assert ask(busy) == PING
            return guarded.tunnel.value("mtlsd_sessions_closed_total", reason="idle") == 1

        eventually(quiet_one_has_ended, "the quiet connection has ended")
        assert ask(busy) == PING


@pytest.mark.parametrize("idle", [pytest.param("90s", id="idle 90s"), pytest.param("0", id="no idle timeout")])
def test_a_half_closed_connection_ends_when_nothing_comes_any_more(tmp_path: Path, idle: str) -> None:
    """The caller has ended; the backend neither answers nor ends."""
    with socket.create_server(("127.0.0.1", 0)) as never_ends:
        over = {"target": f"127.0.0.1:{never_ends.getsockname()[1]}"}
        half = {"proxy": {"half_close_timeout": "1s", "idle_timeout": idle}}
        with Guarded(tmp_path, over) as guarded:
            settings = client_settings(guarded.files, free_port(), f"127.0.0.1:{guarded.port}", half)
            with Tunnel(tmp_path, settings, name="client") as client, plain(client.port) as caller:
                caller.sendall(PING)
                caller.shutdown(socket.SHUT_WR)
                held, _ = never_ends.accept()
                with held:
                    assert rest(caller) in ("closed", "reset")
                    client.wait_for_value(1, "mtlsd_sessions_closed_total", reason="half_close")


def test_beyond_max_connections_the_next_waits_for_a_slot(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"proxy": {"max_connections": 2}}) as guarded:
        with connect(guarded.port, guarded.good) as one, connect(guarded.port, guarded.good) as two:
            assert ask(one) == ask(two) == PING
            with plain(guarded.port) as waiting:
                waiting.settimeout(1)
                with pytest.raises(TimeoutError):
                    guarded.good.wrap_socket(waiting, server_hostname="localhost", do_handshake_on_connect=True)
            assert guarded.tunnel.value("mtlsd_active_connections") == 2
            assert ask(one) == ask(two) == PING
        guarded.greet()


def test_a_handshake_takes_a_slot_no_longer_than_its_timeout(tmp_path: Path) -> None:
    limits = {"proxy": {"max_connections": 1, "handshake_timeout": "1s"}}
    with Guarded(tmp_path, limits) as guarded, plain(guarded.port):
        guarded.tunnel.wait_for_value(1, "mtlsd_connections_total")
        guarded.greet()
