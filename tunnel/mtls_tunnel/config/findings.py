"""What is wrong with a configuration, gathered while it is read and told all at once, in file order.

A fault that was met twice (a shared section is read once for every tunnel that it is laid under) is told
once.  Every text becomes one line of printable characters, whatever the file contained.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mtls_tunnel.errors import ConfigError, Problem

AnyProblem = TypeVar("AnyProblem", bound=Problem)

MAX_QUOTED = 60
MAX_HINTS = 100  # the nearest key is looked for so often only; a file with more faults than that has another problem

_WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file: which file (by order, for sorting), which line, and the path that leads there."""

    order: int
    file: str
    line: int = 0
    column: int = 0
    path: str = ""

    @property
    def position(self) -> tuple[int, int, int]:
        return self.order, self.line, self.column

    def key(self, name: str) -> "Spot":
        """The place of key *name* below this one, for a key that is not there."""
        step = shown(name)
        return replace(self, path=f"{self.path}.{step}" if self.path else step)


@dataclass(frozen=True, slots=True)
class UnknownKey(Problem):
    """A key that nothing reads; `did_you_mean` is the nearest known one, or empty."""

    did_you_mean: str = ""


class Findings:
    """Errors and unknown keys of one load, in the order in which they were met."""

    def __init__(self) -> None:
        self._errors: dict[Problem, Spot] = {}
        self._unknown: dict[UnknownKey, Spot] = {}

    @property
    def are_errors(self) -> bool:
        return bool(self._errors)

    @property
    def want_hints(self) -> bool:
        return len(self._unknown) < MAX_HINTS

    def error(self, spot: Spot, text: str, remedy: str = "") -> None:
        self._errors.setdefault(Problem(spot.file, spot.path, text, remedy), spot)

    def refusal(self, spot: Spot, error: ValueError) -> None:
        """Record the sentence of a parser's *error*; what follows its first " - " is the remedy."""
        text, _, remedy = str(error).partition(" - ")
        self.error(spot, text, remedy)

    def unknown(self, spot: Spot, did_you_mean: str) -> None:
        remedy = f"did you mean {did_you_mean}?" if did_you_mean else "it has no effect; remove it"
        self._unknown.setdefault(UnknownKey(spot.file, spot.path, "unknown key", remedy, did_you_mean), spot)

    def verdict(self, *, strict: bool) -> tuple[UnknownKey, ...]:
        """The warnings, in file order; raises ConfigError with every error if there is one."""
        if self._errors or (strict and self._unknown):
            # Beside an error unknown keys are told too: "target: is missing" often means "tagret: unknown key".
            raise ConfigError(*_in_file_order({**self._errors, **self._unknown}))
        return _in_file_order(self._unknown)


def _in_file_order(found: Mapping[AnyProblem, Spot]) -> tuple[AnyProblem, ...]:
    return tuple(sorted(found, key=lambda problem: found[problem].position))


def shown(name: str) -> str:
    """*name* as a step of a path: as it is when it is a plain short word, else quoted."""
    return name if _WORD.fullmatch(name) else quoted(name)


def quoted(text: str) -> str:
    """*text* in double quotes, cut to a readable length, every unprintable character escaped."""
    cut = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in json.dumps(cut, ensure_ascii=False))
