"""One case set up to be measured: its backend, its proxies, its placement on the cores.

Cases run in interleaved rounds, A B C D, A B C D, and so on, after warm-up rounds that do not count.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from bench.accounting import Tree
from bench.backend import Ports
from bench.cases import Case
from bench.generator import Order
from bench.launch import Place, Running, backend, generate, proxy
from bench.peers import Peer
from bench.summary import Rounds

_SETTLE_SECONDS = 1.0
_MB = 1024 * 1024

Say = Callable[[str], None]


class Stage:
    """Owns the proxies that it starts; `staged` ends them."""

    def __init__(self, case: Case, place: Place, ports: Ports, ends: Tree, proxies: ExitStack) -> None:
        self._case = case
        self._place = place
        self._ports = ports
        self._ends = ends
        self._proxies = proxies
        self._running: dict[str, Running] = {}

    def measure(self, peer: Peer) -> dict[str, float]:
        """Carry out the case once against *peer*; return its figures."""
        if self._case.fresh:
            with self._start(peer) as running:
                return self._figures(running)
        return self._figures(self.running(peer))

    def running(self, peer: Peer) -> Running:
        """Return the one instance of *peer* that serves all rounds."""
        if peer.name not in self._running:
            self._running[peer.name] = self._proxies.enter_context(self._start(peer))
        return self._running[peer.name]

    def _start(self, peer: Peer) -> AbstractContextManager[Running]:
        if self._case.mode == "server":
            target = self._ports.plain
        else:
            target = self._ports.tls if self._case.tickets else self._ports.tls_without_tickets
        return proxy(peer, self._case.mode, target, self._place)

    def _figures(self, running: Running) -> dict[str, float]:
        if self._case.workload == "start":
            time.sleep(_SETTLE_SECONDS)
            memory = running.tree.memory()
            return {"ready_s": running.ready_seconds, "rss_mb": memory.rss / _MB, "pss_mb": memory.pss / _MB}
        order = Order(
            workload=self._case.workload,
            port=running.port,
            direct=self._ports.plain,
            proxy_pid=running.tree.root,
            backend_pid=self._ends.root,
            certificates=str(self._place.certificates) if self._case.mode == "server" else "",
            options=self._case.options,
        )
        return generate(order, self._place)


@contextmanager
def staged(case: Case, place: Place) -> Iterator[Stage]:
    """Start the backend of *case*; end it and every proxy at the exit."""
    here = replace(place, end_cores=(place.proxy_core,)) if case.placement == "together" else place
    with backend(here) as (ports, ends), ExitStack() as proxies:
        yield Stage(case, here, ports, ends, proxies)


def run(case: Case, peers: Sequence[Peer], place: Place, *, rounds: int, warm_up: int, say: Say) -> dict[str, Rounds]:
    """Measure *case* with each of *peers* in turn, again and again.  A proxy that fails a round has None there."""
    found: dict[str, Rounds] = {peer.name: [] for peer in peers}
    counted = min(rounds, case.rounds)
    with staged(case, place) as stage:
        for number in range(-warm_up if case.warm_up else 0, counted):
            for peer in peers:
                label = "warm-up" if number < 0 else f"round {number + 1} of {counted}"
                say(f"{case.name}, {label}, {peer.title}")
                try:
                    figures = stage.measure(peer)
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    say(f"  failed: {error}")
                    figures = None
                if number >= 0:
                    found[peer.name].append(figures)
    return found
