"""Of a pod and a namespace only what decides is kept; nothing that others write makes reading fail."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.model.pods import Owner, Pod, Space
from mtls_tunnel_operator.model.reading import pod_of, space_of

POD: dict[str, Any] = yaml.safe_load("""
metadata:
  name: web-0
  namespace: shop
  uid: 1-2-3
  creationTimestamp: "2026-11-21T12:00:00Z"
  labels: {app: web}
  annotations: {mtlstunnel.dev/revision: abc, mtlstunnel.dev/tunnels: "shop/a, shop/b,", other: x}
  ownerReferences:
  - {apiVersion: v1, kind: Thing, name: t, uid: "0"}
  - {apiVersion: apps/v1, kind: StatefulSet, name: web, uid: "9", controller: true}
spec:
  serviceAccountName: web
  nodeName: node-1
  initContainers:
  - name: mtls-tunnel
    restartPolicy: Always
    ports: [{name: mtls-admin, containerPort: 15971}]
    volumeMounts: [{name: mtls-tunnel-0123456789, mountPath: /etc/mtls-tunnel/0123456789}]
  - {name: wait, ports: [{containerPort: 1}]}
  - {name: logs, restartPolicy: Always, ports: [{containerPort: 24224}]}
  containers:
  - name: web
    ports: [{containerPort: 8080}, {containerPort: 53, protocol: UDP}, {containerPort: 8443, protocol: TCP}]
status:
  phase: Running
  conditions: [{type: Ready, status: "True"}]
""")


def test_a_pod_is_reduced_to_what_decides() -> None:
    assert pod_of(POD) == Pod(
        namespace="shop",
        name="web-0",
        uid="1-2-3",
        labels={"app": "web"},
        account="web",
        phase="Running",
        created=1795262400.0,
        owner=Owner("apps/v1", "StatefulSet", "web", "9"),
        injected=True,
        ready=True,
        revision="abc",
        tunnels=("shop/a", "shop/b"),
        ports=(8080, 8443, 24224),
        node="node-1",
    )


def test_a_pod_on_its_way_in_has_kubernetes_defaults() -> None:
    found = pod_of({"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "web"}]}})
    assert found == Pod(namespace="default", name="web-", uid="", labels={})


def sidecar(name: str = "mtls-tunnel", path: str = "/etc/mtls-tunnel/0123456789") -> dict[str, Any]:
    return {"name": name, "volumeMounts": [{"name": "v", "mountPath": path}]}


@pytest.mark.parametrize(
    ("spec", "injected"),
    [
        pytest.param({"containers": [{"name": "web"}, sidecar()]}, True, id="a classic container"),
        pytest.param({"initContainers": [sidecar() | {"restartPolicy": "Always"}]}, True, id="a native sidecar"),
        pytest.param({"containers": [sidecar("web")]}, False, id="another's name"),
        pytest.param({"containers": [sidecar(path="/etc/other")]}, False, id="our name on another's container"),
        pytest.param({"containers": [sidecar(path="/etc/mtls-tunnel-x/0")]}, False, id="a path that only begins alike"),
        pytest.param({"containers": [{"name": "mtls-tunnel"}]}, False, id="our name and no files"),
    ],
)
def test_injected_means_that_our_container_is_there(spec: dict[str, Any], injected: bool) -> None:
    labelled = {"labels": {"mtlstunnel.dev/injected": "true"}}
    assert pod_of({"metadata": labelled, "spec": spec}).injected is injected


@pytest.mark.parametrize(
    ("spec", "windows"),
    [
        ({"os": {"name": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, True),
        ({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "windows"}}, False),
        ({}, False),
    ],
)
def test_a_pod_for_windows_says_so(spec: dict[str, Any], windows: bool) -> None:
    assert pod_of({"spec": spec}).windows is windows


def test_a_pod_on_its_way_out_and_on_the_hosts_network_say_so() -> None:
    found = pod_of({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}, "spec": {"hostNetwork": True}})
    assert (found.deleting, found.host_network) == (True, True)


@pytest.mark.parametrize(
    ("raw", "space"),
    [
        pytest.param({"metadata": {"name": "a"}}, Space("a"), id="bare"),
        pytest.param(
            {"metadata": {"name": "a", "annotations": {"mtlstunnel.dev/accept-tunnels-from": "shop, bank,,"}}},
            Space("a", {}, frozenset({"shop", "bank"})),
            id="accepting",
        ),
        pytest.param(
            {"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}, Space("a", terminating=True), id="ending"
        ),
        pytest.param({"metadata": {"name": "a", "deletionTimestamp": "x"}}, Space("a", terminating=True), id="deleted"),
        pytest.param({"metadata": {"name": "a", "labels": {"b": "c"}}}, Space("a", {"b": "c"}), id="labelled"),
    ],
)
def test_a_namespace_is_reduced(raw: dict[str, Any], space: Space) -> None:
    assert space_of(raw) == space


def test_only_the_word_enabled_opts_in() -> None:
    found = [Space("a", {"mtlstunnel.dev/injection": word}).enabled for word in ("enabled", "true", "Enabled", "")]
    assert found == [True, False, False, False]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "status", "containers", "ports", "labels", "name", "os", "ownerReferences"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JUNK))
def test_nothing_that_others_write_makes_reading_fail(raw: dict[str, Any]) -> None:
    assert pod_of(raw).injected is False
    assert space_of(raw).enabled is False
