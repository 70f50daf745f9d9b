"""Identical events in quick succession: the first few pass, the rest become one with a count.

A window of one second opens with an event's first occurrence.  What it holds back comes out of `due`
once the window is over, as the newest of the identical events and the number of those held back.

Pure: the clock is passed in.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Event = TypeVar("Event")


@dataclass(slots=True)
class _Window(Generic[Event]):
    ends: float
    newest: Event
    passed: int = 0
    held: int = 0


class Fold(Generic[Event]):
    """Remembers one event for each key seen within the last window."""

    def __init__(self, limit: int = 20, window_seconds: float = 1.0) -> None:
        self.limit = limit
        self.window_seconds = window_seconds
        self._windows: dict[Hashable, _Window[Event]] = {}

    def admit(self, key: Hashable, event: Event, now: float) -> bool:
        """True: let *event* pass.  False: it is held, and stands in `due` from *now* + the window on.

        Call `due` first: a window that is over is not reopened here.
        """
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now + self.window_seconds, event)
        if window.passed < self.limit:
            window.passed += 1
            return True
        window.held += 1
        window.newest = event
        return False

    @property
    def holds(self) -> bool:
        """Whether anything waits for its window to be over."""
        return any(window.held for window in self._windows.values())

    def due(self, now: float = float("inf")) -> list[tuple[Event, int]]:
        """Take out what was held in windows that are over, oldest first; without *now*, in all of them."""
        if not self._windows:
            return []
        over = [key for key, window in self._windows.items() if window.ends <= now]
        windows = [self._windows.pop(key) for key in over]
        return [(window.newest, window.held) for window in windows if window.held]
