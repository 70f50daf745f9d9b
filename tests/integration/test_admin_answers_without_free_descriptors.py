"""A process that has used up its descriptors still answers its probes, one at a time, without spinning."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.admin import HEALTHZ, read_all
from support.processes import REPOSITORY
from support.procfs import cpu_seconds
from support.waiting import eventually

# A process of its own, because the limit and what has been used up are a whole process's.
PROGRAM = """
import asyncio, os, resource, sys
from mtls_tunnel.config.schema import Address
from mtls_tunnel.observe.admin import Admin
from mtls_tunnel.observe.exchange import Response

async def main():
    admin = Admin(Address("127.0.0.1", 0), {"/healthz": lambda request: Response(200, b"alive")})
    await admin.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        print(admin.listen.port, flush=True)
    await ended.wait()

asyncio.run(main())
"""


@contextmanager
def exhausted() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process without a free descriptor, and the port of its probes."""
    environment = {"PYTHONPATH": str(REPOSITORY / "tunnel")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield child, int(child.stdout.readline())
        finally:
            child.stdin.close()
            child.wait(30)
    assert child.returncode == 0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def probe(port: int) -> bool:
    with connect(port) as connection:
        connection.sendall(HEALTHZ)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection).endswith(b"alive")


def test_probes_are_answered_one_after_the_other() -> None:
    with exhausted() as (_, port):
        assert [probe(port) for _ in range(5)] == [True] * 5


def test_a_client_that_has_to_wait_is_served_when_the_one_before_it_ends_and_costs_no_cpu() -> None:
    with exhausted() as (child, port), connect(port) as first, connect(port) as second:
        first.sendall(HEALTHZ)
        assert first.recv(65536).endswith(b"alive")
        second.sendall(HEALTHZ)
        before = cpu_seconds(child.pid)
        # The first is closed for its silence after five seconds; until then the second cannot be accepted.
        assert second.recv(65536).endswith(b"alive")
        assert cpu_seconds(child.pid) - before < 1.0
        assert first.recv(1) == b""


def test_a_probe_is_answered_right_after_a_silent_client_was_closed() -> None:
    with exhausted() as (_, port), connect(port) as silent:
        assert silent.recv(1) == b""
        eventually(lambda: probe(port), "the probe is answered")
