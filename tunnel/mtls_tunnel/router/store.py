"""What a guide asks of a store, be it a file or a database."""

from collections.abc import Callable
from typing import Protocol

from mtls_tunnel.router.cache import Change, Question
from mtls_tunnel.router.rows import Found

Changed = Callable[[Change | None], None]  # None: anything may have changed


class StoreError(Exception):
    """The store did not answer; the text is for the log and holds no password."""


class Store(Protocol):
    """Owns its file watch or its connections, from `start` to `stop`."""

    @property
    def fault(self) -> str:
        """Why it cannot be asked now, or "" while it can."""
        ...

    @property
    def tells(self) -> bool:
        """Whether every change is told; if not, answers are as old as the cache lets them be."""
        ...

    def start(self, changed: Changed, lost: Callable[[], None]) -> None:
        """Begin, in the running loop: *changed* for each change, *lost* when changes may have gone by unseen."""
        ...

    async def find(self, question: Question) -> Found:
        """The rows of a decision.

        Raises:
            StoreError: within the time that one lookup may take.
        """
        ...

    async def stop(self) -> None: ...
