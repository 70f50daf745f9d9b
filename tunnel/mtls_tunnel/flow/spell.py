"""A lack that comes and goes many times in a second is one spell: its first failure is told, and its end.

It is over when something has succeeded and nothing has failed for a second after that.
"""

import asyncio
from collections.abc import Callable

QUIET_SECONDS = 1.0


class Spell:
    """*call_later* runs a callback after so many seconds; *ended* is called at the end of each spell."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        ended: Callable[[], None],
    ) -> None:
        self._call_later = call_later
        self._ended = ended
        self._lasts = False
        self._timer: asyncio.TimerHandle | None = None

    def failed(self) -> bool:
        """Note a failure; True if it is the first of a spell."""
        self.forget()
        first, self._lasts = not self._lasts, True
        return first

    def succeeded(self) -> None:
        """Note that it went well."""
        if self._lasts and self._timer is None:
            self._timer = self._call_later(QUIET_SECONDS, self._over)

    def forget(self) -> None:
        """Nobody will be told of the end that is near."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self._lasts = False
        self._ended()
