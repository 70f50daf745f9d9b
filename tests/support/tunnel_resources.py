"""Tunnels, namespaces and pods for the operator's tests: as YAML has them, and as the operator reads them."""

import copy
from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.pods import Owner, Pod, Space
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Tunnel

Raw = dict[str, Any]

NOON = 1_800_000_000.0  # a clock for tests that do not care


def tunnel_raw(name: str = "orders-db", namespace: str = "shop", uid: str = "", **spec: Any) -> Raw:
    """The minimal example, with fields of `spec` replaced."""
    body: Raw = {
        "server": {
            "workload": {"selector": {"matchLabels": {"app": "postgres"}}},
            "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
        },
        "clients": [
            {
                "name": "api",
                "selector": {"matchLabels": {"app": "orders-api"}},
                "listeners": [{"port": "pg", "localPort": 5432}],
            }
        ],
    }
    metadata = {"name": name, "namespace": namespace, "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z"}
    if uid:
        metadata["uid"] = uid
    return {"apiVersion": names.API_VERSION, "kind": "MtlsTunnel", "metadata": metadata, "spec": {**body, **spec}}


def tunnel(
    name: str = "orders-db", namespace: str = "shop", status: Mapping[str, Any] | None = None, **spec: Any
) -> Tunnel:
    """The same as the operator reads it."""
    raw = tunnel_raw(name, namespace, f"uid-{namespace}-{name}", **spec)
    return tunnel_of({**raw, "status": copy.deepcopy(dict(status or {}))})


def space_raw(name: str, *, enabled: bool = True, accepts: str = "") -> Raw:
    """A namespace, opted in unless said otherwise."""
    metadata: Raw = {"name": name, "labels": {"kubernetes.io/metadata.name": name}, "annotations": {}}
    if enabled:
        metadata["labels"][names.INJECTION_LABEL] = names.ENABLED
    if accepts:
        metadata["annotations"][names.ACCEPT_ANNOTATION] = accepts
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "status": {"phase": "Active"}}


def space(name: str = "shop", *, enabled: bool = True, accepts: tuple[str, ...] = ()) -> Space:
    """The same as the operator reads it."""
    labels = {names.INJECTION_LABEL: names.ENABLED} if enabled else {}
    return Space(name, labels, frozenset(accepts))


def pod(name: str = "postgres-0", app: str = "postgres", **fields: Any) -> Pod:
    """A running pod of a StatefulSet, or whatever *fields* say."""
    base: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "labels": {"app": app},
        "phase": "Running",
        "ready": True,
        "created": NOON - 3600,
        "owner": Owner("apps/v1", "StatefulSet", app, f"uid-{app}"),
    }
    return Pod(**{**base, **fields})


def pod_raw(
    name: str, namespace: str = "shop", app: str = "postgres", *, revision: str = "", owner: Raw | None = None
) -> Raw:
    """A running, ready pod; with *revision* it carries the sidecar."""
    metadata: Raw = {"name": name, "namespace": namespace, "labels": {"app": app}, "annotations": {}}
    if owner:
        metadata["ownerReferences"] = [{"uid": f"uid-{owner['name']}", **owner, "controller": True}]
    spec: Raw = {"containers": [{"name": "app", "image": "app"}], "serviceAccountName": "default"}
    if revision:
        metadata["annotations"][names.REVISION_ANNOTATION] = revision
        metadata["labels"][names.INJECTED_LABEL] = "true"
        mounts = [{"name": "mtls-tunnel-0", "mountPath": f"{names.MOUNT_ROOT}/0"}]
        sidecar = {"name": names.CONTAINER, "image": "sidecar", "restartPolicy": "Always", "volumeMounts": mounts}
        spec["initContainers"] = [sidecar]
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
