"""Starting and ending what is measured: each process on its core, in a session of its own, and gone at the end.

Only sessions started here are ever signalled, by their number.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import Tree
from bench.backend import Ports
from bench.certificates import settings_file
from bench.generator import Order
from bench.peers import Mode, Peer, Setup, find
from bench.streams import HOST
from support.ports import free_port

_READY_SECONDS = 20
_END_SECONDS = 5
_ORDER_SECONDS = 900
_TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: its scratch folder, its certificates, and the cores of the proxy and of both ends."""

    folder: Path
    certificates: Path
    proxy_core: int
    end_cores: tuple[int, ...]
    connections: int


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that accepts connections."""

    peer: Peer
    mode: Mode
    tree: Tree
    port: int
    ready_seconds: float


def _pinned(cores: Sequence[int], argv: Sequence[str]) -> list[str]:
    return [find("taskset"), "-c", ",".join(map(str, cores)), *argv]


def _end(process: subprocess.Popen[str]) -> None:
    """End the session that *process* leads: politely, then for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_END_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait(_END_SECONDS)


@contextmanager
def backend(place: Place) -> Iterator[tuple[Ports, Tree]]:
    """Run the backend; yield its ports and its process tree."""
    argv = [sys.executable, "-m", "bench.backend", str(place.certificates), str(max(2, len(place.end_cores)))]
    with subprocess.Popen(
        _pinned(place.end_cores, argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_ends_environment(place),
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            yield Ports(**json.loads(process.stdout.readline())), Tree(process.pid)
        finally:
            _end(process)


@contextmanager
def proxy(peer: Peer, mode: Mode, target: int, place: Place) -> Iterator[Running]:
    """Run *peer* before the port *target* until the block ends; its output is kept beside its configuration."""
    folder = place.folder / f"{peer.name}-{mode}-{time.monotonic_ns()}"
    folder.mkdir()
    setup = Setup(mode, free_port(), target, place.certificates, folder, place.connections, free_port())
    argv = _pinned([place.proxy_core], peer.command(setup))
    with (folder / "output").open("w") as output:
        started = time.perf_counter()
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **peer.environment},
            cwd=folder,
            start_new_session=True,
        ) as process:
            try:
                _wait_until_it_accepts(process, setup.listen, folder / "output")
                yield Running(peer, mode, Tree(process.pid), setup.listen, time.perf_counter() - started)
            finally:
                _end(process)


def _wait_until_it_accepts(process: subprocess.Popen[str], port: int, output: Path) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            ended = process.poll() is not None
            if ended or time.monotonic() > give_up:
                state = f"ended with {process.returncode}" if ended else f"not ready after {_READY_SECONDS} s"
                raise RuntimeError(f"{output.parent.name}: {state}\n{output.read_text()}") from None
            time.sleep(0.001)
        else:
            return


def generate(order: Order, place: Place) -> dict[str, float]:
    """Let a fresh generator carry out *order*; return its figures.

    Raises:
        RuntimeError: with the last words of a generator that failed.
    """
    done = subprocess.run(
        _pinned(place.end_cores, [sys.executable, "-m", "bench.generator"]),
        input=order.to_json(),
        capture_output=True,
        text=True,
        env=_ends_environment(place),
        timeout=_ORDER_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{order.workload}: {(done.stderr.splitlines() or ['ended without a word'])[-1]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _ends_environment(place: Place) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_TESTS), "OPENSSL_CONF": str(settings_file(place.certificates))}
