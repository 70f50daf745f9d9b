"""Time for tests: a clock that stands still until it is moved, and an event loop whose sleeps take no time.

`Clock` stands in for `time.time` (call it).  `run` stands in for `asyncio.run`: whenever every task waits,
time jumps to the next timer, so an hour of timeouts passes at once and always in the same order.  The virtual
loop knows no real descriptors' readiness beyond its own wake-up pipe: it is for tests without sockets.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

NOW = 1_795_262_400.0  # 2026-11-21T12:00:00Z

T = TypeVar("T")


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer will bring")
        self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, beginning at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def settle(turns: int = 20) -> None:
    """Let every task that can run do so: a fixed number of turns of the loop, no time."""
    for _ in range(turns):
        await asyncio.sleep(0)
