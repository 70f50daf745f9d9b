"""One log record becomes one line on standard output: text as Go's slog prints it, or JSON.

Rooms log with the standard library: ``log.info("admission: pod injected", extra={"namespace": "shop"})``;
what stands in `extra` becomes the line's attributes, in that order, and None is left out.  Values come from
users' objects: every character that does not print is escaped, so that a line is always one line, and a
value is cut at `LONGEST_VALUE`.  Records of other libraries carry their logger's name in front.
"""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("text", "json")
LONGEST_VALUE = 4096
OURS = "mtls_tunnel_operator"

# What the standard library puts on every record, and kopf on its own.
_KOPF = {"settings", "k8s_ref", "k8s_skip"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"} | _KOPF
_BARE = frozenset('="\\ ')  # what has to be quoted although it prints


def configure(level: str = "info", form: str = "text", stream: TextIO | None = None) -> None:
    """Log to *stream* (standard output) from now on; a second call takes the place of the first.

    *level* is ours; other libraries speak from WARNING on, because their INFO is a line for each request.
    """
    handler = logging.StreamHandler(sys.stdout if stream is None else stream)
    handler.setFormatter(Line(form))
    root = logging.getLogger()
    for known in [one for one in root.handlers if isinstance(one.formatter, Line)]:
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger(OURS).setLevel(LEVELS[level])


class Line(logging.Formatter):
    """Formats a record; *form* is ``text`` or ``json``."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        pairs = [("time", moment(record.created)), ("level", _level(record.levelno)), *_content(record)]
        if self._json:
            return json.dumps(dict(pairs), default=_plain).replace("\x7f", "\\u007f")  # the one that JSON lets pass
        return " ".join(f"{key}={_quoted(value)}" for key, value in pairs)


def _content(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    text = record.getMessage()
    yield "msg", _cut(text if record.name.partition(".")[0] == OURS else f"{record.name}: {text}")
    for key, value in vars(record).items():
        if key not in _STANDARD and value is not None:
            yield key, value if isinstance(value, (bool, int, float)) else _plain(value)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not hasattr(record, "error"):
        yield "error", _plain(error)
    if error is not None:
        yield "where", _where(error)


def _where(error: BaseException) -> str:
    """File, line and function of each frame: enough to find it, on one line."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return _cut(" > ".join(frames))


def _plain(value: object) -> str:
    if isinstance(value, BaseException):
        return _cut(str(value) or type(value).__name__)
    if isinstance(value, (list, tuple)):
        return _cut(",".join(map(_plain, value)))
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}...({len(text) - LONGEST_VALUE} more)"


def _quoted(value: object) -> str:
    text = ("false", "true")[value] if isinstance(value, bool) else _plain(value)
    if text and text.isprintable() and _BARE.isdisjoint(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str) -> str:
    if letter.isprintable() and letter not in '"\\':
        return letter
    return "\\x7f" if letter == "\x7f" else json.dumps(letter)[1:-1]


def moment(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _level(level: int) -> str:
    if level >= logging.ERROR:
        return "ERROR"
    if level >= logging.WARNING:
        return "WARN"
    return "INFO" if level >= logging.INFO else "DEBUG"
