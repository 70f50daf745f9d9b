"""Label selectors, compiled once and asked often.

`selector_of` refuses what Kubernetes refuses (a key or value that no label can have, values beside Exists),
and the empty selector, which matches everything.  The semantics are Kubernetes' (apimachinery,
labels.Selector): NotIn and DoesNotExist match where the key is absent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.fields import SUBDOMAIN, Field

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]

_OPERATORS: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether *labels* satisfy this one requirement."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; `matchLabels` are requirements with one value."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with *labels* is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def disjoint(one: Selector, other: Selector) -> bool:
    """Whether it is certain that nothing is selected by both: they want different values of one label.

    Only In and matchLabels are compared; what other operators exclude counts as possible.
    """
    return any(
        mine.key == theirs.key and mine.values.isdisjoint(theirs.values)
        for mine in _wanted(one)
        for theirs in _wanted(other)
    )


def selector_of(raw: object, place: str = "selector") -> Selector:
    """Compile a metav1.LabelSelector.

    Raises:
        SpecError: reason ``InvalidSelector``; the message begins with *place*.
    """
    if not isinstance(raw, Mapping):
        raise SpecError("InvalidSelector", f"{place}: want matchLabels or matchExpressions, have {raw!r}")
    selector = Field(raw, place, "InvalidSelector")
    requirements = (*_labels(selector), *(_expression(field) for field in selector.each("matchExpressions")))
    if not requirements:
        raise SpecError("InvalidSelector", f"{place}: is empty and would match every pod: name a label")
    return Selector(requirements)


def _wanted(selector: Selector) -> tuple[Requirement, ...]:
    return tuple(one for one in selector.requirements if one.operator == "In")


def _labels(selector: Field) -> Iterator[Requirement]:
    labels = selector.below("matchLabels")
    for key in labels.raw:
        _check_key(labels, key, key)
        yield Requirement(key, "In", frozenset({labels.text(key, None, _VALUE, "label value")}))


def _expression(field: Field) -> Requirement:
    key = field.text("key", None)
    _check_key(field, "key", key)
    operator = field.choice("operator", _OPERATORS) if field.has("operator") else field.wrong("operator", "add it")
    if operator in ("Exists", "DoesNotExist"):
        if field.raw.get("values"):
            field.wrong("values", f"{operator} takes none: remove them")
        return Requirement(key, operator)
    if not field.has("values"):
        field.wrong("values", f"{operator} needs at least one: add it")
    return Requirement(key, operator, frozenset(field.texts("values", _VALUE, "label value")))


def _check_key(field: Field, place: str, key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if (slash and not SUBDOMAIN.fullmatch(prefix)) or not _NAME.fullmatch(name):
        field.wrong(place, f"{key!r} is no label key: write name or prefix.example.com/name")
