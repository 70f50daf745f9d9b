"""Log lines as a collector reads them: whatever is logged comes back, value by value, from both formats.

The readers here are independent of the writers: an own one for the text form (the grammar of Go's slog
text handler and of strconv.Unquote), the standard library's for JSON.
"""

import json
import logging
import re
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.slog import json_line, text_line

NOW = 1_774_739_264.0  # 2026-03-28T23:07:44Z
VALUE = st.text(st.characters(codec="utf-8"), max_size=200)
KEY = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
LEVEL = st.sampled_from([logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])

_PAIR = re.compile(r'(?P<key>[^ ="]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^ ="]+))(?: |$)')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def read_text(line: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(line):
        match = _PAIR.match(line, at)
        assert match is not None, line[at:]
        bare = match["bare"]
        pairs.append((match["key"], unquoted(match["quoted"]) if bare is None else bare))
        at = match.end()
    return pairs


def unquoted(text: str) -> str:
    def meant(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        return chr(int(code, 16)) if code else _LETTERS[match[4]]

    return _ESCAPE.sub(meant, text)


@given(LEVEL, VALUE, st.dictionaries(KEY, VALUE, max_size=8))
def test_a_text_line_reads_back_as_what_was_logged(level: int, msg: str, attributes: dict[str, str]) -> None:
    when, shown, *rest = read_text(text_line(NOW, level, msg, attributes))
    assert when == ("time", "2026-03-28T23:07:44.000Z")
    assert shown == ("level", {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR"}[level])
    assert rest == [("msg", msg), *attributes.items()]


@given(LEVEL, VALUE, st.dictionaries(KEY, VALUE, max_size=8))
def test_both_formats_say_the_same_in_the_same_order(level: int, msg: str, attributes: dict[str, str]) -> None:
    from_json = json.loads(json_line(NOW, level, msg, attributes), object_pairs_hook=list)
    assert read_text(text_line(NOW, level, msg, attributes)) == [tuple(pair) for pair in from_json]


@given(st.floats(min_value=0, max_value=4e9))
def test_times_are_read_by_any_rfc_3339_reader_to_the_millisecond(seconds: float) -> None:
    text = text_line(seconds, logging.INFO, "m", {}).partition(" ")[0].removeprefix("time=")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert -0.0011 < datetime.fromisoformat(text).timestamp() - seconds < 0.0001
