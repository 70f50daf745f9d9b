"""The shapes of Go's slog, and that no value can break out of its line."""

import json
import logging
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.slog import MAX_VALUE_CHARACTERS, json_line, level_name, plain, quoted, text_line, time_text

MOMENT = datetime(2026, 3, 28, 23, 7, 44, tzinfo=UTC).timestamp()
HARMLESS = st.text(st.characters(codec="utf-8"))
ANYTHING = st.text(st.characters())  # with lone surrogates


def test_a_line_of_text_is_the_one_in_the_readme() -> None:
    line = text_line(MOMENT, logging.INFO, "listener: accepted connection", {"peer_cn": "frontend-service"})
    assert line == (
        'time=2026-03-28T23:07:44.000Z level=INFO msg="listener: accepted connection" peer_cn=frontend-service'
    )


def test_a_line_of_json_is_the_one_in_the_readme() -> None:
    line = json_line(MOMENT, logging.INFO, "listener: accepted connection", {"peer_cn": "frontend-service"})
    assert line == (
        '{"time":"2026-03-28T23:07:44.000Z","level":"INFO",'
        '"msg":"listener: accepted connection","peer_cn":"frontend-service"}'
    )


@pytest.mark.parametrize(
    ("value", "text", "as_json"),
    [
        pytest.param("plain", "plain", '"plain"', id="a bare word"),
        pytest.param("", '""', '""', id="an empty string"),
        pytest.param("two words", '"two words"', '"two words"', id="a space"),
        pytest.param("a=b", '"a=b"', '"a=b"', id="an equals sign"),
        pytest.param('say "hi"', '"say \\"hi\\""', '"say \\"hi\\""', id="quotes"),
        pytest.param("C:\\x", "C:\\x", '"C:\\\\x"', id="a backslash alone needs no quotes in text"),
        pytest.param("C:\\x y", '"C:\\\\x y"', '"C:\\\\x y"', id="a backslash within quotes"),
        pytest.param("a\nb\r\tc", '"a\\nb\\r\\tc"', '"a\\nb\\r\\tc"', id="line ends and tab"),
        pytest.param("\a\b\f\v", '"\\a\\b\\f\\v"', '"\\u0007\\b\\f\\u000b"', id="the other letters of C"),
        pytest.param("\x00\x1b[2J", '"\\x00\\x1b[2J"', '"\\u0000\\u001b[2J"', id="NUL and ESC"),
        pytest.param("\x7f", '"\\x7f"', '"\\u007f"', id="DEL"),
        pytest.param("\x9b", '"\\u009b"', '"\\u009b"', id="C1"),
        pytest.param("\u2028\u2029", '"\\u2028\\u2029"', '"\\u2028\\u2029"', id="Unicode line ends"),
        pytest.param("\u202e", '"\\u202e"', '"\\u202e"', id="right-to-left override"),
        pytest.param("\U000e0001", '"\\U000e0001"', '"\\udb40\\udc01"', id="a tag character"),
        pytest.param("\udcff", '"\\xff"', '"\\ufffd"', id="a byte that was no UTF-8"),
        pytest.param("\ud800", '"\\ud800"', '"\\ufffd"', id="a lone surrogate"),
        pytest.param("\ufffd", '"\ufffd"', '"\ufffd"', id="a replacement character"),
        pytest.param("münchen", "münchen", '"münchen"', id="letters beyond ASCII"),
        pytest.param(["a", "b"], '"[a b]"', '["a","b"]', id="a list"),
        pytest.param(("a.pem",), "[a.pem]", '["a.pem"]', id="a list of one"),
        pytest.param([], "[]", "[]", id="an empty list"),
        pytest.param({"b", "a"}, '"[a b]"', '["a","b"]', id="a set, sorted"),
        pytest.param({"k": 1}, "map[k:1]", '{"k":1}', id="a mapping"),
        pytest.param(True, "true", "true", id="true"),
        pytest.param(7, "7", "7", id="an integer"),
        pytest.param(2.0, "2", "2", id="a float without a fraction"),
        pytest.param(0.25, "0.25", "0.25", id="a float"),
        pytest.param(math.nan, "nan", '"nan"', id="not a number"),
        pytest.param([None], "[<nil>]", "[null]", id="nothing in a list"),
        pytest.param(datetime.fromtimestamp(MOMENT, UTC), "2026-03-28T23:07:44.000Z", '"2026-03-28T23:07:44.000Z"'),
        pytest.param(ValueError("too long"), '"too long"', '"too long"', id="an error"),
        pytest.param(TimeoutError(), "TimeoutError", '"TimeoutError"', id="an error without words"),
    ],
)
def test_values_are_printed_as_go_prints_them(value: object, text: str, as_json: str) -> None:
    attributes = {"k": value}
    assert text_line(MOMENT, logging.INFO, "m", attributes).partition(" k=")[2] == text
    assert json_line(MOMENT, logging.INFO, "m", attributes).partition('"k":')[2] == as_json + "}"


@given(st.dictionaries(ANYTHING, ANYTHING), ANYTHING)
def test_no_value_key_or_message_leaves_its_line(attributes: dict[str, str], msg: str) -> None:
    for shape in (text_line, json_line):
        line = shape(MOMENT, logging.WARNING, msg, attributes)
        assert line.isprintable()
        line.encode()  # and it is always valid UTF-8


@given(st.dictionaries(HARMLESS, HARMLESS), HARMLESS)
def test_json_says_exactly_what_was_logged_in_that_order(attributes: dict[str, str], msg: str) -> None:
    pairs = json.loads(json_line(MOMENT, logging.INFO, msg, attributes), object_pairs_hook=list)
    head = [("time", "2026-03-28T23:07:44.000Z"), ("level", "INFO"), ("msg", msg)]
    assert pairs == head + list(attributes.items())


@given(ANYTHING)
def test_quotes_in_a_text_line_are_never_ambiguous(value: str) -> None:
    shown = quoted(value)
    if not shown.startswith('"'):
        assert shown == value
        assert not set(shown) & set(' ="')
    else:
        inside = shown[1:-1].replace("\\\\", "").replace('\\"', "")
        assert shown.endswith('"')
        assert '"' not in inside


def test_a_value_is_cut_where_it_would_swamp_the_log() -> None:
    assert plain("x" * (MAX_VALUE_CHARACTERS + 5)) == "x" * MAX_VALUE_CHARACTERS + "...(5 more)"


@given(st.integers(min_value=0, max_value=60))
def test_every_level_has_one_of_gos_four_names(level: int) -> None:
    assert level_name(level) in {"DEBUG", "INFO", "WARN", "ERROR"}


def test_times_have_three_digits_after_the_second_and_are_in_utc() -> None:
    assert time_text(MOMENT + 0.0019) == "2026-03-28T23:07:44.001Z"
