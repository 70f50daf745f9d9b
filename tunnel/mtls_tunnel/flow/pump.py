"""The hot path: bytes from each of two streams go to the other, until both directions are over or one breaks.

House rules:
* Each direction is a `Half` of its own: end of input becomes end of output, after all bytes; the other half goes on.
* At most one buffer per direction: what the sink does not take is kept once, and its source is not read meanwhile.
* No stream is asked in vain: a short read means "empty for now"; readiness is level-triggered and asked for again.
* One wake-up moves a bounded number of bytes, so that a bulk transfer cannot starve its neighbours.
* A reset is passed on as a reset, to the other side; so is an input that must not be truncated and is.

The pump is deaf to TLS: streams read, write and end.  It runs inside `loop.Poll`, holds no task and no timer, and
owns both sockets from `start` on.  When it is over it calls `over(reason)` once, with both sockets closed.

Sources: RFC 9293 §3.6 (half-close), §3.10.7 (reset).
"""

import errno
import socket
from collections.abc import Callable
from typing import Protocol

from mtls_tunnel.flow.loop import FAULT, READ, WRITE, Poll
from mtls_tunnel.flow.stream import reset
from mtls_tunnel.tls.engine import Chunks

BUFFER_BYTES = 262144  # what is read at once; one such buffer for all connections, one copy for each that is stuck
ROUNDS = 4  # reads per wake-up and direction
LAST_WORDS_ROUNDS = 16  # reads that are still carried from a side that has stopped reading
_UNWATCHED = -1
_RESETS = frozenset((errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT))
_ENOUGH = BUFFER_BYTES // 2  # a read of less has probably left nothing behind


class Stream(Protocol):
    """What is carried: `PlainStream` or `tls.engine.Engine`."""

    wants_write: bool

    @property
    def truncated(self) -> bool: ...

    def read(self) -> Chunks | None: ...

    def write(self, chunks: Chunks) -> int: ...

    def end(self) -> bool: ...

    def drop(self) -> None: ...


class Half:
    """One direction."""

    __slots__ = ("ended", "moved", "pending", "shut", "sink", "source")

    def __init__(self, source: Stream, sink: Stream) -> None:
        self.source = source
        self.sink = sink
        self.pending: bytes | None = None  # read and not yet taken by the sink; b"" if only the end is
        self.moved = 0
        self.ended = False  # the source has nothing more
        self.shut = False  # and the sink has been told


class Side:
    """One socket of the pump and what epoll is asked about it."""

    __slots__ = ("descriptor", "mask", "sock", "stream")

    def __init__(self, sock: socket.socket, stream: Stream) -> None:
        self.sock = sock
        self.stream = stream
        self.descriptor = sock.fileno()
        self.mask = _UNWATCHED


