"""Reconciling: how soon a new tunnel has its Secrets, how soon a restarted operator has seen everything, at what cost.

A real operator process beside a fake API server (HTTP on the loopback, in this process).  Four figures:

    cold        all tunnels at once, from nothing to the last Secret
    created     one tunnel after the other into the full cluster: from its creation to its last Secret
    restart     a new process with all tunnels and pods there already: until each tunnel was looked at and counted
    steady      after that: writes (there should be none), requests and CPU time while nothing happens

Run it alone: `python tests/bench/reconciling.py [--tunnels 1000] [--pods 5000]`.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests", "tunnel", "operator")]

from mtls_tunnel_operator import names  # noqa: E402
from mtls_tunnel_operator.model.kinds import Ref  # noqa: E402
from mtls_tunnel_operator.model.parts import parts_of  # noqa: E402
from mtls_tunnel_operator.model.reading import space_of, tunnel_of  # noqa: E402
from mtls_tunnel_operator.model.revision import revision  # noqa: E402
from mtls_tunnel_operator.settings import defaults_of  # noqa: E402
from support.kube_api import ServerThread  # noqa: E402
from support.operator_process import DEFAULTS, RELEASE, command, environment, release  # noqa: E402
from support.ports import free_port  # noqa: E402
from support.processes import Child  # noqa: E402
from support.procfs import cpu_seconds, rss_bytes  # noqa: E402
from support.scrape import samples  # noqa: E402
from support.tunnel_resources import pod_raw, tunnel_raw  # noqa: E402

NAMESPACES = 50
LIMIT_SECONDS = 900.0
GOAL_CREATED_P99_MS, GOAL_RESTART_SECONDS, GOAL_RSS_MB = 1000.0, 30.0, 150.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One run."""

    tunnels: int
    pods: int
    cold_seconds: float
    created_p50_ms: float
    created_p99_ms: float
    restart_seconds: float
    restart_cpu_seconds: float
    restart_rss_mb: float
    requests_per_look: float
    steady_seconds: float
    steady_writes: int
    steady_requests: int
    steady_cpu_ms_per_second: float


