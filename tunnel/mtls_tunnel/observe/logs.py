"""The one way everybody logs: `emit(level, msg, **attributes)` writes one line in the shape of Go's slog.

Built on the standard library's logging, under the logger ``mtls_tunnel``, so that an embedding program or
a test can listen in.  More than 20 identical warnings (same message, reason, verified name) in a second
are folded into one with a count: a stranger who fails handshakes in a loop cannot fill a disk.

Other libraries' warnings (asyncio's above all) come out in the same shape, so stdout never mixes formats.
"""

import asyncio
import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TextIO

from mtls_tunnel.config.schema import Logging
from mtls_tunnel.observe.fold import Fold
from mtls_tunnel.observe.sink import Sink
from mtls_tunnel.observe.slog import Shape, json_line, text_line

LOGGER_NAME = "mtls_tunnel"
DEBUG, INFO, WARN, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

_LOGGER = logging.getLogger(LOGGER_NAME)
_LEVELS = {"debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}
_SHAPES: dict[str, Shape] = {"text": text_line, "json": json_line}
# What makes two warnings different.  Not here: what a stranger chooses freely (address, subject of a
# certificate that nobody verified), or each attempt would be a warning of its own.
_TELLING = ("reason", "rule", "tunnel", "peer_cn", "peer_uri", "file", "key", "name", "target")
_NO_ATTRIBUTES: Mapping[str, object] = {}


def emit(level: int, msg: str, /, **attributes: object) -> None:
    """Log *msg* with *attributes* in the order given; those that are None are left out."""
    if not _LOGGER.isEnabledFor(level):
        return
    record = _LOGGER.makeRecord(LOGGER_NAME, level, "", 0, msg, (), None)
    record.attributes = {key: value for key, value in attributes.items() if value is not None}
    _LOGGER.handle(record)


def configure(settings: Logging, stream: TextIO | None = None) -> None:
    """Log to *stream* (standard output) as *settings* say from now on; call again after a reload."""
    stream = sys.stdout if stream is None else stream
    handler = next((known for known in _LOGGER.handlers if isinstance(known, LineHandler)), None)
    if handler is None or handler.sink.stream is not stream:
        if handler is not None:
            _LOGGER.removeHandler(handler)
            logging.getLogger().removeHandler(handler)
            handler.close()
        handler = LineHandler(stream)
        _LOGGER.addHandler(handler)
        logging.getLogger().addHandler(handler)  # the root logger passes on WARNING and above
    handler.shape = _SHAPES[settings.format]
    _LOGGER.propagate = False
    _LOGGER.setLevel(_LEVELS[settings.level])


def call_later(seconds: float, callback: Callable[[], None]) -> bool:
    """Ask the running event loop to call back; False where there is none (the next line does it then)."""
    try:
        asyncio.get_running_loop().call_later(seconds, callback)
    except RuntimeError:
        return False
    return True


class LineHandler(logging.Handler):
    """Shapes, folds and writes records.  Does not own the stream."""

    def __init__(
        self,
        stream: TextIO,
        shape: Shape = text_line,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], bool] = call_later,
    ) -> None:
        super().__init__()
        self.sink = Sink(stream)
        self.shape = shape
        self._clock = clock
        self._later = later
        self._fold: Fold[logging.LogRecord] = Fold()
        self._flush_asked = False

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        self._write_held(now)
        if record.levelno != WARN or self._fold.admit(_sameness(record), record, now):
            self._write(record)
        elif not self._flush_asked:
            self._flush_asked = self._later(self._fold.window_seconds, self._flush_due)

    def flush(self) -> None:
        """Write what is held back, at once; the standard library calls this at exit."""
        with self.lock or contextlib.nullcontext():
            self._write_held(float("inf"))

    def close(self) -> None:
        """Write what is held back and give back what the sink opened."""
        self.flush()
        self.sink.close()
        super().close()

    def _flush_due(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._write_held(self._clock())
            self._flush_asked = self._fold.holds and self._later(self._fold.window_seconds, self._flush_due)

    def _write_held(self, now: float) -> None:
        for record, count in self._fold.due(now):
            self._write(record, count=count)

    def _write(self, record: logging.LogRecord, **more: object) -> None:
        missing = self.sink.lost
        msg, attributes = _content(record)
        line = self.shape(record.created, record.levelno, msg, {**attributes, **more})
        if self.sink.write(line) and missing:
            self.sink.lost = 0
            self.sink.write(self.shape(record.created, WARN, "log: lines were lost", {"count": missing}))


def _sameness(record: logging.LogRecord) -> tuple[str, ...]:
    msg, attributes = _content(record)
    return msg, *(f"{key}={attributes[key]}" for key in _TELLING if key in attributes)


def _content(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    attributes = getattr(record, "attributes", None)
    if attributes is not None:
        return record.msg, attributes
    return _foreign(record)


def _foreign(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """A record of another library: its logger's name in front, an exception and where it came from behind."""
    try:
        msg = f"{record.name}: {record.getMessage()}"
    except (TypeError, ValueError):  # arguments that do not fit the format
        msg = f"{record.name}: {record.msg}"
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return msg, _NO_ATTRIBUTES
    frames = traceback.extract_tb(error.__traceback__)
    where = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return msg, {"error": f"{type(error).__name__}: {error}"} | ({"where": where} if where else {})
