"""Work by key: what is asked for twice is done once, never twice at the same time, and again when it failed.

A key is waiting (with a time), ready, or being worked on.  Asking for a key that is being worked on makes it
ready again afterwards, so the last change is never missed.  The work returns when it wants to be called again
(epoch seconds, or None) or raises: then it is repeated with growing pauses, or when the API server said.

Work comes in order of arrival in two lines.  What somebody waits for is urgent and goes first; every fourth turn
is the ordinary line's, so a stream of urgent work slows the rest down and never stops it.

Times are wall-clock: a renewal belongs to a date.  The sleeper looks at the clock at least every 10 s, so
that a clock that jumps delays nothing for longer.
"""

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from mtls_tunnel_operator.errors import ApiError, NotLeader, OperatorError

LOG = logging.getLogger(__name__)

K = TypeVar("K")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
LOOK_SECONDS = 10.0
ORDINARY_TURN = 4  # this turn, and each multiple of it, is the ordinary line's while urgent work waits too


class Item(NamedTuple):
    """The key of one object, or of a chore of the whole cluster (then without a name)."""

    kind: Literal["tunnel", "domain", "space", "webhook", "copies", "resync"]
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, "/".join(filter(None, (self.namespace, self.name))))))


class Counts(Protocol):
    """What is told about each piece of work (`control.meters`)."""

    def worked(self, key: object, result: str, seconds: float) -> None: ...


class _Silent:
    def worked(self, key: object, result: str, seconds: float) -> None:
        pass


def pause_after(failures: int, jitter: float) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, bounded, spread by *jitter* (0..1) over 50-100 %."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE) * (0.5 + jitter / 2)


class Queue(Generic[K]):
    """`run()` works off keys until it is cancelled or `stop()` is called."""

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 8,
        urgent: Callable[[K], bool] = lambda _: False,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        counts: Counts | None = None,
    ) -> None:
        self._work = work
        self._workers = workers
        self._urgent = urgent
        self._now = now
        self._jitter = jitter
        self._counts = counts or _Silent()
        self._first: OrderedDict[K, None] = OrderedDict()  # ready and urgent
        self._ready: OrderedDict[K, None] = OrderedDict()  # ready
        self._turns = itertools.count(1)
        self._working: set[K] = set()
        self._again: set[K] = set()  # asked for while being worked on
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # may hold times that `_due` no longer has
        self._serial = itertools.count()
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()  # something is ready
        self._earlier = asyncio.Event()  # the next time has changed
        self._stopping = False

    @property
    def depth(self) -> int:
        """Keys that are ready or being worked on; those that wait for a time are not counted."""
        return len(self._first) + len(self._ready) + len(self._working)

    @property
    def waiting(self) -> int:
        """Keys with a time in the future."""
        return len(self._due)

    def failures(self, key: K) -> int:
        """How often in a row the work on *key* has failed."""
        return self._failures.get(key, 0)

    def add(self, key: K, at: float | None = None) -> None:
        """Work on *key* now, or at that time (epoch seconds); an earlier time that was asked for stays."""
        if at is not None and at > self._now():
            if not self._is_ready(key) and at < self._due.get(key, float("inf")):
                self._due[key] = at
                self._remember(at, key)
                self._earlier.set()
            return
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif self._urgent(key):
            self._ready.pop(key, None)
            self._first.setdefault(key)
            self._wake.set()
        elif not self._is_ready(key):
            self._ready[key] = None
            self._wake.set()

    def _is_ready(self, key: K) -> bool:
        return key in self._first or key in self._ready

    def _remember(self, at: float, key: K) -> None:
        heapq.heappush(self._heap, (at, next(self._serial), key))
        if len(self._heap) > 64 + 2 * len(self._due):  # mostly times that were moved: hours may pass until they go
            self._heap = [(when, next(self._serial), each) for each, when in self._due.items()]
            heapq.heapify(self._heap)

    def discard(self, key: K) -> None:
        """Forget the times and failures of a key whose object is gone; work that is under way goes on."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def promote(self) -> float:
        """Make ready what is due; the seconds until the next time."""
        now = self._now()
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) != at:  # done earlier, or moved
                heapq.heappop(self._heap)
            elif at <= now:
                heapq.heappop(self._heap)
                self.add(key)
            else:
                return at - now
        return float("inf")

    async def run(self) -> None:
        """Work until `stop()`."""
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._keep_time())
            workers = [group.create_task(self._take_turns()) for _ in range(self._workers)]
            for worker in workers:
                await worker
            timer.cancel()

    async def stop(self, seconds: float = 5.0) -> bool:
        """No new work from now on; whether what was under way ended within *seconds*."""
        self._stopping = True
        self._wake.set()
        for _ in range(max(1, int(seconds / 0.05))):
            if not self._working:
                return True
            await asyncio.sleep(0.05)
        return False

    async def step(self) -> bool:
        """Work on the next ready key, if there is one: the whole queue for tests without tasks."""
        self.promote()
        if not self._first and not self._ready:
            return False
        await self._do(self._take())
        return True

    def _take(self) -> K:
        ordinary = not self._first or (len(self._ready) > 0 and next(self._turns) % ORDINARY_TURN == 0)
        key, _ = (self._ready if ordinary else self._first).popitem(last=False)
        self._working.add(key)
        self._due.pop(key, None)  # whatever it was for happens now
        return key

    async def _take_turns(self) -> None:
        while not self._stopping:
            if self._first or self._ready:
                await self._do(self._take())
                await asyncio.sleep(0)  # work that never had to wait must not keep the Lease from being renewed
            else:
                self._wake.clear()
                await self._wake.wait()
        self._wake.set()  # for the next worker

    async def _keep_time(self) -> None:
        while True:
            self._earlier.clear()
            wait = min(self.promote(), LOOK_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    await self._earlier.wait()
            except TimeoutError:
                pass

    async def _do(self, key: K) -> None:
        began = time.perf_counter()
        at: float | None = None
        result = "success"
        try:
            at = await self._work(key)
            self._failures.pop(key, None)
        except NotLeader as error:
            result, at = "not_leader", self._now() + FIRST_PAUSE
            LOG.warning("%s: %s", key, error)
        except Exception as error:
            result, at = "error", self._now() + self._failed(key, error)
        finally:
            self._working.discard(key)
            self._counts.worked(key, result, time.perf_counter() - began)
            if key in self._again:
                self._again.discard(key)
                if result == "error":  # a failing key does not spin because its object changes
                    self.add(key, at)
                else:
                    self.add(key)
            elif at is not None:
                self.add(key, at)

    def _failed(self, key: K, error: Exception) -> float:
        """Say so, and how long to wait."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        wait = pause_after(count, self._jitter())
        if isinstance(error, ApiError) and error.retry_after:
            wait = max(wait, error.retry_after)
        surprise = None if isinstance(error, OperatorError) else error  # ours say enough without a trace
        LOG.warning("%s: failed %d times, next try in %.1f s: %s", key, count, wait, error, exc_info=surprise)
        return wait
