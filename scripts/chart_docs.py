"""The comments of the chart's values.yaml become its values.schema.json and the table in its README.md.

A key is described by the comment right above it: lines after `# --` are for people, a line `# @schema {...}`
adds to what the schema says of it or replaces that.  A mapping whose keys are described is a section, and
closed: a misspelt value is refused.  It must be there, too: Helm takes a key out that is given as `null`, and
templates would end in a nil pointer.  Every other mapping is a value by itself, and open.

    python scripts/chart_docs.py           writes both files
    python scripts/chart_docs.py --check   exit code 1 if one of them is out of date
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts" / "mtls-tunnel"
BEGIN, END = "<!-- values: begin, made by scripts/chart_docs.py -->", "<!-- values: end -->"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass(frozen=True)
class Value:
    """A key of values.yaml; `children` of a section only."""

    path: str
    text: str
    schema: dict[str, Any]
    default: Any
    children: tuple["Value", ...] = field(default=())

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


def read(text: str) -> tuple[Value, ...]:
    """The keys of *text*, a values.yaml, in its order."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("values.yaml is no mapping")
    return tuple(_values(node, yaml.safe_load(text), "", text.splitlines()))


def _values(node: yaml.MappingNode, content: dict[str, Any], above: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        text, schema = _comment(lines, key.start_mark.line, key.start_mark.column)
        path, inner = f"{above}{key.value}", content[key.value]
        children: tuple[Value, ...] = ()
        if isinstance(value, yaml.MappingNode) and inner:
            found = tuple(_values(value, inner, f"{path}.", lines))
            children = found if any(child.text for child in found) else ()
        yield Value(path, text, schema, inner, children)


def _comment(lines: list[str], line: int, column: int) -> tuple[str, dict[str, Any]]:
    """The text and the additions to the schema that stand right above *line*."""
    begin, lead = line, " " * column + "#"
    while begin and lines[begin - 1].startswith(lead):
        begin -= 1
    words: list[str] = []
    schema: dict[str, Any] = {}
    described = False
    for comment in (each[len(lead) :].strip() for each in lines[begin:line]):
        if comment.startswith("@schema "):
            schema |= json.loads(comment.removeprefix("@schema "))
        elif comment.startswith("-- ") or described:
            described = True
            words.append(comment.removeprefix("-- "))
    return " ".join(words), schema


def leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    """Every key that is no section."""
    for value in values:
        if value.children:
            yield from leaves(value.children)
        else:
            yield value


def schema_of(values: tuple[Value, ...]) -> dict[str, Any]:
    """The whole JSON Schema."""
    made = _section(values)
    # A parent chart writes its condition among our values.
    made["properties"]["enabled"] = {"type": "boolean", "description": "For a parent chart's condition; not read here."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "mtls-tunnel", **made}


def _section(values: tuple[Value, ...]) -> dict[str, Any]:
    # Not the sections that Kubernetes reads: without them, it takes its defaults.
    sections = [value.name for value in values if value.children and not value.schema.get("additionalProperties")]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": sections} if sections else {}),
        "properties": {value.name: _schema(value) for value in values},
    }


def _schema(value: Value) -> dict[str, Any]:
    made = _section(value.children) if value.children else {"type": _TYPES[type(value.default)]}
    if value.text:
        made["description"] = value.text
    return made | value.schema


def table(values: tuple[Value, ...]) -> str:
    """The values as Markdown, one table for each top-level section."""
    plain = tuple(value for value in values if not value.children)
    parts = [_table("General", plain)]
    parts += [
        _table(f"`{value.path}`", tuple(leaves(value.children)), value.text) for value in values if value.children
    ]
    return "\n\n".join(parts)


def _table(title: str, values: tuple[Value, ...], text: str = "") -> str:
    rows = [f"| `{value.path}` | {_cell(value.text)} | {_default(value.default)} |" for value in values]
    head = [f"### {title}", "", *([text, ""] if text else []), "| value | meaning | default |", "|---|---|---|"]
    return "\n".join([*head, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(value: Any) -> str:
    return f"`{json.dumps(value)}`".replace("|", "\\|")


def made(chart: Path = CHART) -> dict[Path, str]:
    """Both files as they must be."""
    values = read((chart / "values.yaml").read_text(encoding="utf-8"))
    readme = chart / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has lost its lines {BEGIN} and {END}: put them back")
    return {
        chart / "values.schema.json": json.dumps(schema_of(values), indent=2) + "\n",
        readme: f"{before}{BEGIN}\n\n{table(values)}\n\n{END}{after}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    old = [path for path, text in made().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in made().items():
        if path in old and not check:
            path.write_text(text, encoding="utf-8")
    for path in old:
        print(f"{'is out of date' if check else 'written'}: {path}")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
