"""A coroutine that goes on where its events happen: no task, no turn of the event loop in between.

`Steps` drives one coroutine, which may await a `Later` of this module, and any asyncio future (whose callbacks come
one turn later).  It must not raise, and must not use what asks for the current task (`asyncio.timeout`): such things
belong in a task that is then awaited.  A task costs a tenth of a resumed handshake; this costs next to nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Union

Awaited = Union["Later", "asyncio.Future[Any]"]


class Later:
    """Happens once.  Whoever awaits it goes on inside the very call of `finish`."""

    __slots__ = ("_error", "_then", "over")

    def __init__(self) -> None:
        self.over = False
        self._error: BaseException | None = None
        self._then: Callable[[Later], None] | None = None

    def finish(self, error: BaseException | None = None) -> None:
        """Let it happen, as an *error* for whoever awaits it if there is one; all but the first call do nothing."""
        if self.over:
            return
        self.over = True
        self._error = error
        if self._then is not None:
            self._then(self)

    def add_done_callback(self, then: Callable[["Later"], None]) -> None:
        """Call *then* when it happens.  There is room for one."""
        self._then = then

    def __await__(self) -> Generator["Later", None, None]:
        if not self.over:
            yield self
        if self._error is not None:
            raise self._error


class Steps:
    """Owns its coroutine, from `go` to the end."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self._coroutine = coroutine
        self._waits_for: Awaited | None = None

    def go(self) -> None:
        """Run to the first thing that has to be waited for."""
        self._step(None)

    def cancel(self, reason: str) -> None:
        """Raise CancelledError(*reason*) where it waits; nothing happens if it does not."""
        if self._waits_for is not None:
            self._step(asyncio.CancelledError(reason))

    def _wake(self, happened: Awaited) -> None:
        if happened is self._waits_for:  # and not something that it waited for before it was cancelled
            self._step(None)

    def _step(self, error: BaseException | None) -> None:
        self._waits_for = None
        try:
            waits_for = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration:
            return
        self._waits_for = waits_for
        if not isinstance(waits_for, Later):
            waits_for._asyncio_future_blocking = False  # as a task does it: or nobody else could await the same future
        waits_for.add_done_callback(self._wake)
