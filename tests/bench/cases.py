"""What is measured, as values: each case names its workload, its size and the figures that it yields.

Two placements.  *apart*: the proxy has a core of its own; every wake-up then crosses cores, and on a virtual
machine the interrupt goes through the hypervisor, at the expense of the proxy that sends it.  *together*: proxy and
ends share a core, so that what is left is the proxy's own work.  Bulk is only measured apart, small exchanges in both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.peers import Mode

Options = dict[str, int | bool]
Placement = Literal["apart", "together"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a case.  `key` is what the workload calls it; lower is better unless `more` is set."""

    key: str
    title: str
    unit: str
    digits: int = 2
    more: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One workload in one mode.  `fresh`: a new proxy for each measurement, because memory remembers."""

    name: str
    title: str
    mode: Mode
    workload: str
    figures: tuple[Figure, ...]
    options: Options = field(default_factory=dict)
    fresh: bool = False
    placement: Placement = "apart"
    tickets: bool = True  # client mode: whether the backend issues any
    rounds: int = 1_000  # at most so many
    warm_up: bool = True


_BULK = (
    Figure("cpu_s_per_gb", "CPU per GB", "s"),
    Figure("ends_cpu_s_per_gb", "CPU of both ends per GB", "s"),
    Figure("gb_per_s", "throughput", "GB/s", more=True),
)
_ECHO = (
    Figure("cpu_us", "CPU per round trip", "us", 1),
    Figure("p50_us", "median latency", "us", 0),
    Figure("p99_us", "p99 latency", "us", 0),
    Figure("added_p50_us", "median added to a direct connection", "us", 0),
    Figure("added_p99_us", "p99 added to a direct connection", "us", 0),
)
_HANDSHAKE = (
    Figure("cpu_ms", "CPU per connection", "ms", 3),
    Figure("per_core_second", "connections per second of one core", "", 0, more=True),
    Figure("resumed_share", "share resumed", "", 2, more=True),
)
_IDLE = (
    Figure("held", "connections held", "", 0, more=True),
    Figure("rss_kb", "RSS per idle connection", "KB", 1),
    Figure("pss_kb", "PSS per idle connection", "KB", 1),
    Figure("moved_rss_kb", "RSS per connection after 2 MB", "KB", 1),
    Figure("moved_pss_kb", "PSS per connection after 2 MB", "KB", 1),
)
_START = (
    Figure("ready_s", "start to ready", "s", 3),
    Figure("rss_mb", "RSS, no connections", "MB", 1),
    Figure("pss_mb", "PSS, no connections", "MB", 1),
)
_GB = 1_000_000_000
_TRIPS = 10_000
_HANDSHAKES = 800
_MOVE = 2_000_000


def all_cases(most_connections: int) -> list[Case]:
    """Every case, in the order of the report.  *most_connections* is what this machine's descriptor limit allows."""
    held = min(10_000, most_connections)
    start = Case("start", "Start and idle process", "server", "start", _START, fresh=True)
    return [start, *_of_mode("server", held), *_of_mode("client", held)]


def _of_mode(mode: Mode, held: int) -> Iterator[Case]:
    prefix = "" if mode == "server" else "client-"
    for streams, up in ((1, True), (1, False), (16, True), (16, False)):
        way = "up" if up else "down"
        title = f"{streams} stream{'s' * (streams > 1)} {way}"
        yield Case(f"{prefix}{way}{streams}", title, mode, "bulk", _BULK, {"up": up, "streams": streams, "amount": _GB})
    for size, name in ((1, "1 byte"), (1024, "1 KB")) if mode == "server" else ((1, "1 byte"),):
        echo = Case(
            f"{prefix}echo{size}", f"{name} there and back", mode, "ping_pong", _ECHO, {"size": size, "trips": _TRIPS}
        )
        yield from _in_both_placements(echo)
    for resume, name in ((False, "full"), (True, "resumed")):
        handshake = Case(
            f"{prefix}{name}",
            f"{name} mutual handshake",
            mode,
            "handshakes",
            _HANDSHAKE,
            {"resume": resume, "count": _HANDSHAKES},
            tickets=resume or mode == "server",
        )
        yield from _in_both_placements(handshake)
    yield _idle(f"{prefix}idle1000", mode, 1_000, rounds=3)
    if mode == "server":
        yield _idle("idle10000", mode, held, rounds=1)


def _in_both_placements(case: Case) -> Iterator[Case]:
    yield case
    yield replace(case, name=f"{case.name}-together", title=f"{case.title}, one core", placement="together")


def _idle(name: str, mode: Mode, count: int, *, rounds: int) -> Case:
    options: Options = {"count": count, "move": _MOVE}
    return Case(
        name, f"{count:,} idle connections", mode, "idle", _IDLE, options, fresh=True, rounds=rounds, warm_up=False
    )


_QUICK: dict[str, Options] = {
    "bulk": {"amount": 64_000_000},
    "ping_pong": {"trips": 1_000},
    "handshakes": {"count": 200},
    "idle": {"count": 200, "move": 200_000},
    "start": {},
}


def quick(case: Case) -> Case:
    """The same case, small enough to see that it works; its figures mean little."""
    small = _QUICK[case.workload]
    return replace(case, title=f"{case.title} (quick)", options={**case.options, **small}) if small else case
