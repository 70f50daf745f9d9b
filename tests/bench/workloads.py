"""What is done to a proxy and measured: bulk, round trips, handshakes, idle connections.

Each workload connects through the proxy, notes the CPU clocks of the proxy, the backend and itself, does its work,
and notes them again, so that connecting and Python's start are no part of a figure.  A workload returns figures by
name, in the units of their names; which of them are shown is decided in cases.py.
"""

import ssl
import statistics
import time
from collections.abc import Callable

from bench.accounting import Memory, Tree
from bench.backend import drop, fill
from bench.crew import Crew, Link, crew
from bench.streams import (
    DONE,
    DOWNLOAD,
    ECHO,
    RESUMED,
    STATE,
    UPLOAD,
    Request,
    Stream,
    TlsStream,
    read_exactly,
)
from bench.target import Cost, Span, Target, connect

GB = 1_000_000_000
_WARM_UP_TRIPS = 200
_SETTLE_SECONDS = 0.5
_MOVE_CHUNK = memoryview(bytes(16 * 1024))

Figures = dict[str, float]


def _step(action: Callable[[], None]) -> Figures:
    """Do *action* and report its CPU seconds in this process."""
    before = time.process_time()
    action()
    return {"cpu": time.process_time() - before}


def _measured(target: Target, workers: Crew, word: str) -> Cost:
    span = Span(target)
    workers.tell(word)
    return span.stop(sum(report["cpu"] for report in workers.hear()))


def upload(stream: Stream, amount: int) -> None:
    stream.send(bytes(Request(UPLOAD, amount)))
    fill(stream, amount)
    if read_exactly(stream, 1) != DONE:
        raise ConnectionError("the backend did not confirm the upload")


def download(stream: Stream, amount: int) -> None:
    stream.send(bytes(Request(DOWNLOAD, amount)))
    drop(stream, amount)


def bulk(target: Target, *, up: bool, streams: int, amount: int) -> Figures:
    """Move *amount* bytes in all over *streams* connections at once."""
    context = target.context()
    share = amount // streams

    def body(_number: int, link: Link) -> None:
        stream = connect(target.port, context)
        upload(stream, 1)  # the proxy has dialled, the tickets have arrived
        link.send({})
        link.recv()
        link.send(_step(lambda: upload(stream, share) if up else download(stream, share)))
        link.recv()

    with crew(streams, body) as workers:
        workers.hear()
        cost = _measured(target, workers, "move")
    moved = share * streams / GB
    return {
        "cpu_s_per_gb": cost.proxy / moved,
        "ends_cpu_s_per_gb": cost.ends / moved,
        "gb_per_s": moved / cost.wall,
    }


def ping_pong(target: Target, *, size: int, trips: int) -> Figures:
    """Send *size* bytes and wait for them, *trips* times; the same without the proxy, for what it adds."""
    through = _round_trips(target, target.port, target.context(), size, trips)
    direct = _round_trips(target, target.direct, None, size, trips)
    return {
        "cpu_us": through["proxy_cpu_us"],
        "ends_cpu_us": through["ends_cpu_us"],
        "p50_us": through["p50_us"],
        "p99_us": through["p99_us"],
        "added_p50_us": through["p50_us"] - direct["p50_us"],
        "added_p99_us": through["p99_us"] - direct["p99_us"],
    }


def _round_trips(target: Target, port: int, context: ssl.SSLContext | None, size: int, trips: int) -> Figures:
    def body(_number: int, link: Link) -> None:
        stream = connect(port, context)
        stream.send(bytes(Request(ECHO)))
        _nanoseconds(stream, size, _WARM_UP_TRIPS)
        link.send({})
        link.recv()
        before = time.process_time()
        took = _nanoseconds(stream, size, trips)
        cuts = statistics.quantiles(took, n=100)
        link.send({"cpu": time.process_time() - before, "p50": cuts[49] / 1e3, "p99": cuts[98] / 1e3})
        link.recv()

    with crew(1, body) as workers:
        workers.hear()
        span = Span(target)
        workers.tell("go")
        (report,) = workers.hear()
        cost = span.stop(report["cpu"])
    return {
        "proxy_cpu_us": cost.proxy / trips * 1e6,
        "ends_cpu_us": cost.ends / trips * 1e6,
        "p50_us": report["p50"],
        "p99_us": report["p99"],
    }


