"""The operator's log: one line for each record, whatever is in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.app import logs

LOG = logging.getLogger("mtls_tunnel_operator.somewhere")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger(logs.OURS).setLevel(logging.NOTSET)


def written(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def test_text_is_as_slog_prints_it() -> None:
    stream = written("text")
    LOG.info("pod %s", "injected", extra={"namespace": "shop", "warnings": ("a b", "c"), "none": None, "left": 3.5})
    assert stream.getvalue().partition(" ")[2] == (
        'level=INFO msg="pod injected" namespace=shop warnings="a b,c" left=3.5\n'
    )


def test_json_is_an_object_with_time_level_and_message_first() -> None:
    stream = written("json")
    LOG.warning("careful", extra={"count": 3, "ok": True, "error": ValueError("no\nway")})
    said = json.loads(stream.getvalue())
    assert [*said][:3] == ["time", "level", "msg"]
    assert {key: said[key] for key in [*said][1:]} == {
        "level": "WARN",
        "msg": "careful",
        "count": 3,
        "ok": True,
        "error": "no\nway",
    }


def test_a_traceback_is_a_place_on_the_same_line() -> None:
    stream = written("text")
    try:
        json.loads("{")
    except ValueError:
        LOG.exception("cannot go on")
    (line,) = stream.getvalue().splitlines()
    assert "level=ERROR" in line
    assert 'error="Expecting property name' in line
    assert "test_log_lines.py" in line


def test_other_libraries_speak_from_warning_on_and_with_their_name() -> None:
    stream = written("text", "debug")
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("aiohttp.server").warning("odd")
    LOG.debug("detail")
    assert [line.split("msg=")[1] for line in stream.getvalue().splitlines()] == ['"aiohttp.server: odd"', "detail"]


def test_a_second_call_takes_the_place_of_the_first() -> None:
    first, second = written("text"), written("json", "error")
    LOG.warning("not said")
    LOG.error("said once")
    assert (first.getvalue(), second.getvalue().count("said")) == ("", 1)


@given(st.text(), st.text(), st.sampled_from(logs.FORMATS))
def test_a_line_is_always_one_printable_line(message: str, value: str, form: str) -> None:
    record = logging.makeLogRecord({"name": logs.OURS, "levelno": 20, "msg": "%s", "args": (message,), "value": value})
    line = logs.Line(form).format(record)
    assert line.isprintable()


@given(st.text())
def test_json_keeps_every_text(value: str) -> None:
    record = logging.makeLogRecord({"name": logs.OURS, "levelno": 20, "msg": "m", "value": value})
    assert json.loads(logs.Line("json").format(record))["value"] == value


def test_long_values_are_cut() -> None:
    record = logging.makeLogRecord({"name": logs.OURS, "levelno": 20, "msg": "m", "value": "x" * 10_000})
    assert len(logs.Line("text").format(record)) < logs.LONGEST_VALUE + 200
