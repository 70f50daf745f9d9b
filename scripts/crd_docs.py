"""The descriptions and rules of crds/*.yaml become the field tables in docs/operator.md.

A mapping of the schema that is an object, or a list of objects, has a table of its own; a label selector is
described once, because it is the same everywhere.  Below a table stand the messages of the rules (CEL) that the
API server applies there: what is refused, and what to do.

    python scripts/crd_docs.py           writes the marked parts of the page
    python scripts/crd_docs.py --check   exit code 1 if they are out of date
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
CRDS = {name: ROOT / "crds" / f"{name}.yaml" for name in ("mtlstunnels", "mtlstrustdomains")}
PAGE = ROOT / "docs" / "operator.md"
SELECTOR = "selector"
_INNER = {"matchLabels", "matchExpressions"}  # of a label selector

Node = dict[str, Any]


class Row(NamedTuple):
    """A field: its path from the top, what it may be, and what it means."""

    path: str
    kind: str
    default: str
    text: str


class Table(NamedTuple):
    """The fields of one object, and what the API server refuses there."""

    path: str
    rows: tuple[Row, ...]
    rules: tuple[str, ...]


def schema(name: str) -> Node:
    """The schema of the only version of a CRD."""
    crd = yaml.safe_load(CRDS[name].read_text(encoding="utf-8"))
    return dict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def tables(name: str) -> tuple[Table, ...]:
    """The tables of a CRD in the order of its fields, that of label selectors last."""
    top = schema(name)
    found = [table for part in ("spec", "status") for table in _tables(part, top["properties"][part])]
    whole = tuple(dict.fromkeys(_rules(top)))
    return (Table("metadata", (), whole), *found, _selector(top["properties"]["spec"]))


def _tables(path: str, node: Node) -> Iterator[Table]:
    inner = _object(node)
    required = set(inner.get("required", ()))
    rows, below = [], []
    for name, field in inner["properties"].items():
        place = f"{path}.{name}"
        rows.append(Row(place, _kind(name, field), _default(field, name in required), field.get("description", "")))
        if _object(field).get("properties") and not _is_selector(name, field):
            below.append((f"{place}[]" if field.get("type") == "array" else place, field))
    own = (*_rules(node), *(_rules(inner) if inner is not node else ()))
    leaves = (message for name, field in inner["properties"].items() for message in _leaf_rules(name, field))
    yield Table(path, tuple(rows), tuple(dict.fromkeys((*own, *leaves))))
    for place, field in below:
        yield from _tables(place, field)


def _leaf_rules(name: str, field: Node) -> Iterator[str]:
    """Rules of a field without a table of its own."""
    if not _object(field).get("properties") and not _is_selector(name, field):
        yield from _rules(field)


def _selector(spec: Node) -> Table:
    """What stands below every label selector."""
    for name, field in _walk(spec):
        if _is_selector(name, field):
            rows, rules = [], list(_rules(field))
            for inner, node in field["properties"].items():
                rows.append(Row(f"selector.{inner}", _kind(inner, node), "", node.get("description", "")))
                for last, leaf in _object(node).get("properties", {}).items():
                    place = f"selector.{inner}[].{last}"
                    needed = last in _object(node).get("required", ())
                    rows.append(Row(place, _kind(last, leaf), _default(leaf, needed), leaf.get("description", "")))
                rules += _rules(_object(node))
            return Table(SELECTOR, tuple(rows), tuple(rules))
    raise ValueError("the CRD has no selector any more: take it out of this script")


def _walk(node: Node) -> Iterator[tuple[str, Node]]:
    for name, field in _object(node).get("properties", {}).items():
        yield name, field
        yield from _walk(field)


def _object(node: Node) -> Node:
    """Itself, or what a list holds."""
    return dict(node["items"]) if node.get("type") == "array" else node


def _is_selector(name: str, node: Node) -> bool:
    return name == SELECTOR and set(node.get("properties", {})) == _INNER


def _rules(node: Node) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield str(rule["message"])


def _kind(name: str, node: Node) -> str:
    if _is_selector(name, node):
        return "label selector"
    if "enum" in node:
        return ", ".join(f"`{json.dumps(one) if one == '' else one}`" for one in node["enum"])
    if node.get("type") == "array":
        most = f", at most {node['maxItems']}" if "maxItems" in node else ""
        inner = _object(node)
        return f"list of {'objects' if inner.get('type') == 'object' else 'texts'}{most}"
    if "x-kubernetes-int-or-string" in node:
        return "quantity"
    if node.get("type") == "object" and "additionalProperties" in node:
        return "texts by name"
    word = str(node["type"])
    return {"string": "text", "boolean": "true or false"}.get(word, word) + _range(node)


def _range(node: Node) -> str:
    if node.get("format") == "date-time":
        return ", a time"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" {low} to {high}"
    if low is not None:
        return f" from {low} on"
    longest = node.get("maxLength")
    return f", at most {longest}" if node["type"] == "string" and longest else ""


def _default(node: Node, required: bool) -> str:
    if required:
        return "**required**"
    return f"`{json.dumps(node['default'])}`" if "default" in node and node["default"] != {} else ""


def markdown(name: str) -> str:
    """All tables of a CRD."""
    return "\n\n".join(_markdown(table) for table in tables(name))


def _markdown(table: Table) -> str:
    lines = [f"#### `{table.path}`"]
    if table.rows:
        lines += ["", "| field | may be | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{row.path}` | {row.kind} | {row.default} | {_sentence(row.text)} |" for row in table.rows]
    if table.rules:
        lines += ["", "Refused by the API server, in these words:", ""]
        lines += [f"* {_sentence(rule)}" for rule in table.rules]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def marks(name: str) -> tuple[str, str]:
    """The lines between which the tables of a CRD stand."""
    return f"<!-- {name}: begin, made by scripts/crd_docs.py -->", f"<!-- {name}: end -->"


def made(page: str) -> str:
    """The page as it must be."""
    for name in CRDS:
        begin, end = marks(name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"docs/operator.md has lost its lines {begin} and {end}: put them back")
        page = f"{before}{begin}\n\n{markdown(name)}\n\n{end}{after}"
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    old = PAGE.read_text(encoding="utf-8")
    new = made(old)
    if new == old:
        return 0
    if not check:
        PAGE.write_text(new, encoding="utf-8")
    print(f"{'is out of date' if check else 'written'}: {PAGE}")
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
