"""A pod with `spec.resources` is one that the API server still takes with the sidecar in it.

`refused` and `defaulted` are the API server's rules, from validatePodResourceConsistency, SetDefaults_Pod and
defaultPodRequests of Kubernetes 1.35; tests/cluster asks the real one.
"""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.revision import revision
from mtls_tunnel_operator.settings import Defaults
from support.raw_pods import DEFAULTS, container, patched, raw_pod
from support.tunnel_resources import space, tunnel

BUDGET = {"cpu": "100m", "memory": "64Mi"}
SCALES = {"m": 0.001, "Mi": 2**20}
PARTS = {
    mode: parts_of(space(), {"app": "postgres"}, "default", [tunnel(proxy={"injection": mode})])
    for mode in ("NativeSidecar", "Container")
}
MODES = st.sampled_from([*PARTS])

_amounts = st.fixed_dictionaries(
    {}, optional={"cpu": st.sampled_from(["5m", "100m"]), "memory": st.sampled_from(["8Mi", "64Mi"])}
)
_resources = st.fixed_dictionaries({}, optional={"requests": _amounts, "limits": _amounts})


def injected(pod: Any, mode: str = "NativeSidecar", defaults: Defaults = DEFAULTS) -> Injection:
    return inject(pod, PARTS[mode], space(), defaults)


def pod_with(resources: Any, asked: Any = None) -> Any:
    """A pod with *resources*, whose container asks for requests and limits."""
    return raw_pod(resources=resources, containers=[{"name": "db", "image": "d", "resources": asked or {}}])


def defaulted(pod: Any) -> Any:
    """*pod* as the API server fills it in, when it comes and after every patch."""
    made = copy.deepcopy(pod)
    for one in _containers(made):
        stated = one.setdefault("resources", {})
        stated["requests"] = {**stated.get("limits", {}), **stated.get("requests", {})}
    budget = made["spec"]["resources"]
    if budget.get("limits"):
        budget["requests"] = {**budget["limits"], **_together(made), **budget.get("requests", {})}
    return made


def refused(pod: Any) -> list[str]:
    """What the API server has against the resources of *pod*."""
    budget = pod["spec"]["resources"]
    requests, limits = budget.get("requests", {}), budget.get("limits", {})
    found = [f"requests {name}" for name, all_ in _together(pod).items() if _more(all_, requests.get(name))]
    found += [f"request above limit {name}" for name, value in requests.items() if _more(value, limits.get(name))]
    for one in pod["spec"]["containers"]:  # those of init containers are not looked at
        stated = one["resources"].get("limits", {})
        found += [f"limit {name}" for name, value in stated.items() if _more(value, limits.get(name))]
    return found


def _containers(pod: Any) -> list[Any]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _together(pod: Any) -> dict[str, str]:
    """Requests of all containers; there are no init containers that end."""
    found: dict[str, float] = {}
    for one in _containers(pod):
        for name, value in one["resources"].get("requests", {}).items():
            found[name] = found.get(name, 0) + _number(value)
    return {name: f"{total / SCALES['m']}m" for name, total in found.items()}


def _more(value: str, than: str | None) -> bool:
    return than is not None and _number(value) > _number(than) + 1e-6


def _number(value: str) -> float:
    unit = next(unit for unit in SCALES if value.endswith(unit))
    return float(value.removesuffix(unit)) * SCALES[unit]


@given(_resources, _resources, MODES)
def test_no_pod_that_was_valid_becomes_invalid(budget: Any, asked: Any, mode: str) -> None:
    pod = defaulted(pod_with(budget, asked))
    before = refused(pod)

    after = refused(defaulted(injected(pod, mode).pod))

    assert set(after) <= set(before)


@given(_resources, _resources, MODES)
def test_what_the_api_server_fills_in_after_an_injection_changes_no_later_one(
    budget: Any, asked: Any, mode: str
) -> None:
    once = injected(defaulted(pod_with(budget, asked)), mode)
    filled = defaulted(once.pod)
    again = injected(filled, mode)

    assert container(again.pod) == container(once.pod)
    assert patched(filled, again.ops) == again.pod


@pytest.mark.parametrize("mode", PARTS)
@pytest.mark.parametrize(
    "budget",
    [
        pytest.param({"requests": BUDGET}, id="requests"),
        pytest.param({"limits": BUDGET}, id="limits, as in a file"),
        pytest.param({"limits": {"cpu": "100m"}}, id="one limit: the API server makes requests of both"),
        pytest.param({"requests": BUDGET, "limits": BUDGET}, id="both"),
    ],
)
def test_the_sidecar_shares_the_budget_of_its_pod_and_says_so(budget: Any, mode: str) -> None:
    result = injected(pod_with(budget), mode)

    assert container(result.pod)["resources"] == {}
    assert result.pod["spec"]["resources"] == budget
    (warning,) = result.warnings
    assert "the pod has cpu, memory for all its containers (spec.resources)" in warning


def test_a_resource_that_the_pod_does_not_name_stays_the_sidecars() -> None:
    result = injected(pod_with({"requests": {"cpu": "100m"}}))

    assert container(result.pod)["resources"] == {"requests": {"memory": "40Mi"}, "limits": {"memory": "128Mi"}}
    assert "the pod has cpu for all" in result.warnings[0]


def test_resources_that_no_pod_can_have_stay_the_sidecars() -> None:
    defaults = Defaults(sidecar_image="i:1", sidecar_resources={"requests": {"cpu": "1m", "ephemeral-storage": "1Mi"}})

    result = injected(pod_with({"limits": BUDGET}), defaults=defaults)

    assert container(result.pod)["resources"] == {"requests": {"ephemeral-storage": "1Mi"}}


@pytest.mark.parametrize("nothing", [None, {}, {"requests": {}}, {"limits": None}, "much", {"requests": ["cpu"]}])
def test_a_pod_that_names_no_resource_has_no_budget(nothing: Any) -> None:
    result = injected(pod_with(nothing))

    assert container(result.pod)["resources"] == container(injected(raw_pod()).pod)["resources"]
    assert result.warnings == ()


def test_a_budget_makes_no_pod_look_outdated() -> None:
    stamp = injected(pod_with({"limits": BUDGET})).revision
    assert stamp == injected(raw_pod()).revision == revision(PARTS["NativeSidecar"], "default", DEFAULTS)
