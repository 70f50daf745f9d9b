"""Where log lines go: a stream's descriptor, written without ever waiting for a reader that has stopped.

A pipe whose reader stalls would otherwise stop the event loop, and with it every connection.  Here a
line waits at most `PATIENCE_SECONDS`, once in a `PATIENCE_EVERY_SECONDS`; what finds no room then is
dropped and counted.  A closed pipe or a full disk loses lines, no more.

The descriptor stays as it is: O_NONBLOCK would be shared with every other owner of a terminal.  A terminal
is opened anew instead, because it says "writable" and then blocks (Ctrl-S), which pipes do not.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import TextIO

PATIENCE_SECONDS = 0.05
PATIENCE_EVERY_SECONDS = 1.0  # so that a reader that is always a little late costs a twentieth of the time at most
_PIECE = select.PIPE_BUF  # POLLOUT promises room for this much, and up to here a write is atomic


class Sink:
    """Writes lines to *stream*; never raises, never waits long.  Does not own the stream.

    Python gives a program that was started without standard output None for it: every line is lost then.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.lost = 0
        self._clock = clock
        self._patient_from = clock()
        self._descriptor: int | None = None
        self._torn = False  # the last line was written in part
        self._terminal: int | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._descriptor = stream.fileno()
            self._descriptor = self._terminal = _terminal(self._descriptor)

    def write(self, line: str) -> bool:
        """Write *line* and a line end at once; False if it was dropped.  Drops are counted in `lost`."""
        if self._descriptor is None:
            return self._write_text(line)
        octets = ("\n" if self._torn else "").encode() + line.encode("utf-8", "replace") + b"\n"
        if self._write_octets(self._descriptor, octets):
            return True
        self.lost += 1
        return False

    def close(self) -> None:
        """Give back the terminal that was opened; the stream stays open."""
        if self._terminal is not None:
            os.close(self._terminal)
            self._descriptor = self._terminal = None

    def _write_text(self, line: str) -> bool:
        try:
            self.stream.write(f"{line}\n")
            self.stream.flush()
        except (OSError, ValueError, AttributeError):
            self.lost += 1
            return False
        return True

    def _write_octets(self, descriptor: int, octets: bytes) -> bool:
        view = memoryview(octets)
        try:
            while view:
                if not (_writable(descriptor, 0) or self._wait(descriptor)):
                    return False
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(descriptor, view[:_PIECE]) :]
                    self._torn = bool(view)
                    continue
                if not self._wait(descriptor):
                    return False
        except OSError:  # EPIPE, ENOSPC, EIO
            return False
        return True

    def _wait(self, descriptor: int) -> bool:
        now = self._clock()
        if now < self._patient_from:
            return False
        self._patient_from = now + PATIENCE_EVERY_SECONDS
        return _writable(descriptor, PATIENCE_SECONDS)


def _terminal(descriptor: int) -> int:
    """The terminal behind *descriptor*, opened anew.  Raises OSError if it is none, or not ours to open."""
    return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


def _writable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