class Pump:
    """Carries between `near`, the accepted side, and `far`, the dialled one."""

    __slots__ = ("_over", "_poll", "_strict", "broke", "down", "far", "near", "reason", "truncated", "up")

    def __init__(
        self,
        poll: Poll,
        near: Side,
        far: Side,
        over: Callable[[str, BaseException | None], None],
        *,
        strict: bool = False,
    ) -> None:
        """*strict*: an input that ends without its close_notify is passed on as a reset."""
        self._poll = poll
        self._strict = strict
        self._over = over
        self.near = near
        self.far = far
        self.up = Half(near.stream, far.stream)
        self.down = Half(far.stream, near.stream)
        self.truncated = False
        self.broke: Stream | None = None  # the one whose fault ended it
        self.reason = ""

    @property
    def halfway(self) -> bool:
        """Whether one input has ended and the other has not."""
        return self.up.ended != self.down.ended

    def start(self) -> None:
        """Watch both sockets.  What has come before is there to read: nothing was read past the handshake."""
        self.near.mask = self.far.mask = READ
        self._poll.watch(self.near.descriptor, READ, self.on_near)
        self._poll.watch(self.far.descriptor, READ, self.on_far)

    def on_near(self, mask: int) -> None:
        """Called by the poll for the accepted side."""
        try:
            if mask == READ:
                self._move(self.up)
            else:
                self._event(self.near, mask, self.down, self.up)
        except Exception as error:  # a root: one connection's failure must not reach the loop
            self.abort("error", error)

    def on_far(self, mask: int) -> None:
        """Called by the poll for the dialled side."""
        try:
            if mask == READ:
                self._move(self.down)
            else:
                self._event(self.far, mask, self.up, self.down)
        except Exception as error:  # a root, as above
            self.abort("error", error)

    def urge(self) -> None:
        """Offer what waits to its sink once more, without having been told of room.

        Linux tells of it when a third of a send buffer is free: to a slow reader megabytes, and minutes in which the
        source would see nothing move.
        """
        try:
            for half in (self.up, self.down):
                if half.pending is not None:
                    self._flush(half)
        except Exception as error:  # a root, as above
            self.abort("error", error)

    def abort(self, reason: str, error: BaseException | None = None) -> None:
        """End it now, with a reset to both sides: neither may take what it got for the whole."""
        if self.reason:
            return
        self.reason = reason
        self._forget()
        reset(self.near.sock)
        reset(self.far.sock)
        self._over(reason, error)

    def _event(self, side: Side, mask: int, into: Half, out: Half) -> None:
        """All that is not simply "readable": *into* writes to *side*, *out* reads from it."""
        if mask & WRITE and not self.reason:
            self._writable(into, out)
        if mask & ~WRITE and not self.reason:
            if side.mask & READ:
                self._move(out)
            elif mask & FAULT:
                self._hung(side)

    def _move(self, half: Half) -> None:
        """Carry what is there, up to `ROUNDS` reads."""
        if half.ended or half.pending is not None:
            return None  # an event from before that changed, in the same batch
        rounds = ROUNDS
        while rounds:
            rounds -= 1
            try:
                chunks = half.source.read()
            except OSError as error:
                return self._broken(half.source, error)
            if not chunks:
                if chunks is not None:
                    self._ended(half)
                elif half.source.wants_write:
                    self._interest()
                return None
            count = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
            half.moved += count
            try:
                taken = half.sink.write(chunks)
            except OSError as error:
                return self._refused(half, error)
            if taken != count:
                half.pending = b"".join(chunks)[taken:]
                return self._interest()
            if count < _ENOUGH:
                return None
        return None

    def _writable(self, half: Half, back: Half) -> None:
        """Go on with what waits for the sink of *half*; *back* is the other half, whose source that socket is."""
        if half.pending is not None:
            self._flush(half)
        if back.source.wants_write and not self.reason:
            back.source.wants_write = False
            self._move(back)
            self._interest()

    def _flush(self, half: Half) -> None:
        pending = half.pending or b""
        if pending:
            try:
                taken = half.sink.write((pending,))
            except OSError as error:
                return self._refused(half, error)
            if taken < len(pending):
                half.pending = pending[taken:]
                return None
        half.pending = None
        return self._shut(half) if half.ended else self._interest()

    def _ended(self, half: Half) -> None:
        half.ended = True
        if half.source.truncated:
            self.truncated = True
            if self._strict:
                return self.abort("truncated")
        return self._shut(half) if half.pending is None else self._interest()

    def _shut(self, half: Half) -> None:
        """Tell the sink that its input is over: close_notify where there is TLS, then FIN."""
        try:
            if not half.sink.end():
                half.pending = b""
                return self._interest()
            (self.near if half is self.down else self.far).sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if not (self.up.ended and self.down.ended):
                return self._broken(half.sink, error)
            # Both inputs are over and all was written: that this last word did not arrive changes nothing.
        half.shut = True
        return self._finish() if self.up.shut and self.down.shut else self._interest()

    def _finish(self) -> None:
        self.reason = "truncated" if self.truncated else "eof"
        self._forget()
        self.near.sock.close()
        self.far.sock.close()
        self._over(self.reason, None)

    def _broken(self, stream: Stream, error: OSError) -> None:
        self.broke = stream
        self.abort("reset" if error.errno in _RESETS else "error", error)

    def _refused(self, half: Half, error: OSError) -> None:
        """The sink takes no more.  What it has said before is still carried the other way, then it breaks."""
        back = self.up if half is self.down else self.down
        half.pending = None
        for _ in range(LAST_WORDS_ROUNDS):
            if back.pending is not None or back.ended:
                break
            try:
                chunks = back.source.read()
                if not chunks:
                    break
                count = sum(map(len, chunks))
                back.moved += count
                if back.sink.write(chunks) < count:
                    break
            except OSError:
                break
        self._broken(half.sink, error)

    def _hung(self, side: Side) -> None:
        """A socket that is not being read reports a reset, or that both its directions are over."""
        fault = side.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            return self._broken(side.stream, OSError(fault, "reset while not being read"))
        # It would be reported for ever; `_interest` takes it back in when there is something to ask for.
        self._poll.forget(side.descriptor)
        side.mask = _UNWATCHED
        return None

    def _interest(self) -> None:
        up, down = self.up, self.down
        self._ask(self.near, up, down, self.on_near)
        self._ask(self.far, down, up, self.on_far)

    def _ask(self, side: Side, out: Half, into: Half, watcher: Callable[[int], None]) -> None:
        """*out* is the half that reads from *side*, *into* the one that writes to it."""
        blocked = side.stream.wants_write  # a read that waits to write; what is there to read would only spin
        mask = 0 if out.ended or out.pending is not None or blocked else READ
        if into.pending is not None or blocked:
            mask |= WRITE
        if mask == side.mask:
            return
        if side.mask != _UNWATCHED:
            self._poll.change(side.descriptor, mask)
        elif mask:
            self._poll.watch(side.descriptor, mask, watcher)
        else:
            return
        side.mask = mask

    def _forget(self) -> None:
        for side in (self.near, self.far):
            if side.mask != _UNWATCHED:
                self._poll.forget(side.descriptor)
                side.mask = _UNWATCHED
            side.stream.drop()
        for half in (self.up, self.down):
            half.pending = None
            half.ended = True  # for events that are still in the batch
