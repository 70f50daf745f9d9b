"""Several forked workers that take the same steps at the same time: connect, wait, move, report.

A process per worker keeps Python's lock out of the measurement and the workers' code blocking and plain.
"""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

Link = Connection
Report = dict[str, float]
Body = Callable[[int, Connection], None]

_STEP_SECONDS = 600  # no step of any case takes this long
_FORK = multiprocessing.get_context("fork")


class Crew:
    """The parent's side of the workers' pipes."""

    def __init__(self, links: list[Connection]) -> None:
        self._links = links

    def tell(self, word: str) -> None:
        for link in self._links:
            link.send(word)

    def hear(self) -> list[Report]:
        """Wait for one report of each worker."""
        return [_receive(link) for link in self._links]

    def in_turn(self, word: str) -> list[Report]:
        """Let one worker after the other take the step *word*."""
        reports = []
        for link in self._links:
            link.send(word)
            reports.append(_receive(link))
        return reports


@contextmanager
def crew(size: int, body: Body) -> Iterator[Crew]:
    """Start *size* workers that each run *body(number, link)*; end them all at the exit."""
    pairs = [_FORK.Pipe() for _ in range(size)]
    workers = [
        _FORK.Process(target=_work, args=(body, number, inner), daemon=True) for number, (_, inner) in enumerate(pairs)
    ]
    for worker in workers:
        worker.start()
    for _, inner in pairs:
        inner.close()
    try:
        yield Crew([outer for outer, _ in pairs])
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(body: Body, number: int, link: Connection) -> None:
    gc.disable()  # a collection in the middle of a round trip would be the proxy's latency
    try:
        body(number, link)
    except Exception as error:
        link.send(error)  # raised again where the report was awaited
    os._exit(0)


def _receive(link: Connection) -> Report:
    if not link.poll(_STEP_SECONDS):
        raise TimeoutError("a worker of the generator did not finish its step")
    report: Report | Exception = link.recv()
    if isinstance(report, Exception):
        raise report
    return report
