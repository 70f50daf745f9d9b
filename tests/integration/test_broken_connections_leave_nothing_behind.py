"""Resets, kills and half-closes on either side, over and over: no truncation passes as success, nothing leaks.

The plain sides are the ends of two tunnels in a row, as applications see them.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from support.clients import PING, ask, plain, read_all, read_exactly
from support.guarded import Guarded, client_settings
from support.ports import free_port, listening
from support.processes import Child
from support.servers import Backend, Echo, Resetter, Silent, Sink, Source, digest_of, payload, reset
from support.tunnels import Tunnel
from support.waiting import eventually

TURNS = int(os.environ.get("TURNS", "300"))
SOME = 3 * 1024 * 1024


@contextmanager
def two_tunnels(folder: Path, backend: Backend) -> Iterator[tuple[Tunnel, Tunnel]]:
    """(client tunnel, server tunnel) before *backend*, seen to be as they were when the block ends."""
    with Guarded(folder, backend=backend) as guarded:
        address = f"127.0.0.1:{guarded.port}"
        with Tunnel(folder, client_settings(guarded.files, free_port(), address), name="client") as client:
            yield client, guarded.tunnel
            for tunnel in (client, guarded.tunnel):
                assert tunnel.alive
                tunnel.wait_until_idle()


def test_a_reset_of_the_caller_reaches_the_backend_as_a_reset(tmp_path: Path) -> None:
    with Echo() as backend, two_tunnels(tmp_path, backend) as (client, _):
        caller = plain(client.port)
        assert ask(caller) == PING
        reset(caller)
        eventually(lambda: backend.endings == ["ConnectionResetError"], f"a reset at the backend: {backend.endings}")


def test_a_reset_of_the_backend_reaches_the_caller_as_a_reset(tmp_path: Path) -> None:
    with (
        Resetter(after=len(PING)) as backend,
        two_tunnels(tmp_path, backend) as (client, _),
        plain(client.port) as caller,
    ):
        caller.sendall(PING)
        with pytest.raises(ConnectionResetError):
            read_all(caller)


def test_the_callers_end_of_input_leaves_the_answer_open(tmp_path: Path) -> None:
    with Sink() as backend, two_tunnels(tmp_path, backend) as (client, _), plain(client.port) as caller:
        for chunk in payload(SOME):
            caller.sendall(chunk)
        caller.shutdown(socket.SHUT_WR)
        assert read_all(caller).decode() == digest_of(SOME)


def test_the_backends_end_of_output_leaves_the_question_open(tmp_path: Path) -> None:
    with Source(len(PING)) as backend, two_tunnels(tmp_path, backend) as (client, _), plain(client.port) as caller:
        assert len(read_all(caller)) == len(PING)
        for chunk in payload(SOME):
            caller.sendall(chunk)
        caller.shutdown(socket.SHUT_WR)
        eventually(lambda: backend.received == SOME, "everything arrived after the answer had ended")


KILLED = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    connection, _ = listener.accept()
    connection.recv(1)
    print("half", flush=True)
    while True:
        connection.sendall(bytes(65536))
"""


def test_a_killed_backend_ends_the_connection(tmp_path: Path) -> None:
    """Half-way through its answer; the caller sees an end, and keeps what had come."""
    port = free_port()
    with Child([sys.executable, "-c", KILLED, str(port)]) as backend, Silent() as unused:
        eventually(lambda: listening(port), "the backend listens")
        with Guarded(tmp_path, {"target": f"127.0.0.1:{port}"}, backend=unused) as guarded:
            address = f"127.0.0.1:{guarded.port}"
            with Tunnel(tmp_path, client_settings(guarded.files, free_port(), address), name="client") as client:
                with plain(client.port) as caller:
                    caller.sendall(b"?")
                    backend.wait_for_line("half")
                    assert read_exactly(caller, SOME) == bytes(SOME)
                    backend.signal(signal.SIGKILL)
                    with suppress(ConnectionResetError):
                        read_all(caller)
                client.wait_until_idle()
                guarded.tunnel.wait_until_idle()


def test_hundreds_of_broken_connections_leave_nothing_behind(tmp_path: Path) -> None:
    with Echo() as backend, two_tunnels(tmp_path, backend) as (client, server):
        break_connections(client.port, 20)
        for tunnel in (client, server):
            tunnel.wait_until_idle()
        before = client.descriptors, server.descriptors
        break_connections(client.port, TURNS)
        for tunnel, descriptors in zip((client, server), before, strict=True):
            tunnel.wait_until_idle()
            tunnel.wait_for_descriptors(descriptors)
        eventually(lambda: backend.open == 0, "the backend has no connection left")


def break_connections(port: int, turns: int) -> None:
    """Every way of leaving, in turn."""
    for turn in range(turns):
        with ExitStack() as stack:
            caller = stack.enter_context(plain(port))
            match turn % 6:
                case 0:
                    reset(caller)
                case 1:
                    caller.shutdown(socket.SHUT_RDWR)
                case 2:
                    ask(caller)
                    reset(caller)
                case 3:
                    caller.sendall(bytes(200_000))
                    reset(caller)
                case 4:
                    caller.sendall(PING)
                    caller.shutdown(socket.SHUT_WR)
                    assert read_all(caller) == PING
                case _:
                    ask(caller)
