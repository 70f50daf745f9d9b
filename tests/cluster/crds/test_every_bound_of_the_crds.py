"""Each bound of each field of both specs is overstepped once, and the API server names the field.

The cases come from the schemas, so that a new field is tested as it is written; they start from objects that
fill every field, so that a field which no object fills fails here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mtls_tunnel_operator.model.reading import domain_of, tunnel_of
from support.crds import (
    ABSENT,
    DOMAIN,
    DOMAIN_OF_A_SECRET,
    DOMAINS,
    ELSEWHERE,
    EXTERNAL,
    FULL,
    TUNNELS,
    Door,
    Raw,
    bounds,
    refusal,
    schema,
    with_,
)

SAMPLES = {TUNNELS: (FULL, EXTERNAL, ELSEWHERE), DOMAINS: (DOMAIN, DOMAIN_OF_A_SECRET)}
READERS = {"MtlsTunnel": tunnel_of, "MtlsTrustDomain": domain_of}


@dataclass(frozen=True)
class Case:
    base: Raw
    place: str  # where the value goes: dotted, with indices
    bound: str
    beyond: Any
    at: Any  # the last value that is allowed


def cases(file: Path) -> Iterator[Case]:
    for place, bound, limit in bounds(schema(file)["properties"]["spec"], "spec"):
        base, where, value = _filled(file, place)
        yield Case(base, where, bound, _beyond(bound, limit, value), _at(bound, limit, value))


def _filled(file: Path, place: str) -> tuple[Raw, str, Any]:
    """The first sample in which *place* has a value, the place in it, and the value."""
    for base in SAMPLES[file]:
        for where, value in _ways(base, place.replace("[]", ".[]").replace("{}", ".{}").split("."), ""):
            return base, where, value
    raise AssertionError(f"no sample fills {place}")


def _ways(node: Any, steps: list[str], way: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield way.lstrip("."), node
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for index, item in enumerate(node if isinstance(node, list) else ()):
            yield from _ways(item, rest, f"{way}.{index}")
    elif step == "{}":
        for key in node if isinstance(node, dict) else ():
            if "." not in key:
                yield from _ways(node[key], rest, f"{way}.{key}")
    elif isinstance(node, dict) and step in node:
        yield from _ways(node[step], rest, f"{way}.{step}")


def _beyond(bound: str, limit: Any, value: Any) -> Any:
    """A value just beyond *limit*."""
    match bound:
        case "enum":
            return "Perhaps" if isinstance(limit[0], str) else 1
        case "minimum":
            return limit - 1
        case "maximum":
            return limit + 1
        case "pattern":
            return "%\r\n"
        case "minLength":
            return "x" * (limit - 1)
        case "maxLength":
            return "x" * (limit + 1)
        case "minItems":
            return []
        case "maxItems":
            return [value[0]] * (limit + 1)
        case "maxProperties":
            return {f"key-{number}": "x" for number in range(limit + 1)}
        case "required":
            return ABSENT
        case _:
            return 7 if limit in ("string", "boolean") else "seven"


def _at(bound: str, limit: Any, value: Any) -> Any:
    """The last value that keeps *limit*."""
    match bound:
        case "enum":
            return limit[-1]
        case "minimum" | "maximum":
            return limit
        case "minLength" | "maxLength":
            return "x" * limit
        case "minItems" | "maxItems":
            return [value[0]] * limit
        case "maxProperties":
            return {f"key-{number}": "x" for number in range(limit)}
        case _:
            return value


def _shown(place: str) -> str:
    """The place as the API server writes it."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", place)


ALL = {
    f"{case.bound} {_shown(case.place)}{'' if case.base['kind'] == 'MtlsTunnel' else ' of a trust domain'}": case
    for file in SAMPLES
    for case in cases(file)
}
# How the API server words a bound; our own rules may still refuse the value for what it means.
BOUNDED = re.compile(
    "Too long|Too many|Unsupported value|Required value|must be of type"
    "|should be (greater|less) than or equal to|should (have at (least|most)|be at least|match)"
)


@pytest.mark.parametrize("name", ALL)
def test_a_value_beyond_its_bound_is_refused_by_name(door: Door, name: str) -> None:
    case = ALL[name]
    answer = refusal(door.create(with_(case.base, {case.place: case.beyond}), dry_run=True))
    assert answer is not None, f"accepted: {case.beyond!r}"
    assert _shown(case.place) in [place for place, message in answer.causes if BOUNDED.search(message)], answer.causes


@pytest.mark.parametrize("name", ALL)
def test_a_value_at_its_bound_is_within(door: Door, name: str) -> None:
    case = ALL[name]
    stored = door.create(with_(case.base, {case.place: case.at}), dry_run=True)
    answer = refusal(stored)
    kept = "|".join(("should match", "Duplicate value"))  # the letter x, or one item many times, is not for every field
    causes = answer.causes if answer else ()
    assert [one for one in causes if BOUNDED.search(one[1]) and not re.search(kept, one[1])] == []
    if answer is None:
        READERS[case.base["kind"]](stored)  # what is stored can be read
