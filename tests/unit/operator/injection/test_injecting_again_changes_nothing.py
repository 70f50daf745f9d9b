"""For all pods: the operations give the pod they say, again is no change, and nobody else's things are touched."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.injection.shape import is_ours
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.reading import pod_of
from mtls_tunnel_operator.model.resources import Tunnel
from support.raw_pods import DEFAULTS, patched, pods, raw_pod
from support.tunnel_resources import space, tunnel

TUNNELS = {mode: tunnel(proxy={"injection": mode}) for mode in ("Auto", "Container", "NativeSidecar")}
MODES = st.sampled_from([*TUNNELS])
GONE = tunnel(
    "gone",
    server={
        "workload": {"selector": {"matchLabels": {"app": "postgres"}}},
        "ports": [{"name": "x", "targetPort": 1, "tlsPort": 9999}],
    },
    clients=[],
)


def injected(pod: Any, mode: str = "Auto", *others: Tunnel) -> Injection:
    seen = pod_of(pod)
    parts = parts_of(space("shop"), seen.labels, seen.account, [TUNNELS[mode], *others])
    return inject(pod, parts, space("shop"), DEFAULTS)


def without_ours(pod: Any) -> Any:
    """What is left when everything with a name of ours is taken out; the order of the rest stays."""
    spec = {**pod["spec"]}
    for key in ("initContainers", "containers", "volumes"):
        items = [item for item in spec.get(key) or [] if not item["name"].startswith("mtls-tunnel")]
        spec[key] = items
    metadata = {**pod["metadata"]}
    for key in ("labels", "annotations"):
        entries = (metadata.get(key) or {}).items()
        ours = (names.GROUP, names.SERVER_LABEL_PREFIX, names.DEFAULT_CONTAINER_ANNOTATION)
        metadata[key] = {name: text for name, text in entries if not name.startswith(ours)}
    return {**pod, "spec": spec, "metadata": metadata}


@given(pods(), MODES)
def test_others_apply_the_operations_and_have_the_same_pod(pod: Any, mode: str) -> None:
    result = injected(pod, mode)
    assert patched(pod, result.ops) == result.pod


@given(pods(), MODES)
def test_pain_24_injecting_an_injected_pod_changes_nothing(pod: Any, mode: str) -> None:
    once = injected(pod, mode)
    again = injected(once.pod, mode)
    assert again.ops == ()
    assert again.pod == once.pod


@given(pods(), MODES, MODES)
def test_pain_24_an_old_injection_leaves_no_trace_in_a_new_one(pod: Any, before: str, now: str) -> None:
    old = injected(pod, before, GONE)
    new, fresh = injected(old.pod, now), injected(pod, now)
    assert patched(old.pod, new.ops) == new.pod
    assert _core(new.pod) == _core(fresh.pod)


@given(pods(), MODES)
def test_pain_34_nothing_that_is_not_ours_is_lost_or_reordered(pod: Any, mode: str) -> None:
    assert without_ours(injected(pod, mode).pod) == without_ours(pod)


@given(pods(), MODES)
def test_the_operator_sees_an_injected_pod_as_injected(pod: Any, mode: str) -> None:
    result = injected(pod, mode)
    seen = pod_of(result.pod)
    assert (seen.injected, seen.revision, seen.tunnels) == (True, result.revision, ("shop/orders-db",))
    ours = [
        one for key in ("initContainers", "containers") for one in result.pod["spec"].get(key) or [] if is_ours(one)
    ]
    assert len(ours) == 1


@given(pods())
def test_pain_25_what_other_webhooks_add_in_between_stays_behind_the_sidecar(pod: Any) -> None:
    once = injected(pod).pod
    mesh = {"name": "mesh-init", "image": "mesh"}
    spec = {**once["spec"], "initContainers": [mesh, *once["spec"]["initContainers"]]}
    spec["volumes"] = [*once["spec"]["volumes"], {"name": "mesh", "emptyDir": {}}]

    again = injected({**once, "spec": spec})

    found = [one["name"] for one in again.pod["spec"]["initContainers"]]
    assert found[:2] == ["mtls-tunnel", "mesh-init"]
    assert {"name": "mesh", "emptyDir": {}} in again.pod["spec"]["volumes"]
    assert patched({**once, "spec": spec}, again.ops) == again.pod


@pytest.mark.parametrize("forged", ["revision", "label"])
def test_marks_of_an_injection_do_not_take_the_place_of_one(forged: str) -> None:
    """No label and no annotation but the documented opt-out lets a pod pass without its sidecar."""
    stamp = injected(raw_pod()).revision
    pod = raw_pod()
    pod["metadata"]["labels"] |= {names.INJECTED_LABEL: "true"} if forged == "label" else {}
    pod["metadata"]["annotations"] = {names.REVISION_ANNOTATION: stamp, names.TUNNELS_ANNOTATION: "shop/orders-db"}

    assert pod_of(injected(pod).pod).injected


def test_a_container_that_only_looks_like_ours_is_replaced_by_ours() -> None:
    fake = {"name": "mtls-tunnel", "image": "evil", "volumeMounts": [{"name": "v", "mountPath": "/etc/mtls-tunnel/x"}]}
    result = injected(raw_pod(initContainers=[fake], volumes=[{"name": "v", "emptyDir": {}}]))

    assert [one["image"] for one in result.pod["spec"]["initContainers"]] == [DEFAULTS.sidecar_image]
    assert result.pod["spec"]["volumes"][0] == {"name": "v", "emptyDir": {}}, "a volume of a name that is not ours"


def _core(pod: Any) -> Any:
    """Lists that became empty are as good as absent, and the default container may stay from a classic sidecar."""
    spec = {key: value for key, value in pod["spec"].items() if value not in ([], None)}
    annotations = {
        key: text for key, text in pod["metadata"]["annotations"].items() if key != names.DEFAULT_CONTAINER_ANNOTATION
    }
    return {**pod, "spec": spec, "metadata": {**pod["metadata"], "annotations": annotations}}
