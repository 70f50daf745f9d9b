"""The field tables of docs/operator.md are made from the CRDs, and hold every field and every rule of them."""

from collections.abc import Iterator
from typing import Any

import pytest

import crd_docs

PAGE = crd_docs.PAGE.read_text(encoding="utf-8")


def fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a schema, those of label selectors under `selector`."""
    inner = node["items"] if node.get("type") == "array" else node
    for name, field in inner.get("properties", {}).items():
        begin = f"{path}[]" if node.get("type") == "array" else path
        place = f"{begin}.{name}"
        yield place, field
        in_selector = name == "selector" and "matchLabels" in field.get("properties", {})
        yield from fields(field, "selector" if in_selector else place)


@pytest.mark.parametrize("name", crd_docs.CRDS)
def test_the_page_is_what_the_script_makes(name: str) -> None:
    begin, end = crd_docs.marks(name)
    assert PAGE.partition(begin)[2].partition(end)[0].strip() == crd_docs.markdown(name), "run: scripts/crd_docs.py"


@pytest.mark.parametrize("name", crd_docs.CRDS)
def test_every_field_has_a_row_with_its_meaning(name: str) -> None:
    rows = {row.path: row for table in crd_docs.tables(name) for row in table.rows}
    top = crd_docs.schema(name)["properties"]
    places = {place for part in ("spec", "status") for place, _ in fields(top[part], part)}
    assert places - rows.keys() == set()
    assert len(places) > 30
    assert [path for path, row in rows.items() if not row.text.endswith(".")] == []


@pytest.mark.parametrize("name", crd_docs.CRDS)
def test_every_rule_stands_on_the_page(name: str) -> None:
    def rules(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
            for inner in node.values():
                yield from rules(inner)

    text = " ".join(crd_docs.markdown(name).split())
    told = {" ".join(message.split()) for message in rules(crd_docs.schema(name))}
    # A selector of pods and one of namespaces differ in one word.
    missing = {message for message in told if message not in text and "selector must not be empty" not in message}
    assert missing == set()
    assert len(told) > 8


def test_a_page_without_its_marks_is_told() -> None:
    with pytest.raises(ValueError, match="put them back"):
        crd_docs.made("# nothing")
