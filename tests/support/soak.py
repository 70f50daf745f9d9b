"""Connections of all kinds at once through two tunnels, for as long as asked: nothing leaks, nothing gets stuck.

    short       one question, one answer
    long        a connection that talks now and then, and must never be lost
    aborted     reset in the middle of something
    slow        a megabyte that is read in small bites
    half-closed the question ends before the answer begins
    refused     strangers at the server tunnel's door

and both tunnels are told to reload again and again.
"""

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.clients import PING, ask, context, plain, read_all, refusal
from support.guarded import Guarded, client_settings
from support.pki import Authority
from support.ports import free_port
from support.servers import Echo, payload, reset
from support.tunnels import Tunnel
from support.waiting import eventually

MEGABYTE = 1 << 20
WARM_UP_SECONDS = 5.0
GROWTH_BYTES = 12 * MEGABYTE
WORKERS_EACH = 2


class Load:
    """Workers of every kind, each in a loop of its own until `stop`; what went wrong is in `failures`."""

    def __init__(self, guarded: Guarded, entry: int) -> None:
        self.rounds = dict.fromkeys(("short", "long", "aborted", "slow", "half_closed", "refused"), 0)
        self.failures: list[str] = []
        self._guarded, self._entry = guarded, entry
        self._stop = threading.Event()
        self._stranger = context(guarded.files, guarded.files.write("stranger", Authority("Stranger").client()))
        kinds: list[Callable[[], None]] = [getattr(self, f"_{kind}") for kind in self.rounds]
        self._threads = [threading.Thread(target=self._again_and_again, args=(kind,)) for kind in kinds * WORKERS_EACH]
        for thread in self._threads:
            thread.start()

    def _again_and_again(self, kind: Callable[[], None]) -> None:
        name = kind.__name__.removeprefix("_")
        while not self._stop.is_set():
            try:
                kind()
            except Exception as error:  # whatever it is, it belongs into the report
                self.failures.append(f"{name}: {error!r}")
                return
            self.rounds[name] += 1
            self._stop.wait(random.uniform(0, 0.05))

    def _short(self) -> None:
        with plain(self._entry) as caller:
            assert ask(caller) == PING

    def _long(self) -> None:
        with plain(self._entry) as caller:
            for _ in range(100):
                assert ask(caller, PING * random.randint(1, 2000)).startswith(PING)
                if self._stop.wait(random.uniform(0, 0.2)):
                    return

    def _aborted(self) -> None:
        caller = plain(self._entry)
        caller.sendall(bytes(random.randint(1, 300_000)))
        reset(caller)

    def _slow(self) -> None:
        with plain(self._entry) as caller:
            sender = threading.Thread(target=self._send, args=(caller,))
            sender.start()
            got = 0
            while got < MEGABYTE and (chunk := caller.recv(32 * 1024)):
                got += len(chunk)
                time.sleep(0.01)  # this is what makes it slow
            sender.join()
            assert got == MEGABYTE

    @staticmethod
    def _send(caller: socket.socket) -> None:
        for chunk in payload(MEGABYTE):
            caller.sendall(chunk)

    def _half_closed(self) -> None:
        with plain(self._entry) as caller:
            caller.sendall(PING * 500)
            caller.shutdown(socket.SHUT_WR)
            assert read_all(caller) == PING * 500

    def _refused(self) -> None:
        refusal(self._guarded.port, self._stranger)
        self._stop.wait(0.2)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def two_tunnels(folder: Path) -> Iterator[tuple[Guarded, Tunnel]]:
    with ExitStack() as stack:
        guarded = stack.enter_context(
            Guarded(folder, {"metrics": {"enabled": True}}, backend=stack.enter_context(Echo()))
        )
        settings = client_settings(guarded.files, free_port(), f"127.0.0.1:{guarded.port}")
        yield guarded, stack.enter_context(Tunnel(folder, settings, name="client"))


def soak(folder: Path, seconds: float) -> dict[str, object]:
    """Run it; return what was done, for the record."""
    with two_tunnels(folder) as (guarded, client):
        tunnels = (client, guarded.tunnel)
        burst(guarded, client.port, WARM_UP_SECONDS, tunnels)
        before = [(tunnel.descriptors, tunnel.rss_bytes) for tunnel in tunnels]
        rounds = burst(guarded, client.port, seconds, tunnels)
        after = [(tunnel.descriptors, tunnel.rss_bytes) for tunnel in tunnels]
        for tunnel, (descriptors, rss), (_, rss_after) in zip(tunnels, before, after, strict=True):
            tunnel.wait_for_descriptors(descriptors)
            assert rss_after - rss < GROWTH_BYTES, (before, after)
        for tunnel in tunnels:
            assert tunnel.finish() == 0
            assert tunnel.errors == []
            assert tunnel.count("level=ERROR") == 0
        return {**rounds, "rss_before": [rss for _, rss in before], "rss_after": [rss for _, rss in after]}


def burst(guarded: Guarded, entry: int, seconds: float, tunnels: tuple[Tunnel, Tunnel]) -> dict[str, int]:
    """Load for *seconds*, with a reload every second or so; then wait until all is quiet."""
    load = Load(guarded, entry)
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends and not load.failures:
            time.sleep(1)
            for tunnel in tunnels:
                tunnel.signal(signal.SIGHUP)
    finally:
        load.stop()
    assert load.failures == []
    assert all(load.rounds.values()), load.rounds
    for tunnel in tunnels:
        tunnel.wait_until_idle()
    backend = guarded.backend
    eventually(lambda: backend.open == 0, "no connection is stuck at the backend")
    return load.rounds
