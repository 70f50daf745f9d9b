"""Waiting for a handshake, and for a farewell: the two places where a session waits for one socket under a deadline.

Nothing is decided here.  The sockets stay the caller's and are not being watched when these return.
"""

import asyncio
import socket

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.flow.loop import READ, WRITE, Poll
from mtls_tunnel.tls.engine import Engine

FAREWELL_SECONDS = 1.0
FAREWELL_BYTES = 1 << 18


class _Watch:
    """Drives one engine from the poll until its handshake is over, one way or the other."""

    __slots__ = ("_descriptor", "_engine", "_mask", "_poll", "over")

    def __init__(self, poll: Poll, descriptor: int, engine: Engine, over: "asyncio.Future[None]") -> None:
        self._poll = poll
        self._descriptor = descriptor
        self._engine = engine
        self.over = over
        self._mask = _wanted(engine)
        poll.watch(descriptor, self._mask, self.step)

    def step(self, _: int) -> None:
        if self.over.done():
            return
        try:
            if self._engine.handshake():
                self.over.set_result(None)
        except Exception as error:  # whatever it is belongs to the session that waits
            self.over.set_exception(error)
        if self.over.done():
            self._poll.forget(self._descriptor)
            return
        mask = _wanted(self._engine)
        if mask != self._mask:
            self._mask = mask
            self._poll.change(self._descriptor, mask)

    def expire(self, seconds: float) -> None:
        if not self.over.done():
            self.over.set_exception(PeerRejected("timeout", f"the handshake was not over within {seconds:g} s"))


def _wanted(engine: Engine) -> int:
    # Never both: what is there to read would be reported over and over while the engine waits to write.
    return WRITE if engine.wants_write else READ


async def shake(poll: Poll, descriptor: int, engine: Engine, *, speaks_first: bool, seconds: float) -> None:
    """Finish the handshake of *engine* within *seconds* (0: no limit).  A client *speaks_first*.

    Raises:
        PeerRejected: it failed; an alert that says why is on its way, but for a timeout.
    """
    if speaks_first and engine.handshake():
        return
    loop = asyncio.get_running_loop()
    watch = _Watch(poll, descriptor, engine, loop.create_future())
    timer = loop.call_later(seconds, watch.expire, seconds) if seconds else None
    try:
        await watch.over
    finally:
        poll.forget(descriptor)
        if timer is not None:
            timer.cancel()


async def farewell(poll: Poll, sock: socket.socket) -> None:
    """Send a FIN and read on a little, so that the alert before it arrives: unread input would turn it into an RST."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    left = FAREWELL_BYTES

    def discard(_: int) -> None:
        nonlocal left
        try:
            count = len(sock.recv(16384))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        left -= count
        if (not count or left < 0) and not over.done():
            over.set_result(None)

    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the peer has gone already
    poll.watch(sock.fileno(), READ, discard)
    timer = loop.call_later(FAREWELL_SECONDS, over.cancel)
    try:
        await asyncio.wait((over,))
    finally:
        timer.cancel()
        poll.forget(sock.fileno())
