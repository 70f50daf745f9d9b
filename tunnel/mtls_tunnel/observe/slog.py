"""One log event becomes one line, in the text or the JSON shape of Go's `log/slog`.

What slog leaves to the terminal is settled here, because values come from the certificates of strangers:
every character that does not print (C0, DEL, C1, U+2028, U+2029, bidi controls, lone surrogates) is
escaped, in JSON too, and a value is cut at `MAX_VALUE_CHARACTERS`.  So a line is always one line.

Pure: no clock, no output.  Sources: Go `log/slog` TextHandler (`needsQuoting`), `strconv.Quote`, RFC 8259.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

MAX_VALUE_CHARACTERS = 4096

Shape = Callable[[float, int, str, Mapping[str, object]], str]

_TEXT_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f",
    "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_MARKS = frozenset(' ="\ufffd')  # what has to be quoted although it prints
_JSON_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text_line(seconds: float, level: int, msg: str, attributes: Mapping[str, object]) -> str:
    """``time=... level=... msg=... key=value``, without a line end."""
    parts = [f"time={time_text(seconds)} level={level_name(level)} msg={_known(msg)}"]
    parts += [f"{_known(key)}={quoted(plain(value))}" for key, value in attributes.items()]
    return " ".join(parts)


def json_line(seconds: float, level: int, msg: str, attributes: Mapping[str, object]) -> str:
    """``{"time":"...","level":"...","msg":"...",...}``, without a line end."""
    head = f'"time":"{time_text(seconds)}","level":"{level_name(level)}","msg":{json_text(msg)}'
    rest = "".join(f",{json_text(key)}:{json_value(value)}" for key, value in attributes.items())
    return f"{{{head}{rest}}}"


def time_text(seconds: float) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def level_name(level: int) -> str:
    """Go's four names; Python's CRITICAL is an ERROR there."""
    if level >= logging.ERROR:
        return "ERROR"
    if level >= logging.WARNING:
        return "WARN"
    return "INFO" if level >= logging.INFO else "DEBUG"


def plain(value: object) -> str:
    """*value* as Go's ``%v`` prints it, not yet quoted."""
    match value:
        case str():
            return value if len(value) <= MAX_VALUE_CHARACTERS else _cut(value)
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case datetime():
            return time_text(value.timestamp())
        case Mapping():
            return f"map[{' '.join(f'{plain(key)}:{plain(item)}' for key, item in value.items())}]"
        case list() | tuple():
            return f"[{' '.join(map(plain, value))}]"
        case set() | frozenset():
            return f"[{' '.join(sorted(map(plain, value)))}]"
        case BaseException():
            return plain(str(value) or type(value).__name__)
    return plain(str(value))


def quoted(text: str) -> str:
    """*text* as slog's text handler prints it: bare where that is unambiguous, else as Go quotes strings."""
    if text and text.isprintable() and _MARKS.isdisjoint(text):
        return text
    return f'"{_escaped(text, _TEXT_ESCAPES, _go_escape)}"'


_known = functools.lru_cache(maxsize=512)(quoted)  # keys and messages are few, and the same in every line


def json_text(text: str) -> str:
    """*text* as a JSON string; what does not print is escaped, a lone surrogate becomes U+FFFD."""
    return f'"{_escaped(text, _JSON_ESCAPES, _json_escape)}"'


def json_value(value: object) -> str:
    """*value* as JSON; what JSON has no form for (NaN, dates, errors) is a string."""
    match value:
        case None:
            return "null"
        case bool() | int():
            return plain(value)
        case float() if value - value == 0:  # neither infinite nor NaN
            return plain(value)
        case Mapping():
            return f"{{{_joined(f'{json_text(plain(key))}:{json_value(item)}' for key, item in value.items())}}}"
        case list() | tuple():
            return f"[{_joined(map(json_value, value))}]"
        case set() | frozenset():
            return f"[{_joined(sorted(map(json_value, value)))}]"
    return json_text(plain(value))


def _joined(items: Iterable[str]) -> str:
    return ",".join(items)


def _cut(text: str) -> str:
    return f"{text[:MAX_VALUE_CHARACTERS]}...({len(text) - MAX_VALUE_CHARACTERS} more)"


def _escaped(text: str, short: Mapping[str, str], long: Callable[[int], str]) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(short.get(letter) or (letter if letter.isprintable() else long(ord(letter))) for letter in text)


def _go_escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        return "\\ufffd"
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
