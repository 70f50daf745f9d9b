"""Label and field selectors as they stand in a query."""

import re
from collections.abc import Mapping
from typing import Any

_SET = re.compile(r"(?P<key>\S+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)")


def selected(item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether both selectors of *query* match."""
    labels = item["metadata"].get("labels") or {}
    return all(_label(term, labels) for term in _terms(query.get("labelSelector", ""))) and all(
        _field(term, item) for term in _terms(query.get("fieldSelector", ""))
    )


def _terms(text: str) -> list[str]:
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label(term: str, labels: Mapping[str, str]) -> bool:
    if match := _SET.fullmatch(term):
        inside = labels.get(match["key"]) in {value.strip() for value in match["values"].split(",")}
        return inside if match["op"] == "in" else not inside
    if "!=" in term:
        key, value = term.split("!=")
        return labels.get(key.strip()) != value.strip()
    if "=" in term:
        key, value = re.split("==?", term, maxsplit=1)
        return labels.get(key.strip()) == value.strip()
    return term[1:].strip() not in labels if term.startswith("!") else term in labels


def _field(term: str, item: Mapping[str, Any]) -> bool:
    negative = "!=" in term
    path, value = re.split("!=|==?", term, maxsplit=1)
    found: Any = item
    for part in path.strip().lstrip(".").split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return (str(found) == value.strip()) is not negative
