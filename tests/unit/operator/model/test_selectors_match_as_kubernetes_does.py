"""Label selectors against a reference written from the words of the API's documentation, and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.selectors import Selector, disjoint, selector_of

KEYS = st.sampled_from(["app", "tier", "example.com/role"])
VALUES = st.sampled_from(["", "a", "b", "c"])
LABELS = st.dictionaries(KEYS, VALUES)
EXPRESSIONS = st.one_of(
    st.fixed_dictionaries(
        {"key": KEYS, "operator": st.sampled_from(["In", "NotIn"]), "values": st.lists(VALUES, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"key": KEYS, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)
SELECTORS = st.fixed_dictionaries(
    {}, optional={"matchLabels": LABELS, "matchExpressions": st.lists(EXPRESSIONS, max_size=3)}
)


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """The requirements of matchLabels and matchExpressions are AND-ed; NotIn is satisfied by an absent key."""
    for key, value in selector.get("matchLabels", {}).items():
        if key not in labels or labels[key] != value:
            return False
    for one in selector.get("matchExpressions", []):
        match one["operator"]:
            case "In":
                satisfied = any(labels.get(one["key"]) == value for value in one["values"])
            case "NotIn":
                satisfied = all(labels.get(one["key"]) != value for value in one["values"])
            case "Exists":
                satisfied = one["key"] in labels
            case _:
                satisfied = one["key"] not in labels
        if not satisfied:
            return False
    return True


@given(SELECTORS, LABELS)
def test_any_selector_selects_what_the_reference_selects(raw: dict[str, Any], labels: dict[str, str]) -> None:
    if not raw.get("matchLabels") and not raw.get("matchExpressions"):
        with pytest.raises(SpecError, match="is empty and would match every pod"):
            selector_of(raw)
        return
    assert selector_of(raw).matches(labels) == selected(raw, labels)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(None, "spec.selector: want matchLabels or matchExpressions, have None", id="absent"),
        pytest.param([], "spec.selector: want matchLabels or matchExpressions, have []", id="a list"),
        pytest.param({}, "spec.selector: is empty and would match every pod: name a label", id="empty"),
        pytest.param({"matchLabels": {}}, "spec.selector: is empty", id="empty labels"),
        pytest.param({"matchLabels": {"a": 1}}, "spec.selector.matchLabels.a: want a string, have 1", id="a number"),
        pytest.param({"matchLabels": {"a": "b c"}}, "'b c' is no label value", id="a space in a value"),
        pytest.param({"matchLabels": {"a": "x" * 64}}, "is no label value", id="a value of 64 characters"),
        pytest.param({"matchLabels": {"a/b/c": ""}}, "'a/b/c' is no label key", id="two slashes"),
        pytest.param({"matchLabels": {"/a": ""}}, "'/a' is no label key", id="an empty prefix"),
        pytest.param({"matchLabels": {"Ex.com/a": ""}}, "'Ex.com/a' is no label key", id="a prefix in capitals"),
        pytest.param({"matchLabels": {"a" * 64: ""}}, "is no label key", id="a key of 64 characters"),
        pytest.param({"matchLabels": {"a\n": ""}}, "is no label key", id="a line end"),
        pytest.param({"matchExpressions": [{"key": "a"}]}, "[0].operator: add it", id="no operator"),
        pytest.param({"matchExpressions": [{"operator": "In"}]}, "[0].key: is missing", id="no key"),
        pytest.param(
            {"matchExpressions": [{"key": "a", "operator": "Equals", "values": ["b"]}]},
            "'Equals' is unknown: use In or NotIn or Exists or DoesNotExist",
            id="an unknown operator",
        ),
        pytest.param({"matchExpressions": [{"key": "a", "operator": "In"}]}, "In needs at least one", id="In nothing"),
        pytest.param(
            {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}, "is empty", id="NotIn nothing"
        ),
        pytest.param(
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "Exists takes none: remove them",
            id="Exists and a value",
        ),
        pytest.param({"matchExpressions": ["app"]}, "[0]: want a mapping, have 'app'", id="a word for a requirement"),
    ],
)
def test_a_selector_that_kubernetes_would_refuse_is_refused_with_its_place(raw: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        selector_of(raw, "spec.selector")
    assert caught.value.reason == "InvalidSelector"
    assert message in caught.value.message


def test_a_key_may_be_as_long_as_a_label_may_be() -> None:
    key = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/{'n' * 63}"
    assert selector_of({"matchLabels": {key: "v" * 63}}).matches({key: "v" * 63})


NOT_EMPTY = SELECTORS.filter(lambda raw: any(raw.values())).map(selector_of)


@given(NOT_EMPTY, NOT_EMPTY, LABELS)
def test_what_is_called_disjoint_selects_nothing_together(
    one: Selector, other: Selector, labels: dict[str, str]
) -> None:
    assert disjoint(one, other) == disjoint(other, one)
    if disjoint(one, other):
        assert not (one.matches(labels) and other.matches(labels))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param({"matchLabels": {"app": "redis"}}, True, id="another value"),
        pytest.param({"matchLabels": {"tier": "x", "app": "redis"}}, True, id="another value among others"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True, id="In"),
        pytest.param({"matchLabels": {"app": "db"}}, False, id="the same"),
        pytest.param(
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "db"]}]}, False, id="among"
        ),
        pytest.param({"matchLabels": {"tier": "back"}}, False, id="another key"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}, False, id="NotIn"),
        pytest.param({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False, id="DoesNotExist"),
    ],
)
def test_selectors_are_disjoint_only_where_one_label_wants_two_values(other: dict[str, Any], expected: bool) -> None:
    assert disjoint(selector_of({"matchLabels": {"app": "db"}}), selector_of(other)) is expected


def test_what_selects_everything_is_disjoint_from_nothing() -> None:
    assert not disjoint(Selector(()), selector_of({"matchLabels": {"app": "db"}}))