class Cluster:
    """The fake API server and what is in it."""

    def __init__(self, server: ServerThread, tunnels: int, pods: int, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.spaces = [f"team-{number}" for number in range(NAMESPACES)]
        self.tunnels = [_tunnel(number, self.spaces) for number in range(tunnels)]
        self.pods = pods
        self._port = 0

    def put(self, *raws: dict[str, Any]) -> None:
        """Create or replace objects."""
        self.server.call(lambda: [self.server.store.put(raw) for raw in raws])

    @contextmanager
    def operator(self) -> Iterator[Child]:
        """A process that has begun."""
        self._port = free_port()
        listens = (f"--health-listen=127.0.0.1:{free_port()}", f"--metrics-listen=127.0.0.1:{self._port}")
        words = command("run", "--name=mtls-tunnel", "--log-level=warning", *listens)
        with Child(words, env=environment(self.server.kubeconfig(self.folder))) as child:
            yield child
            child.signal(signal.SIGTERM)  # it gives its Lease back
            child.wait(60)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the operator's samples of that name."""
        try:
            return samples(self._port).value(name, **labels)
        except OSError:
            return 0.0

    def secrets(self) -> int:
        """How many Secrets of tunnels there are."""
        return self.server.call(
            lambda: sum(ref.plural == "secrets" and ref.namespace != RELEASE for ref in self.server.store.objects)
        )

    def counted(self) -> int:
        """Pods that the statuses of all tunnels speak of."""

        def count() -> int:
            store = self.server.store
            found = 0
            for ref, raw in store.objects.items():
                if ref.plural == names.TUNNELS:
                    status = raw.get("status") or {}
                    sides = [status.get("server") or {}, *(status.get("clients") or ())]
                    found += sum(side.get("updatedPods", 0) for side in sides)
            return found

        return self.server.call(count)


def measure(*, tunnels: int, pods: int, created: int, steady: float) -> Figures:
    """The whole story, one operator at a time."""
    store = release(*(f"team-{number}" for number in range(NAMESPACES)))
    with tempfile.TemporaryDirectory() as folder, ServerThread(store) as server:
        cluster = Cluster(server, tunnels, pods, Path(folder))
        cluster.put(*cluster.tunnels)
        with cluster.operator() as process:
            cold = _timed(lambda: cluster.secrets() >= 2 * tunnels, process)
            waits = sorted(_created(cluster, number, process) for number in range(created))
        cluster.put(*_pods(cluster))
        time.sleep(1.0)
        with cluster.operator() as process:
            restart = _timed(
                lambda: cluster.counted() >= pods and cluster.metric("mtls_tunnel_operator_workqueue_depth") == 0,
                process,
            )
            cpu, memory = cpu_seconds(process.pid), rss_bytes(process.pid) / 2**20
            looks = cluster.metric("mtls_tunnel_operator_reconcile_total", kind="tunnel")
            requests = cluster.metric("mtls_tunnel_operator_api_requests_total")
            quiet = _steady(cluster, process, steady)
    return Figures(
        tunnels=tunnels,
        pods=pods,
        cold_seconds=round(cold, 1),
        created_p50_ms=round(waits[len(waits) // 2] * 1000, 1),
        created_p99_ms=round(waits[int(len(waits) * 0.99) - 1] * 1000, 1),
        restart_seconds=round(restart, 1),
        restart_cpu_seconds=round(cpu, 1),
        restart_rss_mb=round(memory, 1),
        requests_per_look=round(requests / max(looks, 1), 2),
        **quiet,
    )


def _timed(done: Callable[[], bool], process: Child, pause: float = 0.5) -> float:
    """Seconds until *done*, looked at seldom: looking costs the API server's time."""
    began = time.perf_counter()
    while not done():
        if not process.alive or time.perf_counter() - began > LIMIT_SECONDS:
            raise SystemExit(f"the operator did not get there\n{process.output}")
        time.sleep(pause)
    return time.perf_counter() - began


def _created(cluster: Cluster, number: int, process: Child) -> float:
    """Seconds from the creation of a tunnel to its last Secret, by the server's own clock."""
    space = cluster.spaces[number % NAMESPACES]
    name = f"late-{number}"
    wanted = {Ref("secrets", space, f"{name}-mtls-server"), Ref("secrets", space, f"{name}-mtls-client-api")}
    store = cluster.server.store
    seen: list[float] = []
    before = store.changed

    def changed() -> None:
        before()
        if not seen and wanted <= store.objects.keys():
            seen.append(time.perf_counter())

    def create() -> float:
        store.changed = changed
        store.put(_named(name, space, f"late-{number}"))
        return time.perf_counter()

    began = cluster.server.call(create)
    _timed(lambda: bool(seen), process, pause=0.01)
    cluster.server.call(lambda: setattr(store, "changed", before))
    return seen[0] - began


def _steady(cluster: Cluster, process: Child, seconds: float) -> dict[str, Any]:
    """What happens while nothing happens, the Lease left out."""
    _timed(lambda: _rests(cluster), process)
    writes, requests, cpu = _writes(cluster), _requests(cluster), cpu_seconds(process.pid)
    time.sleep(seconds)
    spent = cpu_seconds(process.pid) - cpu
    return {
        "steady_seconds": seconds,
        "steady_writes": _writes(cluster) - writes,
        "steady_requests": _requests(cluster) - requests,
        "steady_cpu_ms_per_second": round(1000 * spent / seconds, 1),
    }


def _rests(cluster: Cluster) -> bool:
    """Whether all is said and done, events included."""
    before = _requests(cluster)
    time.sleep(2.0)
    return _requests(cluster) == before


def _requests(cluster: Cluster) -> int:
    return cluster.server.call(lambda: sum(one.ref.plural != "leases" for one in cluster.server.store.asked))


def _writes(cluster: Cluster) -> int:
    """Everything but Leases and events."""
    return cluster.server.call(lambda: len(cluster.server.store.writes()))


def _tunnel(number: int, spaces: list[str]) -> dict[str, Any]:
    return _named(f"tunnel-{number}", spaces[number % len(spaces)], f"app-{number}")


def _named(name: str, space: str, app: str) -> dict[str, Any]:
    """A tunnel with a server and a client of its own."""
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}]
    return tunnel_raw(
        name,
        space,
        server={"workload": {"selector": {"matchLabels": {"app": f"{app}-server"}}}, "ports": ports},
        clients=[
            {
                "name": "api",
                "selector": {"matchLabels": {"app": f"{app}-client"}},
                "listeners": [{"port": "pg", "localPort": 5432}],
            }
        ],
    )


def _pods(cluster: Cluster) -> list[dict[str, Any]]:
    """Up-to-date pods, servers and clients by turns."""
    defaults, _ = defaults_of(DEFAULTS["data"], operator_namespace=RELEASE, last=None)
    tunnels = [tunnel_of({**raw, "metadata": {**raw["metadata"], "uid": "x"}}) for raw in cluster.tunnels]
    spaces = {name: space_of(cluster.server.store.objects[Ref("namespaces", "", name)]) for name in cluster.spaces}
    made = []
    for number in range(cluster.pods):
        tunnel = tunnels[number % len(tunnels)]
        role = "server" if number // len(tunnels) % 2 == 0 else "client"
        app = f"app-{number % len(tunnels)}-{role}"
        space = spaces[tunnel.key.namespace]
        wanted = revision(parts_of(space, {"app": app}, "default", (tunnel,)), "default", defaults)
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app}
        made.append(pod_raw(f"pod-{number}", space.name, app, revision=wanted, owner=owner))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunnels", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--created", type=int, default=200, help="tunnels for the latency (default 200)")
    parser.add_argument("--steady", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = measure(tunnels=args.tunnels, pods=args.pods, created=args.created, steady=args.steady)
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print("\n".join(f"{name:<26} {value:g}" for name, value in asdict(found).items()))
    missed = [
        text
        for text, held in (
            (f"created p99 < {GOAL_CREATED_P99_MS:g} ms", found.created_p99_ms < GOAL_CREATED_P99_MS),
            (f"restart < {GOAL_RESTART_SECONDS:g} s", found.restart_seconds < GOAL_RESTART_SECONDS),
            (f"memory < {GOAL_RSS_MB:g} MB", found.restart_rss_mb < GOAL_RSS_MB),
            ("no write in the steady state", found.steady_writes == 0),
        )
        if not held
    ]
    for text in missed:
        print(f"goal missed: {text}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
