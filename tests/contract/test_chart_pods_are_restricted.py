"""Every pod that the chart leads to passes Pod Security `restricted`, by the text of that standard.

Whether an API server agrees is asked in tests/cluster; this says which field it would be.
"""

from typing import Any

import pytest

from support import charts

# hostNetwork is the one choice that leaves the standard, and says so.
CASES = [case for case in charts.MATRIX if case != "everything on"]


def faults(spec: dict[str, Any]) -> list[str]:
    """What `restricted` (v1.35) has against a pod."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    around = spec.get("securityContext", {})
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [volume["name"] for volume in spec.get("volumes", []) if not allowed & volume.keys()]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = {**around, **own}
        good = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": "ALL" in own.get("capabilities", {}).get("drop", []),
            "privileged": not own.get("privileged"),
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {name}" for name, is_good in good.items() if not is_good]
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted(case: str) -> None:
    specs = charts.pod_specs(charts.render(charts.MATRIX[case]))
    assert {name: faults(spec) for name, spec in specs.items()} == {name: [] for name in specs}
    assert len(specs) >= 3


def test_the_judge_can_refuse() -> None:
    spec: dict[str, Any] = {
        "hostNetwork": True,
        "containers": [{"name": "c"}],
        "volumes": [{"name": "v", "hostPath": {}}],
    }
    assert len(faults(spec)) == 6


@pytest.mark.parametrize("case", charts.MATRIX)
def test_every_container_has_requests_a_memory_limit_and_a_read_only_root(case: str) -> None:
    for name, spec in charts.pod_specs(charts.render(charts.MATRIX[case])).items():
        for container in spec["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert container["resources"]["limits"].keys() == {"memory"}, name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert spec["enableServiceLinks"] is False, name


def test_pain_06_both_deployments_survive_a_drain_and_an_upgrade() -> None:
    manifests = charts.defaults()
    for part in ("operator", "injector"):
        deployment = charts.named(manifests, "Deployment", f"mtls-tunnel-{part}")
        pod = deployment["spec"]["template"]["spec"]
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert pod["priorityClassName"] == charts.named(manifests, "PriorityClass")["metadata"]["name"]
        selector = deployment["spec"]["selector"]
        budget = charts.named(manifests, "PodDisruptionBudget", f"mtls-tunnel-{part}")["spec"]
        assert (budget["selector"], budget["minAvailable"]) == (selector, 1)
        spread = pod["topologySpreadConstraints"]
        assert [one["labelSelector"] for one in spread] == [selector, selector]
        assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def test_one_replica_has_no_budget_that_would_block_a_drain() -> None:
    manifests = charts.render(charts.MATRIX["kind"])
    assert [one for one in manifests if one["kind"] == "PodDisruptionBudget"] == []
