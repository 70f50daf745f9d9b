"""Admission: how long a pod waits for its sidecar, and what the injector costs.

A real injector process beside a fake API server with 1,000 tunnels in 50 namespaces; pods come at a fixed rate
over kept TLS connections, as the API server keeps them, and once more over a new connection each.  A latency
counts from the moment at which the pod was due (a slow answer delays the next one and that one's clock runs),
so it contains the client's own work.  Run it alone: `python tests/bench/admission.py [--seconds 20]`.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests", "tunnel", "operator")]

from support.injectors import Caller, Injector  # noqa: E402
from support.kube_api import cluster  # noqa: E402
from support.procfs import cpu_seconds, rss_bytes  # noqa: E402
from support.raw_pods import Raw, admission_review, raw_pod  # noqa: E402
from support.tunnel_resources import tunnel_raw  # noqa: E402

NAMESPACES = 50
CONNECTIONS = 4
GOAL_P99_MS, GOAL_RSS_MB = 10.0, 80.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One run.  `cpu_ms` is the injector's whole process, for each pod."""

    connections: str
    tunnels: int
    pods: int
    pods_per_second: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_ms: float
    rss_mb: float


def measure(*, tunnels: int = 1000, rate: float = 50.0, seconds: float = 20.0) -> list[Figures]:
    """Both runs, one after the other, against one injector."""
    spaces = [f"team-{number}" for number in range(NAMESPACES)]
    store = cluster(*spaces)
    for number in range(tunnels):
        store.put(tunnel_raw(f"tunnel-{number}", spaces[number % NAMESPACES], **_spec(number)))
    with tempfile.TemporaryDirectory() as folder, Injector(Path(folder), store) as injector:
        bodies = [_body(number, spaces) for number in range(200)]
        _run(injector, bodies, rate, 2.0, kept=True)  # warm
        return [
            _figures(injector, bodies, tunnels, rate, seconds, kept=True),
            _figures(injector, bodies, tunnels, rate, seconds, kept=False),
        ]


def _spec(number: int) -> Raw:
    """Each tunnel selects pods of its own; one in ten has clients in other namespaces."""
    client: Raw = {"name": "api", "selector": {"matchLabels": {"app": f"api-{number}"}}}
    client["listeners"] = [{"port": "pg", "localPort": 5432}]
    if number % 10 == 0:
        client["namespaces"] = {"from": "Selector", "selector": {"matchLabels": {"tier": "web"}}}
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}]
    return {
        "server": {"workload": {"selector": {"matchLabels": {"app": f"db-{number}"}}}, "ports": ports},
        "clients": [client],
    }


def _body(number: int, spaces: Sequence[str]) -> bytes:
    """A pod of usual size, 4 KB, of a namespace whose tunnel selects it."""
    pod = raw_pod(f"db-{number}")
    pod["spec"]["containers"][0]["env"] = [{"name": f"SETTING_{n}", "value": "x" * 40} for n in range(40)]
    return json.dumps(admission_review(pod, spaces[number % NAMESPACES])).encode()


def _figures(
    injector: Injector, bodies: list[bytes], tunnels: int, rate: float, seconds: float, *, kept: bool
) -> Figures:
    before = cpu_seconds(injector.child.pid)
    waits = sorted(_run(injector, bodies, rate, seconds, kept=kept))
    spent = cpu_seconds(injector.child.pid) - before
    return Figures(
        connections="kept" if kept else "new",
        tunnels=tunnels,
        pods=len(waits),
        pods_per_second=rate,
        p50_ms=round(1000 * waits[len(waits) // 2], 2),
        p99_ms=round(1000 * waits[len(waits) * 99 // 100], 2),
        worst_ms=round(1000 * waits[-1], 2),
        cpu_ms=round(1000 * spent / len(waits), 2),
        rss_mb=round(rss_bytes(injector.child.pid) / 1e6, 1),
    )


def _run(injector: Injector, bodies: list[bytes], rate: float, seconds: float, *, kept: bool) -> list[float]:
    context, begun, waits = injector.context(), time.perf_counter() + 0.1, list[float]()

    def ask(first: int) -> None:
        caller: Caller | None = None
        for number in range(first, int(rate * seconds), CONNECTIONS):
            due = begun + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            caller = caller or injector.connect(context)
            status, answer = caller.post(bodies[number % len(bodies)])
            waits.append(time.perf_counter() - due)
            assert status == 200
            assert b'"patch"' in answer
            if not kept:
                caller.close()
                caller = None
        if caller:
            caller.close()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunnels", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50.0, help="pods per second (default 50)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of the two runs (default 20)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = measure(tunnels=args.tunnels, rate=args.rate, seconds=args.seconds)
    if args.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        print("connections  p50 ms  p99 ms  worst ms  CPU ms/pod  RSS MB")
        for one in found:
            waits = f"{one.p50_ms:>7} {one.p99_ms:>7} {one.worst_ms:>9}"
            print(f"{one.connections:<11} {waits} {one.cpu_ms:>11} {one.rss_mb:>7}")
    return int(found[0].p99_ms >= GOAL_P99_MS or found[0].rss_mb >= GOAL_RSS_MB)


if __name__ == "__main__":
    raise SystemExit(main())
