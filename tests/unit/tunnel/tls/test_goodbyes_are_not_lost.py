"""A close_notify that finds no room goes out when there is room, and is told of as sent only then."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from OpenSSL import SSL

from mtls_tunnel.flow.progress import unsent
from mtls_tunnel.tls.context import ServerContext
from mtls_tunnel.tls.engine import Engine
from support.pki import Authority
from support.wire import TLS, material, tls_context

AUTHORITY = Authority()


@contextmanager
def connected(version: str) -> Iterator[tuple[Engine, SSL.Connection, socket.socket]]:
    """(an engine after its handshake, its client, the engine's socket with little room)."""
    near, far = socket.socketpair()
    with near, far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        for sock in (near, far):
            sock.setblocking(False)
        engine = ServerContext(material(AUTHORITY.server(), AUTHORITY), TLS, now=time.time).engine(near)
        client = SSL.Connection(tls_context(AUTHORITY, AUTHORITY.client(), client=True, version=version), far)
        client.set_connect_state()
        finished = [False, False]
        while not all(finished):
            finished = [_shaken(client), engine.handshake()]
        yield engine, client, near


def _shaken(client: SSL.Connection) -> bool:
    try:
        client.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _fill(engine: Engine, sock: socket.socket) -> int:
    """Write records until the kernel takes no further byte; the last one has gone out as a whole."""
    records, room = 0, sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    while unsent(sock.fileno()) < room:
        assert engine.write((b"x",)) == 1
        records += 1
    return records


def _heard(client: SSL.Connection) -> tuple[int, bool]:
    """(bytes that have come, whether a close_notify has)."""
    count = 0
    try:
        while True:
            count += len(client.recv(16384))
    except SSL.WantReadError:
        return count, False
    except SSL.ZeroReturnError:
        return count, True


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_goodbye_that_meets_a_full_socket_is_gone_on_with(version: str) -> None:
    with connected(version) as (engine, client, sock):
        sent = _fill(engine, sock)
        assert (engine.end(), engine.end()) == (False, False)
        assert _heard(client) == (sent, False)
        assert engine.end()
        assert _heard(client) == (0, True)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_goodbye_is_said_once_and_leaves_the_peers_bytes_alone(version: str) -> None:
    with connected(version) as (engine, client, _):
        client.send(b"late")
        assert (engine.end(), engine.end()) == (True, True)
        assert _heard(client) == (0, True)
        assert engine.read() == (b"late",)
