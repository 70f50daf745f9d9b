"""Signals and changed files become requests to reload, merged while one is being served."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from mtls_tunnel.app import sources
from mtls_tunnel.app.generation import Generation, Prepared
from mtls_tunnel.errors import ConfigError
from mtls_tunnel.observe.logs import emit
from mtls_tunnel.trust import store
from mtls_tunnel.trust.watch import watch


@dataclass(frozen=True, slots=True)
class Watched:
    """Which paths to watch, and how often to look at them besides (0 = never)."""

    paths: frozenset[str]
    interval_seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    """Why to reload: `changed` files, a signal, or both."""

    changed: frozenset[str]
    signalled: bool

    @property
    def unasked(self) -> bool:
        """Nobody asked: a look after a new watch began, or a retry."""
        return not self.signalled and not self.changed

    def concerns(self, paths: Iterable[str]) -> bool:
        """Whether *paths* are to be read again: a signal, or a look after nothing in particular, means all."""
        return self.signalled or self.unasked or not self.changed.isdisjoint(paths)


class Requests:
    """Collects reasons to reload until `next` takes them all at once."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._changed: set[str] = set()
        self._signalled = False
        self._anew = asyncio.Event()

    def signal(self) -> None:
        """Ask for everything to be read again."""
        self._signalled = True
        self._asked.set()

    def watch_anew(self) -> None:
        """The paths to watch may have changed: ask for them again."""
        self._anew.set()

    async def next(self, *, retry_seconds: float | None = None) -> Request:
        """Wait for a reason to reload and take all that there are; after *retry_seconds*, go without one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(retry_seconds):
                await self._asked.wait()
        request = Request(frozenset(self._changed), self._signalled)
        self._changed.clear()
        self._signalled = False
        self._asked.clear()
        return request

    async def follow(self, wanted: Callable[[], Watched]) -> None:
        """Watch what *wanted* names, for ever; a changed answer moves the watch."""
        while True:
            now = wanted()
            changes = watch(now.paths, interval_seconds=now.interval_seconds, report=_report)
            # What changed between the last reading and this line went unseen: have it compared once.
            self._asked.set()
            watching = asyncio.create_task(self._collect(changes), name="collect changes")
            try:
                await self._moved(wanted, now, watching)
            finally:
                watching.cancel()
                await asyncio.wait({watching})

    async def _moved(self, wanted: Callable[[], Watched], now: Watched, watching: asyncio.Task[None]) -> None:
        while wanted() == now:
            self._anew.clear()
            asked = asyncio.create_task(self._anew.wait(), name="wait for other paths")
            try:
                await asyncio.wait({asked, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
            if watching.done():  # it never ends by itself: this raises what went wrong
                await watching

    async def _collect(self, changes: AsyncIterator[frozenset[str]]) -> None:
        async for changed in changes:
            self._changed |= changed
            self._asked.set()


def watched(path: str, process: str, tunnels: Iterable[Prepared]) -> Watched:
    """Every file of *tunnels*, and the configuration itself."""
    try:
        paths = set(sources.watched(path, process))
    except ConfigError:  # an emptied directory: wait for it to fill again
        paths = {path}
    intervals = []
    for tls in (tls for prepared in tunnels for tls in prepared.sets()):
        paths |= set(store.paths(tls))
        intervals.append(tls.reload_interval_seconds)
    return Watched(frozenset(paths), min((one for one in intervals if one), default=0.0))


def announce(generation: Generation) -> None:
    """Say which files are watched, a line for each certificate set, as mtlsd does."""
    for prepared in generation.prepared.values():
        for tls in prepared.sets():
            emit(
                logging.INFO,
                "certstore: watching files for changes",
                cert=tls.cert,
                key=tls.key,
                ca=",".join(tls.ca),
                tunnel=prepared.tunnel.name or None,
            )


def _report(reason: str) -> None:
    emit(logging.WARNING, "certstore: file changes are noticed by polling only", error=reason)
