"""Hears of changed files: `watch(paths)` yields the set of paths that changed, once for each burst of writes.

inotify (`ears`) only says that it is worth looking; what changed is found by comparing two looks (`sighting`), so
a swapped link, a file moved over, a directory deleted and made again, a chmod and a write in place are all the same
here.  A safety look every `interval_seconds` catches what inotify cannot hear: network file systems, writes through
memory maps or another hard link.  Without inotify (limits of the machine, directories that may not be listed)
the paths are looked at every second, the reason is reported, and inotify is tried again each time.

A burst is over when nothing has been heard for `debounce_seconds`; as long as a writer has the file open, for
OPEN_FILE_SECONDS; and after PATIENCE_SECONDS in any case: what is then half-written the reader must refuse.
Nothing is read or judged here.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from mtls_tunnel.trust import sighting
from mtls_tunnel.trust.sighting import Plan, Sighting

DEBOUNCE_SECONDS = 0.25
OPEN_FILE_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
DEAF_SECONDS = 1.0  # between two looks without inotify: a change must be noticed within two seconds


class Listener(Protocol):
    """What `watch` needs of `ears.Ears`."""

    @property
    def stale(self) -> bool: ...
    @property
    def writing(self) -> bool: ...
    def close(self) -> None: ...


Listen = Callable[[Plan, Callable[[], None]], Listener]


def watch(
    paths: Iterable[str],
    *,
    interval_seconds: float,
    debounce_seconds: float = DEBOUNCE_SECONDS,
    report: Callable[[str], None] = lambda reason: None,
    look: Callable[[Iterable[str]], Sighting] = sighting.look,
    listen: Listen | None = None,
) -> AsyncGenerator[frozenset[str], None]:
    """Yield the changed ones of `paths`, files or directories, whether or not they exist yet.

    Changes count from this call on, not from the first iteration: call it before reading the files.  The iterator owns
    an inotify descriptor while it runs; cancelling the task that iterates, or `aclose()`, closes it.
    `interval_seconds` 0 means no safety look.  `report` gets a plain sentence when inotify cannot be had.
    """
    watched = tuple(dict.fromkeys(paths))
    watcher = _Watcher(watched, interval_seconds, debounce_seconds, report, look, listen or _inotify)
    return watcher.changes(watcher.first())


def _inotify(plan: Plan, heard: Callable[[], None]) -> Listener:
    from mtls_tunnel.trust.ears import Ears

    return Ears(plan, heard)


class _Watcher:
    def __init__(
        self,
        paths: tuple[str, ...],
        interval_seconds: float,
        debounce_seconds: float,
        report: Callable[[str], None],
        look: Callable[[Iterable[str]], Sighting],
        listen: Listen,
    ) -> None:
        self._paths = paths
        self._interval = interval_seconds
        self._debounce = debounce_seconds
        self._report = report
        self._look = look
        self._listen = listen
        self._listener: Listener | None = None
        self._plan: Plan = {}
        self._noise = asyncio.Event()
        self._heard_at = 0.0
        self._reason = ""
        self._blind = False  # the last look failed for want of descriptors or memory

    def first(self) -> Sighting:
        return self._sight() or Sighting({}, {})

    async def changes(self, before: Sighting) -> AsyncGenerator[frozenset[str], None]:
        try:
            while True:
                now = self._armed_look() or before
                if now.changed_since(before):
                    now = await self._settled(now)
                    changed = now.changed_since(before)  # by now perhaps nothing: written and put back
                    before = now
                    if changed:
                        yield changed
                    continue
                await self._something()
                await self._quiet()
        finally:
            self._close()

    def _armed_look(self) -> Sighting | None:
        """A look that nothing can follow unheard: listening begins before the look that counts."""
        seen = self._sight()
        for _ in range(3):
            if seen is None or not self._arm(seen.plan):
                return seen
            seen = self._sight()
        self._hear()  # directories come and go: look again soon
        return seen

    def _sight(self) -> Sighting | None:
        try:
            seen = self._look(self._paths)
        except OSError as error:
            self._blind = True
            self._complain("look at the files", error)
            return None
        self._blind = False
        return seen

    def _arm(self, plan: Plan) -> bool:
        """Listen to this plan; False if that is what we already do."""
        if self._listener is not None and not self._listener.stale and plan == self._plan:
            return False
        self._close()
        try:
            self._listener = self._listen(plan, self._hear)
        except (OSError, RuntimeError) as error:  # RuntimeError: a system without inotify
            self._complain("watch the files", error)
            return False
        self._plan = plan
        self._reason = ""
        return True

    def _complain(self, what: str, error: Exception) -> None:
        text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        reason = f"cannot {what}{where}: {text}; looking every {DEAF_SECONDS:g} s until it can be done"
        if reason != self._reason:
            self._report(reason)
        self._reason = reason

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _hear(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._noise.set()

    async def _something(self) -> None:
        """Wait for a noise, or until it is time to look anyway."""
        deaf = self._listener is None or self._blind
        seconds = min(self._interval or DEAF_SECONDS, DEAF_SECONDS) if deaf else self._interval
        try:
            async with asyncio.timeout(seconds or None):
                await self._noise.wait()
        except TimeoutError:
            return

    async def _quiet(self) -> None:
        """Wait until the noise, if there was any, has stopped."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + PATIENCE_SECONDS
        while self._noise.is_set():
            self._noise.clear()
            # Each noise moves the end: one timer for any number of them.
            while (left := min(self._heard_at + self._silence(), latest) - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)
            if loop.time() >= latest:
                self._noise.clear()
                return

    def _silence(self) -> float:
        writing = self._listener is not None and self._listener.writing
        return max(OPEN_FILE_SECONDS, self._debounce) if writing else self._debounce

    async def _settled(self, seen: Sighting) -> Sighting:
        """Look until two looks agree: without inotify this is what keeps half-written files out."""
        latest = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while asyncio.get_running_loop().time() < latest:
            if self._listener is None or self._noise.is_set():
                await asyncio.sleep(self._debounce)
                await self._quiet()
            again = self._armed_look()
            if again is None:
                await asyncio.sleep(DEAF_SECONDS)
                continue
            if again.signatures == seen.signatures:
                return again
            seen = again
        return seen
