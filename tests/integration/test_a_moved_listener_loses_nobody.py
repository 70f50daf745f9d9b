"""Ports change hands while clients wait to be accepted: between tunnels, between addresses, in one reload.

`max_connections: 1` keeps them waiting: the first client has the slot, the second is in the kernel's queue.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from support.clients import PING, Refused, ask, connect, context, plain, talk
from support.guarded import Guarded
from support.pki import Folder
from support.ports import free_port
from support.servers import Echo
from support.tunnels import Tunnel, write_settings

ONE = {"proxy": {"max_connections": 1}}
NEEDS_IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@contextmanager
def waiting(port: int, tls: ssl.SSLContext) -> Iterator[list[bytes]]:
    """A client in the queue of *port* when the block begins; what it has got when the block has ended."""
    got: list[bytes] = []

    def shake_hands() -> None:
        try:
            with tls.wrap_socket(raw, server_hostname="localhost") as connection:
                got.append(ask(connection))
        except (OSError, Refused) as error:
            got.append(repr(error).encode())

    with plain(port) as raw:
        thread = Thread(target=shake_hands)
        thread.start()
        yield got
        thread.join()


def one(name: str, port: int, target: str, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"name": name, "mode": "server", "listen": f"{host}:{port}", "target": target}


def take(tunnel: Tunnel, *tunnels: dict[str, Any]) -> None:
    tunnel.settings["tunnels"] = list(tunnels)
    write_settings(tunnel.file, tunnel.settings)
    tunnel.hang_up()


def test_a_renamed_tunnel_serves_who_waited_for_the_old_one(tmp_path: Path) -> None:
    files, port = Folder(tmp_path / "pki"), free_port()
    tls = context(files, files.client)
    shared = {"tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca}, **ONE}
    with Echo() as backend:
        settings = {**shared, "tunnels": [one("before", port, backend.address)]}
        with Tunnel(tmp_path, settings) as tunnel, connect(port, tls) as holder:
            assert ask(holder) == PING
            with waiting(port, tls) as got:
                take(tunnel, one("after", port, backend.address))
            assert got == [PING]
            assert ask(holder) == PING
            assert tunnel.value("mtlsd_connections_total", tunnel="after") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        pytest.param("127.0.0.1", "[::]", marks=NEEDS_IPV6),
        pytest.param("[::]", "", marks=NEEDS_IPV6),
        ("localhost", "127.0.0.1"),
    ],
)
def test_an_address_is_widened_or_narrowed_on_its_own_port(tmp_path: Path, before: str, after: str) -> None:
    """The slot that the waiting client needs comes with the same reload."""
    port = free_port()
    with Guarded(tmp_path, {**ONE, "listen": f"{before}:{port}"}) as guarded, connect(port, guarded.good) as holder:
        assert ask(holder) == PING
        with waiting(port, guarded.good) as got:
            guarded.tunnel.rewrite({"listen": f"{after}:{port}", "proxy": {"max_connections": 9}})
            guarded.tunnel.hang_up()
        assert got == [PING]
        assert ask(holder) == PING
        guarded.greet()


def test_two_tunnels_swap_their_ports(tmp_path: Path) -> None:
    files, left, right = Folder(tmp_path / "pki"), free_port(), free_port()
    tls = context(files, files.client)
    shared = {"tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca}}
    with Echo() as a, Echo() as b:
        settings = {**shared, "tunnels": [one("a", left, a.address), one("b", right, b.address)]}
        with Tunnel(tmp_path, settings) as tunnel:
            take(tunnel, one("a", right, a.address), one("b", left, b.address))
            assert talk(right, tls) == PING
            assert (a.accepted, b.accepted) == (1, 0)
            assert talk(left, tls) == PING
            assert (a.accepted, b.accepted) == (1, 1)


def test_a_port_is_not_given_away_when_the_reload_fails(tmp_path: Path) -> None:
    files, port = Folder(tmp_path / "pki"), free_port()
    tls = context(files, files.client)
    shared = {"tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca}}
    with Echo() as backend:
        settings = {**shared, "tunnels": [one("before", port, backend.address)]}
        with Tunnel(tmp_path, settings) as tunnel:
            tunnel.settings["tunnels"] = [
                one("after", port, backend.address),
                one("impossible", free_port(), backend.address, host="192.0.2.77"),
            ]
            write_settings(tunnel.file, tunnel.settings)
            tunnel.wait_for_line("reload failed.*192.0.2.77 is no address of this machine")
            assert talk(port, tls) == PING
            assert tunnel.value("mtlsd_connections_total", tunnel="before") == 1
            take(tunnel, one("after", port, backend.address))
            assert talk(port, tls) == PING
            assert tunnel.value("mtlsd_connections_total", tunnel="after") == 1
