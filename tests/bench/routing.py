"""Routing: what the router adds to a handshake of server mode, what a thousand routes and a cold cache cost.

Real processes beside a private PostgreSQL, interleaved: server, router with a file, router with PostgreSQL, one after
the other in each round, in turn first.  Five figures:

    warm        CPU of the proxy per full handshake, exchange and close; the answer is in the cache
    cold        the same with a cache that keeps nothing: a lookup for each connection
    crowd       1,000 routes, 500 connections at once: until each has its answer
    lookups     questions per second that a store answers, ten at a time, in this process
    withdrawn   from the commit of a changed row to the end of the live connection

Run it alone: `python tests/bench/routing.py [--rounds 40] [--handshakes 25] [--only warm]`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests", "tunnel")]

from bench.accounting import Tree  # noqa: E402
from mtls_tunnel.config.load import Source, load  # noqa: E402
from mtls_tunnel.router.cache import Question  # noqa: E402
from mtls_tunnel.router.file_store import FileStore  # noqa: E402
from mtls_tunnel.router.postgresql import PostgresStore  # noqa: E402
from mtls_tunnel.router.store import Store  # noqa: E402
from support.clients import ask, connect, rest, talk  # noqa: E402
from support.guarded import Guarded  # noqa: E402
from support.postgres import Postgres  # noqa: E402
from support.routed import HOST, ORG, USER, Routed, server_name  # noqa: E402
from support.routes import FileRoutes, PostgresRoutes, Routes  # noqa: E402

ROUTES, CROWD, AT_ONCE = 1000, 500, 50
Proxies = dict[str, tuple[Guarded, str]]


def main() -> int:
    """Print the figures, as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--handshakes", type=int, default=25)
    parser.add_argument("--only", nargs="*", help="some of the five")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Postgres() as server:
        stage = Stage(Path(name), server)
        cases: dict[str, Callable[[], dict[str, Any]]] = {
            "warm": lambda: handshakes(stage.proxies(cache="1h"), args.rounds, args.handshakes),
            "cold": lambda: handshakes(stage.proxies(cache="0s"), args.rounds, args.handshakes),
            "crowd": lambda: crowds(stage),
            "lookups": lambda: lookups(stage),
            "withdrawn": lambda: withdrawals(stage),
        }
        figures = {name: measure() for name, measure in cases.items() if name in (args.only or cases)}
    print(json.dumps(figures, indent=2) if args.json else table(figures))
    return 0


