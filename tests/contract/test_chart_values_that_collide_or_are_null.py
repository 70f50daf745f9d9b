"""Values that contradict the chart, or are `null`, end in a sentence with their name, or mean what they look like.

Helm takes a key that is `null` out of the values before the schema is asked.  What is rendered is read here by a
loader that refuses a key written twice: Helm and the API server would take the last one and say nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import chart_docs
from support import charts

KNOWN = chart_docs.read((charts.CHART / "values.yaml").read_text(encoding="utf-8"))
EVERYTHING = charts.merged(charts.MATRIX["everything on"], charts.MATRIX["a router"])
# Kubernetes reads these: without them, it takes its defaults.
OPEN = ("global", "resources", "podSecurityContext", "securityContext")


class Strict(yaml.CSafeLoader):
    """Refuses a key that a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in {node.start_mark}: {[*keys]}"
        return super().construct_mapping(node, deep)


def strictly(values: charts.Values) -> list[charts.Manifest]:
    """What the chart renders, each key once."""
    return [one for one in yaml.load_all(charts.text(values), Loader=Strict) if one]


def sections(values: tuple[chart_docs.Value, ...]) -> Iterator[str]:
    """Paths of the sections that templates look into."""
    for value in values:
        if value.children and value.name not in OPEN:
            yield value.path
            yield from sections(value.children)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param(
            {"operator": {"serviceAccount": {"name": "x"}}, "injector": {"serviceAccount": {"name": "x"}}},
            "injector.serviceAccount.name: operator and injector cannot both make x; give each a name",
            id="one account for both",
        ),
        pytest.param(
            {"operator": {"serviceAccount": {"name": "mtls-tunnel-injector"}}},
            "injector.serviceAccount.name: .* both make mtls-tunnel-injector",
            id="the other's default account",
        ),
        *(
            pytest.param(values, f"{place}: leave out {label}, the chart sets it itself", id=f"{place} {label}")
            for label in (
                "app.kubernetes.io/name",
                "app.kubernetes.io/instance",
                "app.kubernetes.io/component",
                "app.kubernetes.io/managed-by",
                "mtlstunnel.dev/inject",
            )
            for place, values in (
                ("commonLabels", {"commonLabels": {label: "x"}}),
                ("operator.podLabels", {"operator": {"podLabels": {label: "x"}}}),
            )
        ),
    ],
)
def test_what_would_collide_is_refused_with_the_remedy(values: charts.Values, said: str) -> None:
    with pytest.raises(charts.Refused, match=said):
        charts.render(values)


def test_an_account_that_somebody_else_made_may_serve_both() -> None:
    theirs = {"serviceAccount": {"create": False, "name": "theirs"}}
    manifests = charts.render({"operator": theirs, "injector": theirs})
    assert {one["spec"]["template"]["spec"]["serviceAccountName"] for one in manifests if _is_deployment(one)} == {
        "theirs"
    }


def test_labels_of_users_stand_once_and_the_narrowest_wins() -> None:
    part, version = "app.kubernetes.io/part-of", "app.kubernetes.io/version"
    monitoring = {
        name: {"enabled": True, "labels": {part: "watching"}}
        for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")
    }
    manifests = strictly(
        {
            "commonLabels": {part: "platform", "team": "a"},
            "operator": {"podLabels": {"team": "b", version: "mine"}},
            "monitoring": monitoring,
        }
    )

    operator = charts.named(manifests, "Deployment", "mtls-tunnel-operator")
    pod = operator["spec"]["template"]["metadata"]["labels"]
    assert (operator["metadata"]["labels"][part], operator["metadata"]["labels"]["team"]) == ("platform", "a")
    assert (pod[part], pod["team"], pod[version]) == ("platform", "b", "mine")
    assert charts.named(manifests, "PrometheusRule")["metadata"]["labels"][part] == "watching"
    for one in filter(_is_deployment, manifests):
        assert one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("case", charts.MATRIX)
def test_no_key_is_rendered_twice(case: str) -> None:
    assert strictly(charts.MATRIX[case])


@pytest.mark.parametrize("path", [*sections(KNOWN)])
def test_a_section_that_is_null_is_refused_by_its_name(path: str) -> None:
    above, _, name = path.rpartition(".")
    with pytest.raises(charts.Refused, match=f"at '/?{above.replace('.', '/')}': missing property '{name}'"):
        charts.render(charts.merged(EVERYTHING, charts.values_at(path, None)))


def test_null_in_place_of_nothing_is_nothing() -> None:
    unset = [value for value in chart_docs.leaves(KNOWN) if isinstance(value.default, dict | list | bool)]
    elsewhere = ("router.", "operator.securityContext.", "injector.securityContext.")  # the next test's, Kubernetes'
    empty = [value.path for value in unset if not value.default and not value.path.startswith(elsewhere)]
    assert len(empty) > 50
    values: charts.Values = {}
    for path in (*empty, "global"):
        values = charts.merged(values, charts.values_at(path, None))
    assert charts.render(values) == list(charts.defaults())


def test_null_in_place_of_nothing_is_nothing_for_a_router_either() -> None:
    router = {"enabled": True, "tlsSecretName": "router-tls"}
    nulls = dict.fromkeys(
        ("settings", "store", "nodeSelector", "tolerations", "affinity", "podAnnotations", "podLabels")
    )
    assert charts.render({"router": {**router, **nulls}}) == charts.render({"router": router})


def _is_deployment(manifest: charts.Manifest) -> bool:
    return bool(manifest["kind"] == "Deployment")
