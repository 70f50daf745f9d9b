"""The command line: which proxies, which cases, how many rounds, where the results go.

A restricted run (--quick, --cases, --proxies) is printed but written nowhere unless --out says so, so that it never
takes the place of a whole one in the documentation.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import certificates, chart, machine, report
from bench.cases import Case, all_cases, quick
from bench.launch import Place, backend, proxy
from bench.peers import REPOSITORY, Peer, others, tunnel
from bench.perf import profile
from bench.report import Proxy, Report
from bench.stage import run
from bench.summary import Summary

_ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if every proxy finished every round, 1 if one failed some."""
    options = _options(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # an exit, so that everything started here is ended
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    connections = machine.raise_descriptor_limit()
    cases = _chosen(options, connections)
    peers = [one for one in (tunnel(options.tunnel_python), *others()) if one.name in options.proxies]
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        place = Place(Path(scratch), Path(scratch, "certificates"), cores[0], tuple(cores[1:] or cores), connections)
        certificates.write(place.certificates)
        summary = Summary(tuple(cases))
        for case in cases:
            summary.results[case.name] = run(
                case, peers, place, rounds=options.rounds, warm_up=0 if options.quick else 1, say=_say
            )
        found = Report(
            machine=machine.describe(),
            proxies=[_seen(peer, place) for peer in peers],
            summary=summary,
            rounds=options.rounds,
            day=time.strftime("%Y-%m-%d"),
        )
        print(report.to_text(found))
        if options.out:
            _write(found, options.out)
            if options.profile:
                _profile(cases, peers[0], place, options.out)
    return int(any(None in rounds for one in summary.results.values() for rounds in one.values()))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure the tunnel beside HAProxy, nginx stream and stunnel in one interleaved run."
    )
    names = [case.name for case in all_cases(10_000)]
    proxies = ["tunnel", *(peer.name for peer in others())]
    parser.add_argument("--rounds", type=int, help=f"rounds that count (default {_ROUNDS}, 1 with --quick)")
    parser.add_argument("--cases", nargs="+", choices=names, metavar="CASE", help=f"only these: {', '.join(names)}")
    parser.add_argument("--proxies", nargs="+", choices=proxies, default=proxies, help="only these")
    parser.add_argument("--quick", action="store_true", help="small sizes, no warm-up: does everything work?")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where benchmarks.{md,svg,json} go (default docs)")
    parser.add_argument("--tunnel-python", default=sys.executable, metavar="PATH", help="interpreter of the tunnel")
    parser.add_argument(
        "--profile", action="store_true", help="also write DIR/profile-CASE.txt of the first proxy (perf)"
    )
    options = parser.parse_args(argv)
    whole = not (options.quick or options.cases or options.proxies != proxies)
    options.rounds = options.rounds or (1 if options.quick else _ROUNDS)
    options.out = options.out or (REPOSITORY / "docs" if whole else None)
    if options.profile and not options.out:
        parser.error("--profile needs --out DIR")
    return options


def _chosen(options: argparse.Namespace, connections: int) -> list[Case]:
    cases = [case for case in all_cases(connections) if not options.cases or case.name in options.cases]
    return [quick(case) for case in cases] if options.quick else cases


def _seen(peer: Peer, place: Place) -> Proxy:
    """Ask *peer* for its versions and a handshake."""
    with backend(place) as (ports, _), proxy(peer, "server", ports.plain, place) as running:
        agreed = machine.negotiated(running.port, place.certificates)
    return Proxy(peer.name, peer.title, peer.version(), agreed, peer.buffers)


def _write(found: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.json").write_text(report.to_json(found))
    (out / "benchmarks.svg").write_text(chart.draw(found))
    report.update(out / "benchmarks.md", found)


def _profile(cases: Sequence[Case], peer: Peer, place: Place, out: Path) -> None:
    for case in cases:
        if not case.fresh:
            _say(f"{case.name}, profile, {peer.title}")
            profile(case, peer, place, out / f"profile-{case.name}.txt")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