class Stage:
    """Makes proxies with stores of their own."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self._folder, self._server = folder, server

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))

    def stores(self) -> dict[str, Routes]:
        return {"file": FileRoutes(self.folder() / "routes.yaml"), "postgresql": PostgresRoutes(self._server)}

    @contextmanager
    def proxies(self, cache: str) -> Iterator[Proxies]:
        over = {"router": {"store": {"cache": cache}}}
        with ExitStack() as stack:
            made: Proxies = {"server": (stack.enter_context(Guarded(self.folder())), "localhost")}
            for kind, routes in self.stores().items():
                made[f"router, {kind}"] = (stack.enter_context(Routed(self.folder(), routes, over)), server_name())
            yield made


def handshakes(making: Any, rounds: int, count: int) -> dict[str, Any]:
    """CPU ms of each proxy per connection: median, minimum, and its ratio to server mode, taken in each round."""
    with making as proxies:
        costs: dict[str, list[float]] = {name: [] for name in proxies}
        order = list(proxies)
        for number in range(rounds + 1):
            for name in order:
                guarded, sni = proxies[name]
                tree, tls = Tree(guarded.tunnel.pid), guarded.good
                began = tree.cpu_seconds()
                for _ in range(count):
                    talk(guarded.port, tls, b"?", name=sni)
                if number:  # the first one warms up
                    costs[name].append((tree.cpu_seconds() - began) / count * 1e3)
            order.append(order.pop(0))
    base = costs["server"]
    return {
        name: {
            "median_ms": round(statistics.median(own), 3),
            "minimum_ms": round(min(own), 3),
            "ratio_median": round(statistics.median(one / other for one, other in zip(own, base, strict=True)), 3),
            "ratio_of_minima": round(min(own) / min(base), 3),
        }
        for name, own in costs.items()
    }


def crowds(stage: Stage) -> dict[str, Any]:
    """500 connections at once to different ones of 1,000 routes."""
    return {kind: _crowd(stage, routes) for kind, routes in stage.stores().items()}


def _crowd(stage: Stage, routes: Routes) -> dict[str, float]:
    routed = Routed(stage.folder(), routes, {"proxy": {"handshake_timeout": "60s"}})
    address = routed.backend.address
    row = {"internal_ip_addr": address, "org_id": ORG, "user_ids": [USER], "team_ids": ["team"]}
    routes.putting(("backend_hosts", {"connect_id": f"host-{number}", **row}) for number in range(ROUTES))
    with routed:
        routed.greet()
        tls, tree = routed.good, Tree(routed.tunnel.pid)
        cpu, wall = tree.cpu_seconds(), time.monotonic()

        def reach(number: int) -> Any:
            connection = connect(routed.port, tls, name=server_name(f"host-{number}"))
            assert ask(connection) is not None
            return connection

        with ThreadPoolExecutor(AT_ONCE) as crowd:
            held = list(crowd.map(reach, range(0, ROUTES, ROUTES // CROWD)))
        figures = {
            "connections": len(held),
            "seconds": round(time.monotonic() - wall, 2),
            "proxy_cpu_ms_each": round((tree.cpu_seconds() - cpu) / CROWD * 1e3, 3),
        }
        for connection in held:
            connection.close()
    return figures


def lookups(stage: Stage, seconds: float = 3.0) -> dict[str, float]:
    """Per second, over 1,000 hosts, ten at a time."""
    found: dict[str, float] = {}
    for kind, routes in stage.stores().items():
        row = {"internal_ip_addr": "10.0.0.1", "org_id": ORG, "user_ids": [USER], "team_ids": ["team"]}
        routes.putting(("backend_hosts", {"connect_id": f"host-{number}", **row}) for number in range(ROUTES))
        routes.put("users", user_id=USER, org_id=ORG)
        routes.put("teams", team_id="team", org_id=ORG, user_ids=[USER])
        text = json.dumps({"mode": "router", "listen": ":1", "tls": {"cert": "-", "key": "-", "ca": "-"},
                           "router": {"store": routes.settings}})  # fmt: skip
        router = load([Source("bench", text)]).config.tunnels[0].router
        assert router is not None

        def opened(told: Any = router.store, kind: str = kind) -> Store:
            return FileStore(told.file, default_port=22) if kind == "file" else PostgresStore(told)

        found[f"{kind}_per_second"] = round(asyncio.run(_lookups(opened, seconds)))
    return found


async def _lookups(opened: Callable[[], Store], seconds: float) -> float:
    store = opened()
    store.start(lambda change: None, lambda: None)
    while store.fault:  # noqa: ASYNC110 - a store tells of changes, not of its own state
        await asyncio.sleep(0.05)
    until, done = time.monotonic() + seconds, 0

    async def asking(first: int) -> None:
        nonlocal done
        number = first
        while time.monotonic() < until:
            assert (await store.find(Question(f"host-{number % ROUTES}", USER))).hosts
            number, done = number + 1, done + 1

    began = time.monotonic()
    await asyncio.gather(*(asking(number * 100) for number in range(10)))
    took = time.monotonic() - began
    await store.stop()
    return done / took


def withdrawals(stage: Stage, times: int = 10) -> dict[str, Any]:
    """Milliseconds from the change, committed, to the end of the live connection."""
    found = {}
    for kind, routes in stage.stores().items():
        took = []
        with Routed(stage.folder(), routes, {"router": {"store": {"cache": "1h"}}}) as routed:
            for _ in range(times):
                while not routed.lets_in():
                    time.sleep(0.05)
                with connect(routed.port, routed.good, name=server_name(HOST)) as connection:
                    ask(connection)
                    routed.put_host(user_ids=[])
                    committed = time.monotonic()
                    rest(connection)
                    took.append((time.monotonic() - committed) * 1e3)
                routed.put_host()
        found[kind] = {"median_ms": round(statistics.median(took), 1), "worst_ms": round(max(took), 1)}
    return found


def table(figures: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for case, own in figures.items():
        lines.append(case)
        lines += [f"    {name:24} {value}" for name, value in own.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
