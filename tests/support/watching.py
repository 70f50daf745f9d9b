"""A real `watch` on real files, in a thread of its own: the test writes, then waits for what was reported."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

from mtls_tunnel.trust.watch import watch
from support.waiting import eventually


class Watching:
    """Watches `paths` while the `with` block lasts.  `seen` holds each report, in order."""

    def __init__(self, *paths: str, interval: float = 0, debounce: float = 0.25) -> None:
        self.seen: list[frozenset[str]] = []
        self.reasons: list[str] = []
        self._paths = paths
        self._interval = interval
        self._debounce = debounce
        self._armed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watching")

    def __enter__(self) -> "Watching":
        self._thread.start()
        assert self._armed.wait(10), "the watch did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the watch could not be cancelled"
        if self._failure is not None:
            raise self._failure

    def changed(self, *paths: str) -> None:
        """Wait until all of these have been reported, then forget every report."""
        wanted = set(paths)
        eventually(lambda: wanted <= set().union(*self.seen), f"a report of {sorted(wanted)}")
        self.seen.clear()

    def after(self, act: Callable[[], object], *paths: str) -> None:
        """Do it, and wait for the report."""
        act()
        self.changed(*paths)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # shown by the test, not by the thread
            self._failure = error
            self._armed.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._collect())
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _collect(self) -> None:
        changes = watch(
            self._paths,
            interval_seconds=self._interval,
            debounce_seconds=self._debounce,
            report=self.reasons.append,
        )
        # The generator's first step listens and looks without a pause, so this callback comes after it.
        self._loop.call_soon(self._armed.set)
        async for changed in changes:
            self.seen.append(changed)
