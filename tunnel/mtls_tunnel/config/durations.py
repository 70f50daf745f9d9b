"""Durations as Go writes them (``1h30m``, ``250ms``, ``0``) to seconds and back.

Counted in whole nanoseconds as Go does, so that no amount of parsing and writing changes a value.  Days are no
unit of Go's and none here.  Negative durations are refused: no setting has a use for one.

Source: Go, package time, ParseDuration.
"""

import re

NANOSECONDS_PER_SECOND = 1_000_000_000
LONGEST = 100 * 365 * 86400 * NANOSECONDS_PER_SECOND  # a third of Go's limit, and exact in seconds
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": NANOSECONDS_PER_SECOND,
    "m": 60 * NANOSECONDS_PER_SECOND,
    "h": 3600 * NANOSECONDS_PER_SECOND,
}
_WRITTEN = ("h", "m", "s", "ms", "us", "ns")
_MAX_CHARACTERS = 100
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_EXAMPLE = "write a number and a unit, such as 10s, 1h30m or 250ms"


def parse(text: str | int | float) -> float:
    """The seconds that *text* stands for.

    Raises:
        ValueError: with a plain sentence, when it is no duration, negative, or longer than 100 years.
    """
    written = str(text)
    if len(written) > _MAX_CHARACTERS:
        raise ValueError(f"is too long for a duration - {_EXAMPLE}")
    digits = written.removeprefix("+")
    if digits.startswith("-"):
        raise ValueError("must not be negative - 0 is the least")
    if re.fullmatch(r"0+(\.0*)?", digits):
        return 0.0
    if not digits:
        raise ValueError(f"is empty - {_EXAMPLE}")
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", digits):
        raise ValueError(f"has no unit - {digits}s means seconds, {digits}m minutes")
    nanoseconds = _nanoseconds(digits)
    if nanoseconds > LONGEST:
        raise ValueError("is longer than 100 years - 0 or leaving it out may be what is meant")
    return nanoseconds / NANOSECONDS_PER_SECOND


def text(seconds: float) -> str:
    """The shortest plain spelling of *seconds*, rounded to nanoseconds; ``parse(text(parse(t))) == parse(t)``."""
    numerator, denominator = seconds.as_integer_ratio()
    left = (2 * numerator * NANOSECONDS_PER_SECOND + denominator) // (2 * denominator)
    parts = []
    for unit in _WRITTEN:
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _nanoseconds(digits: str) -> int:
    total, position = 0, 0
    while position < len(digits):
        part = _PART.match(digits, position)
        if part is None or not (part[1] or part[2]):
            raise ValueError(f"is no duration - {_EXAMPLE}")
        unit = _UNITS.get(part[3])
        if unit is None:
            raise ValueError(f"has an unknown unit {part[3]!a} - the units are h, m, s, ms, us and ns")
        fraction = part[2] or ""
        total += int(part[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = part.end()
    return total
