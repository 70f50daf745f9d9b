"""What Helm prints after an install: the next commands, and a warning for each choice that is dangerous."""

from typing import Any

import pytest

from support import charts


def test_the_next_commands_are_there() -> None:
    said = charts.notes()
    for command in ("kubectl label namespace", "kubectl apply -f -", "tunnel-operator check"):
        assert command in said
    assert "running pods go on" in said


def test_defaults_warn_only_of_the_self_signed_ca() -> None:
    warnings = [line for line in charts.notes().splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert "self-signed" in warnings[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"injector": {"replicaCount": 1}}, "injector.replicaCount is below 2"),
        ({"operator": {"replicaCount": 1}}, "operator.replicaCount is below 2"),
        ({"injector": {"failurePolicy": "Ignore"}}, "pods start WITHOUT a sidecar"),
        ({"crds": {"keep": False}}, "deletes EVERY MtlsTunnel"),
        ({"rbac": {"create": False}}, "rbac.create is false"),
        ({"admissionPolicy": {"enabled": False}}, "admissionPolicy.enabled is false"),
        ({"injector": {"hostNetwork": True}}, "injector.hostNetwork is true"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_each_dangerous_choice_is_said_loudly(values: dict[str, Any], said: str) -> None:
    assert any(said in line for line in charts.notes(values).splitlines() if line.startswith("WARNING"))
