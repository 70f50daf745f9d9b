"""Waiting for a handshake, and for a farewell: the two places where a session waits for one socket.

Nothing is decided here.  The sockets stay the caller's and are not being watched when these return.
"""

import asyncio
import socket

from mtls_tunnel.flow.loop import READ, WRITE, Poll
from mtls_tunnel.flow.steps import Later
from mtls_tunnel.tls.engine import Engine

FAREWELL_SECONDS = 1.0
FAREWELL_BYTES = 1 << 18


class _Watch:
    """Drives one engine from the poll until its handshake is over, one way or the other."""

    __slots__ = ("_descriptor", "_engine", "_mask", "_over", "_poll")

    def __init__(self, poll: Poll, descriptor: int, engine: Engine, over: Later) -> None:
        self._poll = poll
        self._descriptor = descriptor
        self._engine = engine
        self._over = over
        self._mask = _wanted(engine)
        poll.watch(descriptor, self._mask, self.step)

    def step(self, _: int) -> None:
        error: Exception | None = None
        try:
            if not self._engine.handshake():
                mask = _wanted(self._engine)
                if mask != self._mask:
                    self._mask = mask
                    self._poll.change(self._descriptor, mask)
                return
        except Exception as failure:  # whatever it is belongs to the session that waits
            error = failure
        # First this: who waits goes on at once, and watches the descriptor for its own ends.
        self._poll.forget(self._descriptor)
        self._over.finish(error)


def _wanted(engine: Engine) -> int:
    # Never both: what is there to read would be reported over and over while the engine waits to write.
    return WRITE if engine.wants_write else READ


async def shake(poll: Poll, descriptor: int, engine: Engine, over: Later, *, at_once: bool) -> None:
    """Finish the handshake of *engine*, or be ended by *over*, with the error it is finished with.

    It has something to do *at_once* as a client, and as a server whose client has spoken already.

    Raises:
        PeerRejected: it failed; an alert that says why is on its way.
    """
    if at_once and engine.handshake():
        return
    _Watch(poll, descriptor, engine, over)
    try:
        await over
    except BaseException:
        poll.forget(descriptor)
        raise


class _Farewell:
    """Reads and throws away, until the peer has ended too, has sent too much, or time is up."""

    __slots__ = ("_left", "_sock", "over")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = FAREWELL_BYTES
        self.over = Later()

    def discard(self, _: int) -> None:
        try:
            count = len(self._sock.recv(16384))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._left -= count
        if not count or self._left < 0:
            self.over.finish()


async def farewell(poll: Poll, sock: socket.socket) -> None:
    """Send a FIN and read on a little, so that the alert before it arrives: unread input would turn it into an RST."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the peer has gone already
    last = _Farewell(sock)
    poll.watch(sock.fileno(), READ, last.discard)
    timer = asyncio.get_running_loop().call_later(FAREWELL_SECONDS, last.over.finish)
    try:
        await last.over
    finally:
        timer.cancel()
        poll.forget(sock.fileno())
