"""Admission: how long a pod waits for its sidecar, and what the injector costs.

A real injector process beside a fake API server with 1,000 tunnels in 50 namespaces; pods come at a fixed rate
over kept TLS connections, as the API server keeps them, and once more over a new connection each.  A latency
counts from the moment at which the pod was due (a slow answer delays the next one and that one's clock runs),
so it contains the client's own work.  Beside it stands what the injector itself says of the same requests: from
the head of a request to its answer.  Run it alone: `python tests/bench/admission.py [--seconds 20]`; with a real
API server it is a part of operating.py.
"""

import argparse
import json
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests", "tunnel", "operator")]

from mtls_tunnel_operator.injection.meters import PREFIX  # noqa: E402
from support.injectors import Caller, Injector, Running  # noqa: E402
from support.kube_api import cluster  # noqa: E402
from support.procfs import cpu_seconds, rss_bytes  # noqa: E402
from support.raw_pods import Raw, admission_review, raw_pod  # noqa: E402
from support.scrape import Samples  # noqa: E402
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
    own_mean_ms: float
    own_p99_below_ms: float  # a bucket's end: 99 of 100 answers took less
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
        return both(injector, injector.context(), bodies, tunnels=tunnels, rate=rate, seconds=seconds)


def both(
    injector: Running, context: ssl.SSLContext, bodies: list[bytes], *, tunnels: int, rate: float, seconds: float
) -> list[Figures]:
    """Over kept connections, and over new ones, after a warm-up."""
    _run(injector, context, bodies, rate, 2.0, kept=True)
    return [_figures(injector, context, bodies, tunnels, rate, seconds, kept=kept) for kept in (True, False)]


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
    injector: Running,
    context: ssl.SSLContext,
    bodies: list[bytes],
    tunnels: int,
    rate: float,
    seconds: float,
    *,
    kept: bool,
) -> Figures:
    before, told = cpu_seconds(injector.child.pid), Samples(injector.scrape())
    waits = sorted(_run(injector, context, bodies, rate, seconds, kept=kept))
    spent = cpu_seconds(injector.child.pid) - before
    mean, bound = histogram(told, Samples(injector.scrape()), f"{PREFIX}_admission_seconds")
    return Figures(
        connections="kept" if kept else "new",
        tunnels=tunnels,
        pods=len(waits),
        pods_per_second=rate,
        p50_ms=round(1000 * waits[len(waits) // 2], 2),
        p99_ms=round(1000 * waits[len(waits) * 99 // 100], 2),
        worst_ms=round(1000 * waits[-1], 2),
        own_mean_ms=round(1000 * mean, 2),
        own_p99_below_ms=round(1000 * bound, 2),
        cpu_ms=round(1000 * spent / len(waits), 2),
        rss_mb=round(rss_bytes(injector.child.pid) / 1e6, 1),
    )


def histogram(
    before: Samples, after: Samples, family: str, /, share: float = 0.99, **labels: str
) -> tuple[float, float]:
    """Of what was observed between two scrapes: the mean, and the end of the bucket that *share* of it lies below."""

    def added(suffix: str, **more: str) -> float:
        name, wanted = f"{family}_{suffix}", {**labels, **more}
        return after.value(name, **wanted) - before.value(name, **wanted)

    count = added("count")
    ends = sorted({one["le"] for one in after.labels(f"{family}_bucket") if labels.items() <= one.items()}, key=float)
    bound = next((float(end) for end in ends if added("bucket", le=end) >= share * count), float("inf"))
    return added("sum") / max(count, 1), bound


def _run(
    injector: Running, context: ssl.SSLContext, bodies: list[bytes], rate: float, seconds: float, *, kept: bool
) -> list[float]:
    """How long each pod waited."""
    begun, waits = time.perf_counter() + 0.1, list[float]()

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
        print("connections  p50 ms  p99 ms  worst ms  own mean ms  own p99 ms  CPU ms/pod  RSS MB")
        for one in found:
            waits = f"{one.p50_ms:>7} {one.p99_ms:>7} {one.worst_ms:>9}"
            own = f"{one.own_mean_ms:>12} {f'< {one.own_p99_below_ms:g}':>11}"
            print(f"{one.connections:<11} {waits} {own} {one.cpu_ms:>11} {one.rss_mb:>7}")
    return int(found[0].own_p99_below_ms > GOAL_P99_MS or found[0].rss_mb >= GOAL_RSS_MB)


if __name__ == "__main__":
    raise SystemExit(main())
