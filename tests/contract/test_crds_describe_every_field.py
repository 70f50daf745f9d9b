"""The CRDs as files: every field has a sentence, nothing needs a clever YAML reader, and uninstalling keeps them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.crds import DOMAINS, TUNNELS, Raw, bounds, fields, rules, schema

FILES = pytest.mark.parametrize("file", [TUNNELS, DOMAINS], ids=lambda file: file.stem)


@FILES
def test_every_field_is_described_by_a_sentence(file: Path) -> None:
    silent = [
        place
        for place, node in fields(schema(file))
        if place != "metadata" and not re.fullmatch(r"\S.*\.", node.get("description", ""))
    ]
    assert silent == []


@FILES
def test_every_message_of_a_rule_says_what_to_do_and_none_is_said_twice_for_one_place(file: Path) -> None:
    found = list(rules(schema(file)))
    assert len(found) == len(set(found))
    assert [message for _, message in found if not re.search(r"[:,] |and only then|at least one", message)] == []


@FILES
def test_every_string_list_and_number_of_a_spec_is_bounded(file: Path) -> None:
    """What has no bound fills the store, or makes a rule too dear to be accepted."""
    limits: dict[str, set[str]] = {}
    kinds: dict[str, str] = {}
    for place, bound, limit in bounds(schema(file)["properties"]["spec"]):
        limits.setdefault(place, set()).add(bound)
        if bound == "type":
            kinds[place] = limit
    needed = {"string": ("maxLength", "enum"), "array": ("maxItems",), "integer": ("minimum", "enum")}
    unbounded = [place for place, kind in kinds.items() if kind in needed and not limits[place] & set(needed[kind])]
    assert unbounded == []


@FILES
def test_a_crd_is_plain_yaml(file: Path) -> None:
    """Anchors, aliases and merge keys are lost on several tools that patch or split manifests."""
    events = list(yaml.parse(file.read_text(encoding="utf-8")))
    assert not any(isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) for event in events)


def test_pain_28_uninstalling_keeps_every_tunnel_and_trust_domain() -> None:
    """The annotation must be there from the first release: adding it later by hand is ignored."""
    kept = [yaml.safe_load(file.read_text())["metadata"] for file in sorted(TUNNELS.parent.glob("*.yaml"))]
    assert [(one["name"], one["annotations"]) for one in kept] == [
        ("mtlstrustdomains.mtlstunnel.dev", {"helm.sh/resource-policy": "keep"}),
        ("mtlstunnels.mtlstunnel.dev", {"helm.sh/resource-policy": "keep"}),
    ]


def test_label_selectors_are_the_same_everywhere() -> None:
    selectors = [
        node for file in (TUNNELS, DOMAINS) for place, node in fields(schema(file)) if place.endswith(".selector")
    ]
    assert len(selectors) == 4
    first, *others = map(_without_words, selectors)
    assert all(other == first for other in others)


def test_service_accounts_and_keys_are_the_same_everywhere() -> None:
    found: dict[str, list[Raw]] = {}
    for file in (TUNNELS, DOMAINS):
        for place, node in fields(schema(file)):
            found.setdefault(place.rpartition(".")[2], []).append(_without_words(node))
    for name, count in (("serviceAccounts", 2), ("conditions", 2), ("sizeBits", 2), ("algorithm", 2)):
        assert len(found[name]) == count
        assert all(node == found[name][0] for node in found[name])


def _without_words(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_words(value) for key, value in node.items() if key not in ("description", "message")}
    return [_without_words(item) for item in node] if isinstance(node, list) else node
