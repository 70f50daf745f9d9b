"""Deadlines of thousands of sessions with one timer for all: sessions wait in buckets, by when to look at them next.

Nothing is written when bytes flow.  When its bucket is due a session is asked (`look`) and says when it wants to be
asked again; a session that has seen bytes since then simply says "later".  So a deadline is kept late, by at most
an eighth of itself plus one step, and never early.  The timer only runs while somebody waits.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

STEP_SECONDS = 0.05
NEVER = float("inf")


class Timed(Protocol):
    """Something with a deadline.  `bucket` is the wheel's own note."""

    bucket: int

    def look(self, now: float) -> float:
        """Do what is due at *now* (monotonic) and return when to look again; NEVER ends it."""
        ...


class Wheel:
    """Belongs to one loop.  *clock* is monotonic; *call_at* runs a callback at a time of that clock."""

    def __init__(
        self, clock: Callable[[], float], call_at: Callable[[float, Callable[[], None]], asyncio.TimerHandle]
    ) -> None:
        self._clock = clock
        self._call_at = call_at
        self._buckets: dict[int, set[Timed]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER

    def add(self, one: Timed, when: float) -> None:
        """Look at *one* at *when*; NEVER means not at all."""
        if when == NEVER:
            return
        number = int(when / STEP_SECONDS) + 1
        one.bucket = number
        self._buckets.setdefault(number, set()).add(one)
        self._arm(number * STEP_SECONDS)

    def remove(self, one: Timed) -> None:
        """Do not look at *one* any more; nothing happens if it does not wait."""
        bucket = self._buckets.get(one.bucket)
        if bucket is not None:
            bucket.discard(one)
            if not bucket:
                del self._buckets[one.bucket]

    def turn(self) -> None:
        """Look at all who are due."""
        self._timer, self._due = None, NEVER
        now = self._clock()
        for number in sorted(number for number in self._buckets if number * STEP_SECONDS <= now):
            # A look may remove others from this very bucket, so it is emptied one by one.
            bucket = self._buckets.get(number)
            while bucket:
                one = bucket.pop()
                one.bucket = 0
                self.add(one, max(one.look(now), now + STEP_SECONDS))
            self._buckets.pop(number, None)
        if self._buckets:
            self._arm(min(self._buckets) * STEP_SECONDS)

    def _arm(self, when: float) -> None:
        if when >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = self._call_at(when, self.turn)
