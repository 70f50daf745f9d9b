"""Durations: Go's spelling to seconds and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("100us", 0.0001),
        ("100\u00b5s", 0.0001),
        ("100\u03bcs", 0.0001),
        ("1ns", 1e-9),
        ("1m1m", 120.0),
        ("+3s", 3.0),
        ("0", 0.0),
        ("0s", 0.0),
        (0, 0.0),
        (0.0, 0.0),
        ("1.0000000009s", 1.0),  # Go drops what is less than a nanosecond
    ],
)
def test_go_spellings_are_read(text: str | float, seconds: float) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "is empty - write a number and a unit, such as 10s, 1h30m or 250ms", id="nothing"),
        pytest.param("30", "has no unit - 30s means seconds, 30m minutes", id="no unit"),
        pytest.param(30, "has no unit - 30s means seconds, 30m minutes", id="a number"),
        pytest.param("1d", "has an unknown unit 'd' - the units are h, m, s, ms, us and ns", id="days"),
        pytest.param("1 s", "has an unknown unit ' s' - the units are h, m, s, ms, us and ns", id="a space"),
        pytest.param("10S", "has an unknown unit 'S' - the units are h, m, s, ms, us and ns", id="upper case"),
        pytest.param("-3s", "must not be negative - 0 is the least", id="negative"),
        pytest.param("s", "is no duration - write a number and a unit, such as 10s, 1h30m or 250ms", id="no number"),
        pytest.param(".s", "is no duration - write a number and a unit, such as 10s, 1h30m or 250ms", id="only a dot"),
        pytest.param(
            "1h5", "is no duration - write a number and a unit, such as 10s, 1h30m or 250ms", id="half a unit"
        ),
        pytest.param("300y", "has an unknown unit 'y' - the units are h, m, s, ms, us and ns", id="years"),
        pytest.param(
            "876001h", "is longer than 100 years - 0 or leaving it out may be what is meant", id="beyond a century"
        ),
        pytest.param(
            "9" * 200 + "s",
            "is too long for a duration - write a number and a unit, such as 10s, 1h30m or 250ms",
            id="endless digits",
        ),
        pytest.param("1\u00e9", "has an unknown unit '\\xe9' - the units are h, m, s, ms, us and ns", id="an accent"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str | int, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (90.0, "1m30s"), (5400.0, "1h30m"), (0.25, "250ms"), (1e-9, "1ns"), (86400.0, "24h")],
)
def test_seconds_are_written_as_plainly_as_they_can_be(seconds: float, text: str) -> None:
    assert durations.text(seconds) == text


@given(st.integers(0, durations.LONGEST))
def test_every_number_of_nanoseconds_survives_writing_and_reading(nanoseconds: int) -> None:
    seconds = durations.parse(f"{nanoseconds}ns")

    assert durations.parse(durations.text(seconds)) == seconds


@given(
    st.lists(
        st.tuples(st.integers(0, 9999), st.sampled_from(["h", "m", "s", "ms", "us", "ns"])), min_size=1, max_size=9
    )
)
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    size = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}

    assert durations.parse(text) == sum(number * size[unit] for number, unit in parts) / 10**9


@given(st.text(max_size=12) | st.text("0123456789.hmsunµ+-", max_size=12))
def test_a_text_is_seconds_or_a_value_error(text: str) -> None:
    told = ""
    seconds = 0.0
    try:
        seconds = durations.parse(text)
    except ValueError as refused:
        told = str(refused)

    assert told.isprintable()
    assert 0 <= seconds <= durations.LONGEST / 10**9