def _nanoseconds(stream: Stream, size: int, trips: int) -> list[int]:
    message, clock = bytes(size), time.perf_counter_ns
    took = []
    for _ in range(trips):
        started = clock()
        stream.send(message)
        read_exactly(stream, size)
        took.append(clock() - started)
    return took


def handshakes(target: Target, *, resume: bool, count: int, workers: int = 4) -> Figures:
    """Open, use for one byte and close *count* connections, some at a time.

    In client mode the backend decides whether there is something to resume, by its tickets.
    """
    context = target.context()
    share = count // workers

    def body(_number: int, link: Link) -> None:
        session = _short_connection(target.port, context, None)[0]
        link.send({})
        link.recv()
        resumed = 0

        def all_of_them() -> None:
            nonlocal session, resumed
            for _ in range(share):
                newest, again = _short_connection(target.port, context, session if resume else None)
                session, resumed = newest, resumed + again

        link.send(_step(all_of_them) | {"resumed": resumed})
        link.recv()

    with crew(workers, body) as people:
        people.hear()
        span = Span(target)
        people.tell("go")
        reports = people.hear()
        cost = span.stop(sum(report["cpu"] for report in reports))
    made = share * workers
    return {
        "cpu_ms": cost.proxy / made * 1e3,
        "per_core_second": made / cost.proxy,
        "ends_cpu_ms": cost.ends / made * 1e3,
        "resumed_share": sum(report["resumed"] for report in reports) / made,
    }


def _short_connection(
    port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    """Connect, exchange a byte, close.  Return the newest ticket, and whether the TLS leg was resumed."""
    stream = connect(port, context, session)
    stream.send(bytes(Request(STATE)))
    state = read_exactly(stream, 1)
    if not state:
        raise ConnectionError("closed without an answer")
    stream.finish()
    if isinstance(stream, TlsStream):
        return stream.session, stream.resumed
    return None, state == RESUMED


def idle(target: Target, *, count: int, move: int, workers: int = 4) -> Figures:
    """Hold *count* connections; the proxy's memory for each, before and after each has moved *move* bytes.

    Half of them up and half down, one connection after the other, so that no more than one is ever busy.
    """
    context = target.context()
    share = count // workers

    def body(_number: int, link: Link) -> None:
        streams = []
        for _ in range(share):
            stream = connect(target.port, context)
            upload(stream, 1)
            streams.append(stream)
        link.send({})
        link.recv()
        for stream in streams:
            _move(stream, move // 2)
        link.send({})
        link.recv()

    at_rest = target.proxy.memory()
    with crew(workers, body) as people:
        people.hear()
        opened = _settled(target.proxy)
        people.in_turn("move")
        moved = _settled(target.proxy)
    held = share * workers
    return {
        "held": held,
        "rss_kb": (opened.rss - at_rest.rss) / held / 1024,
        "pss_kb": (opened.pss - at_rest.pss) / held / 1024,
        "moved_rss_kb": (moved.rss - at_rest.rss) / held / 1024,
        "moved_pss_kb": (moved.pss - at_rest.pss) / held / 1024,
    }


def _move(stream: Stream, amount: int) -> None:
    """Both ways, in small chunks: the ends keep 10,000 connections too."""
    stream.send(bytes(Request(UPLOAD, amount)))
    left = amount
    while left:
        part = _MOVE_CHUNK[:left]
        stream.send(part)
        left -= len(part)
    read_exactly(stream, 1)
    download(stream, amount)


def _settled(proxy: Tree) -> Memory:
    time.sleep(_SETTLE_SECONDS)
    return proxy.memory()
