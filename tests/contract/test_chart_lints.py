"""`helm lint --strict` under every values file, and values that are refused before anything is installed."""

from typing import Any

import pytest

from support import charts


@pytest.mark.parametrize("case", charts.MATRIX)
def test_helm_finds_nothing_to_say(case: str) -> None:
    assert "0 chart(s) failed" in charts.lint(charts.MATRIX[case])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"injectr": {}}, "injectr", id="a misspelt section"),
        pytest.param({"injector": {"replicas": 3}}, "replicas", id="a misspelt key"),
        pytest.param({"injector": {"failurePolicy": "Maybe"}}, "failurePolicy", id="an unknown policy"),
        pytest.param({"image": {"tag": 1.2}}, "tag", id="a tag that YAML takes for a number"),
        pytest.param({"image": {"digest": "latest"}}, "digest", id="a digest that is none"),
        pytest.param({"trustDomain": {"domain": "Corp.Example"}}, "domain", id="an upper-case trust domain"),
        pytest.param({"rbac": {"scope": "Namespaces"}}, "rbac.namespaces: name at least one", id="no namespaces"),
        pytest.param({"trustDomain": {"ca": {"mode": "Secret"}}}, "trustDomain.ca.secretName", id="no CA Secret"),
        pytest.param({"trustDomain": {"ca": {"mode": "CertManager"}}}, "ca.issuerRef.name", id="no issuer"),
        pytest.param({"injector": {"certificate": {"mode": "Existing"}}}, "certificate.", id="no serving certificate"),
        pytest.param(
            {"injector": {"matchConditions": [{"name": "a", "expression": "has(namespaceObject.metadata)"}]}},
            "matchConditions",
            id="a condition that would refuse every pod",
        ),
    ],
)
def test_wrong_values_are_refused_with_their_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(charts.Refused, match="(?s)" + said):
        charts.render(values)


def test_a_parent_chart_may_hand_down_globals_and_a_condition() -> None:
    assert charts.render({"global": {"region": "eu"}, "enabled": True})
