"""The command line: how much of everything, and where the results go.

Operator and injector run as processes of this machine beside a real API server, which is built and started by
scripts/cluster.py (etcd, API server, controllers, and nodes that only pretend to run pods); neither root nor a
container engine is needed.  A run with other sizes than the whole is printed but written nowhere unless --out
says so, so that it never takes the place of a whole one in the documentation.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import machine
from bench.fleet import report
from bench.fleet.figures import missed
from bench.fleet.report import Report
from bench.fleet.rotation import rotate
from bench.fleet.stage import Stage
from bench.fleet.story import QUICK, Found, Sizes, Story
from build_image import Failed, Unavailable
from support.processes import REPOSITORY


def main(argv: Sequence[str] | None = None) -> int:
    """Run it all; 0 if every goal was met, 1 if one was missed, 2 if this machine cannot run it."""
    options = _options(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # an exit, so that everything started here is ended
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sizes = _sizes(options)
    began = os.getloadavg()[0]
    try:
        with _folder(options.folder) as folder, Stage(folder) as stage:
            kubernetes = json.loads(stage.kube("version", "-o", "json"))["serverVersion"]["gitVersion"]
            found = asyncio.run(_tell(stage, sizes))
    except (Unavailable, Failed) as lacking:
        print(lacking, file=sys.stderr)
        return 2
    load = (began, os.getloadavg()[0])
    made = Report(machine.describe(), kubernetes, sizes, found, time.strftime("%Y-%m-%d"), load)
    print(report.to_text(made))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "benchmarks-operator.json").write_text(report.to_json(made))
        report.update(options.out / "benchmarks-operator.md", made)
    sentences = missed(found)
    for sentence in sentences:
        print(f"goal missed: {sentence}", file=sys.stderr)
    return int(bool(sentences))


async def _tell(stage: Stage, sizes: Sizes) -> Found:
    story = Story(stage, sizes, _say)
    found = await story.tell()
    found |= await rotate(stage, sizes, _say)
    refused = story.refused()
    for one in sorted(set(refused))[:5]:
        _say(f"refused: {one}")
    return {**found, "refused_requests": float(len(refused))}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    whole = Sizes()
    parser = argparse.ArgumentParser(
        prog="operating.py", description="Measure operator and injector beside a real API server."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything work?")
    parser.add_argument("--tunnels", type=int, metavar="N", help=f"made at once (default {whole.tunnels})")
    parser.add_argument("--late", type=int, metavar="N", help=f"made later, one by one (default {whole.late})")
    parser.add_argument("--pods", type=int, metavar="N", help=f"default {whole.pods}")
    parser.add_argument("--steady", type=float, metavar="SECONDS", help=f"default {whole.steady_seconds:g}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where benchmarks-operator.{md,json} go (default docs)")
    parser.add_argument("--folder", type=Path, help="keep the logs there: audit.log, operator-N.log, logs/")
    options = parser.parse_args(argv)
    changed = options.quick or any((options.tunnels, options.late, options.pods, options.steady))
    options.out = options.out or (None if changed else REPOSITORY / "docs")
    return options


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Where everything is written while it runs."""
    with tempfile.TemporaryDirectory(prefix="bench-operator-") as scratch:
        yield kept.absolute() if kept else Path(scratch, "api")


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    asked = {"tunnels": options.tunnels, "late": options.late, "pods": options.pods, "steady_seconds": options.steady}
    return replace(sizes, **{name: value for name, value in asked.items() if value})


def _say(words: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {words}", file=sys.stderr, flush=True)
