"""Where a proxy's CPU time goes: perf over one more pass of a case, as a table of shares.

perf sees the C below Python: the kernel, libcrypto, the interpreter.  That is what the figures of the report
consist of; which Python function asked for it is another question.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.accounting import Tree
from bench.cases import Case
from bench.launch import Place
from bench.peers import Peer, find, said
from bench.stage import staged

_HERTZ = "997"
_ROWS = 45
_ATTACH_SECONDS = 0.5


def profile(case: Case, peer: Peer, place: Place, report: Path) -> None:
    """Run *case* once more against *peer* and write its profile to *report*."""
    with staged(case, place) as stage:
        with _recorded(stage.running(peer).tree, report.with_suffix(".perf")) as record:
            stage.measure(peer)
        report.write_text("\n\n".join(_shares(record, order) for order in ("dso", "dso,symbol")) + "\n")
        record.unlink()


@contextmanager
def _recorded(tree: Tree, record: Path) -> Iterator[Path]:
    pids = ",".join(map(str, tree.pids()))
    argv = [find("perf"), "record", "-q", "-F", _HERTZ, "-o", str(record), "-p", pids]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
        try:
            time.sleep(_ATTACH_SECONDS)
            yield record
        finally:
            perf.send_signal(signal.SIGINT)  # perf writes its file when it is interrupted
            perf.wait(30)


def _shares(record: Path, order: str) -> str:
    text = said(find("perf"), "report", "-i", str(record), "--stdio", "--no-children", "-g", "none", "--sort", order)
    rows = [line.rstrip(" -") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return "\n".join(rows[:_ROWS])
