"""Waiting for something to become true: a condition and a generous deadline, never a guessed pause.

The deadline only decides when a test gives up; on a quiet machine no test comes near it.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = float(os.environ.get("TEST_DEADLINE_SECONDS", "30"))
_PAUSE_SECONDS = 0.01


def eventually(condition: Callable[[], T], what: str, *, seconds: float = DEADLINE_SECONDS) -> T:
    """Return the first true value of *condition*; fail with *what* if it stays false for *seconds*.

    The last value seen stands in the message.  `OSError` of a condition counts as "not yet".
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            last: object = None
            value = condition()
            last = value
            if value:
                return value
        except OSError as error:
            last = error
        if time.monotonic() > give_up:
            raise AssertionError(f"still not true after {seconds:g} s: {what} (last seen: {last!r})")
        time.sleep(_PAUSE_SECONDS)


def settled(measure: Callable[[], int], at_most: int, what: str, *, seconds: float = DEADLINE_SECONDS) -> int:
    """Wait until *measure* has come down to *at_most*, and return what it was then."""
    seen: list[int] = []

    def low_enough() -> bool:
        seen.append(measure())
        return seen[-1] <= at_most

    eventually(low_enough, f"{what} at most {at_most}", seconds=seconds)
    return seen[-1]
