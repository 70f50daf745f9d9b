"""A target that refuses, or whose name does not resolve: the peer's connection ends, it is counted, and it heals."""

import socket
from pathlib import Path

import pytest

from support.clients import PING, Refused, ask, connect, talk
from support.guarded import Guarded
from support.ports import free_port
from support.servers import Echo
from support.waiting import eventually


def failed(guarded: Guarded) -> bool:
    with pytest.raises(Refused):
        talk(guarded.port, guarded.good)
    return True


def test_a_target_that_refuses_is_dialled_again_for_the_next(tmp_path: Path) -> None:
    port = free_port()
    with Guarded(tmp_path, {"target": f"127.0.0.1:{port}"}) as guarded:
        descriptors = guarded.tunnel.descriptors
        assert failed(guarded)
        guarded.tunnel.wait_for_value(1, "mtlsd_dial_errors_total")
        guarded.tunnel.wait_for_value(1, "mtlsd_sessions_closed_total", reason="dial_failed")
        guarded.tunnel.wait_until_idle()
        guarded.tunnel.wait_for_descriptors(descriptors + 1)
        with Echo(port):
            guarded.greet()


def test_a_name_that_does_not_resolve_is_no_error_at_start(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"target": "no-such-host.invalid:80"}) as guarded:
        assert failed(guarded)
        guarded.tunnel.wait_for_value(1, "mtlsd_dial_errors_total")
        guarded.tunnel.rewrite({"target": f"localhost:{guarded.backend.port}"})
        guarded.tunnel.hang_up()
        guarded.greet()


def test_a_target_that_does_not_answer_is_given_up_at_the_dial_timeout(tmp_path: Path) -> None:
    """A listener whose backlog is full swallows the SYN."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        over = {"target": f"127.0.0.1:{full.getsockname()[1]}", "proxy": {"dial_timeout": "1s"}}
        with Guarded(tmp_path, over) as guarded:
            assert failed(guarded)
            guarded.tunnel.wait_for_value(1, "mtlsd_dial_errors_total")


def test_addresses_of_version_6_and_names_serve_as_well(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("IPv6 on the loopback is missing - enable net.ipv6 on this machine")
    with Guarded(tmp_path) as guarded:
        port = free_port("::1")
        guarded.tunnel.rewrite({"listen": f"[::1]:{port}", "target": f"localhost:{guarded.backend.port}"})
        guarded.tunnel.hang_up()
        with connect(port, guarded.good, host="::1") as connection:
            assert ask(connection) == PING
        eventually(lambda: guarded.tunnel.count(r"remote=\[::1\]:") == 1, "the log has the peer's address")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
