"""Let through with a warning, or refused if the pod says that it must have its sidecar."""

from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.pods import Space
from support.raw_pods import DEFAULTS, labelled, raw_pod
from support.tunnel_resources import space, tunnel


def injected(pod: Any, where: Space | None = None) -> Injection:
    where = where or space("shop")
    labels = pod["metadata"].get("labels") or {}
    return inject(pod, parts_of(where, labels, "default", [tunnel()]), where, DEFAULTS)


OWN = names.volume_name(names.volume_id("shop", "orders-db", "server"))
UNFIT = [
    pytest.param(raw_pod(hostNetwork=True), "HostNetwork", "hostNetwork: false", id="host network"),
    pytest.param(raw_pod(os={"name": "windows"}), "Windows", "narrow the selector", id="windows"),
    pytest.param(
        raw_pod(nodeSelector={"kubernetes.io/os": "windows"}), "Windows", "narrow the selector", id="windows nodes"
    ),
    pytest.param(
        raw_pod(containers=[{"name": "mtls-tunnel", "image": "somebody's"}]), "ForeignContainer", "rename it", id="name"
    ),
    pytest.param(raw_pod(volumes=[{"name": OWN, "emptyDir": {}}]), "ForeignVolume", "rename it", id="volume"),
    pytest.param(
        raw_pod(containers=[{"name": "a", "ports": [{"containerPort": 15432}]}]),
        "PortConflict",
        "choose another tlsPort",
        id="tls port taken",
    ),
    pytest.param(
        raw_pod(containers=[{"name": "a", "ports": [{"containerPort": 15971}]}]),
        "PortConflict",
        "adminPort",
        id="admin port taken",
    ),
]


@pytest.mark.parametrize(("pod", "reason", "remedy"), UNFIT)
def test_it_is_let_through_unchanged_with_the_remedy(pod: Any, reason: str, remedy: str) -> None:
    result = injected(pod)

    assert (result.ops, result.pod, result.skipped, result.denied) == ((), pod, reason, "")
    (warning,) = result.warnings
    assert warning.startswith("not injected: ")
    assert remedy in warning


@pytest.mark.parametrize(("pod", "reason", "remedy"), UNFIT)
def test_it_is_refused_with_the_remedy_if_it_must_be_injected(pod: Any, reason: str, remedy: str) -> None:
    result = injected(labelled(pod, inject="true"))

    assert (result.ops, result.skipped, result.warnings) == ((), reason, ())
    assert 'mtlstunnel.dev/inject "true" requires the sidecar' in result.denied
    assert remedy in result.denied


def test_a_pod_that_no_tunnel_selects_is_nobodys_business() -> None:
    result = injected(raw_pod("web"))
    assert (result.ops, result.warnings, result.denied) == ((), (), "")


def test_a_pod_that_must_be_injected_and_is_not_selected_is_refused() -> None:
    """One `kubectl apply` or chart carries both, and the tunnel comes last: the pod's controller tries again."""
    result = injected(labelled(raw_pod("web"), inject="true"))
    assert "no MtlsTunnel selects this pod" in result.denied


def test_a_namespace_that_has_not_opted_in_is_named_with_the_command() -> None:
    result = injected(labelled(raw_pod(), inject="true"), space("shop", enabled=False))
    assert "kubectl label namespace shop mtlstunnel.dev/injection=enabled" in result.denied


def test_the_opt_out_is_silent() -> None:
    result = injected(labelled(raw_pod(), inject="false"))
    assert (result.ops, result.warnings, result.skipped) == ((), (), "OptedOut")


def test_another_word_in_that_label_is_said_to_have_no_meaning() -> None:
    result = injected(labelled(raw_pod(), inject="no"))
    assert result.skipped == ""
    assert any("'no'" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", ["kube-system", "kube-public", "kube-node-lease", DEFAULTS.operator_namespace])
@pytest.mark.parametrize("choice", ["true", "maybe"])
def test_pain_06_namespaces_that_the_cluster_lives_on_are_left_alone_whatever_their_labels_say(
    name: str, choice: str
) -> None:
    where = space(name)
    parts = parts_of(where, {"app": "postgres"}, "default", [tunnel(namespace=name)])
    assert parts

    result = inject(labelled(raw_pod(), inject=choice), parts, where, DEFAULTS)

    assert (result.ops, result.denied, result.warnings) == ((), "", ())


def test_a_mirror_pod_cannot_be_changed_and_is_not_refused() -> None:
    pod = labelled(raw_pod(), inject="true")
    pod["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    result = injected(pod)
    assert (result.skipped, result.ops, result.denied) == ("MirrorPod", (), "")


def test_a_sidecar_that_comes_with_a_pod_nobody_selects_stays_and_is_named() -> None:
    """Taken out, the pod would start in the clear; left in, it waits for its Secret."""
    pod = injected(raw_pod()).pod
    pod["metadata"]["labels"]["app"] = "web"

    result = injected(pod)

    assert result.pod == pod
    assert any("no MtlsTunnel selects it" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("pod", "place"),
    [
        pytest.param({}, "metadata", id="nothing"),
        pytest.param({"metadata": {}, "spec": None}, "spec", id="no spec"),
        pytest.param({"metadata": [], "spec": {}}, "metadata", id="metadata is a list"),
        pytest.param({"metadata": {"labels": {"a": 1}}, "spec": {}}, "metadata.labels", id="a number as label"),
        pytest.param({"metadata": {"annotations": "x"}, "spec": {}}, "metadata.annotations", id="annotations"),
    ],
)
def test_what_is_no_pod_is_named_by_its_place(pod: Any, place: str) -> None:
    with pytest.raises(SpecError, match=f"this is no pod: {place} is not") as caught:
        inject(pod, (), space("shop"), DEFAULTS)
    assert caught.value.reason == "MalformedPod"


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"containers": "x"}, r"spec\.containers"),
        ({"containers": [None]}, r"spec\.containers\[0\]"),
        ({"containers": [{"name": 1}]}, r"spec\.containers\[0\]"),
        ({"initContainers": {"a": 1}}, r"spec\.initContainers"),
        ({"volumes": [[]]}, r"spec\.volumes\[0\]"),
    ],
)
def test_lists_that_are_none_are_named_before_anything_is_put_into_them(spec: Any, place: str) -> None:
    with pytest.raises(SpecError, match=place):
        injected({"metadata": {"labels": {"app": "postgres"}}, "spec": spec})
