"""Connections that only wait are closed: silent ones, those whose request does not get on, those too many.

aiohttp limits sizes and closes an idle connection after a request; it does not limit how long the first
request may take to arrive, nor the number of connections.  A `Guard` stands before it as the protocol that
asyncio knows and passes everything on.

In a crowd a newcomer takes the place of the connection that has been idle longest: refusing newcomers would let
anybody who holds enough connections keep the API server out.
"""

import asyncio
from collections.abc import Callable
from typing import Any

HEAD_SECONDS = 10.0  # for the head of a request, from its first byte or from the connection on
MOST_CONNECTIONS = 1000


class Guard:
    """A protocol factory around another one; `begun` and `ended` frame each request."""

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        *,
        most: int = MOST_CONNECTIONS,
        head_seconds: float = HEAD_SECONDS,
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.make = make
        self.most = most
        self.head_seconds = head_seconds
        self.counted = counted  # silent or crowded: for metrics
        self.open: dict[object, _Guarded] = {}  # the one that was active last stands last

    def __call__(self) -> asyncio.Protocol:
        return _Guarded(self)

    def begun(self, inner: object) -> None:
        """The head of a request has arrived."""
        if guarded := self.open.get(inner):
            guarded.begun()

    def ended(self, inner: object) -> None:
        """It has been answered."""
        if guarded := self.open.pop(inner, None):
            guarded.busy = False
            self.open[inner] = guarded

    def has_room(self) -> bool:
        """Whether one more may come in, now that an idle one may have had to leave."""
        if len(self.open) < self.most:
            return True
        self.counted("crowded")
        idle = next((inner for inner, guarded in self.open.items() if not guarded.busy), None)
        if idle is not None:
            self.open.pop(idle).leave()
        return idle is not None


class _Guarded(asyncio.Protocol):
    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner: Any = None  # asyncio's protocols share no type that has all methods
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._guard.has_room():
            _abort(transport)
            return
        self._transport = transport
        self._inner = self._guard.make()
        self._guard.open[self._inner] = self
        self._inner.connection_made(transport)
        self._arm()

    def begun(self) -> None:
        self.busy = True
        self._disarm()

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        if not self.busy and self._timer is None:
            self._arm()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner else None

    def pause_writing(self) -> None:
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._inner is not None:
            self._guard.open.pop(self._inner, None)
            self._inner.connection_lost(exc)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._guard.head_seconds, self._cut)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self._timer = None
        self._guard.counted("silent")
        self.leave()

    def leave(self) -> None:
        if self._transport is not None:
            _abort(self._transport)


def _abort(transport: asyncio.BaseTransport) -> None:
    # A polite end over TLS would wait for the answer of a peer that does not answer.
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()
