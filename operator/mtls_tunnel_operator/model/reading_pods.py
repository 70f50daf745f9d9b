"""A pod or a namespace as the API server has it, reduced to what is kept.  Never refused: others made it."""

from collections.abc import Iterator, Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.metadata import listed, strings
from mtls_tunnel_operator.model.moments import epoch
from mtls_tunnel_operator.model.pods import Owner, Pod, Space

Raw = Mapping[str, Any]


def pod_of(raw: Raw) -> Pod:
    """Read a pod; what is absent takes Kubernetes' default."""
    meta, spec, status = _part(raw, "metadata"), _part(raw, "spec"), _part(raw, "status")
    annotations = strings(meta.get("annotations"))
    containers = tuple(_containers(spec))
    return Pod(
        namespace=str(meta.get("namespace") or "default"),
        name=str(meta.get("name") or meta.get("generateName") or ""),
        uid=str(meta.get("uid") or ""),
        labels=strings(meta.get("labels")),
        account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        phase=str(status.get("phase") or "Pending"),
        created=epoch(meta.get("creationTimestamp")),
        owner=_owner(meta),
        injected=any(_is_ours(container) for container in containers),
        foreign_container=any(one.get("name") == names.CONTAINER and not _is_ours(one) for one in containers),
        ready=_is_ready(status),
        deleting=bool(meta.get("deletionTimestamp")),
        host_network=bool(spec.get("hostNetwork")),
        windows=_is_windows(spec),
        revision=annotations.get(names.REVISION_ANNOTATION, ""),
        tunnels=listed(annotations.get(names.TUNNELS_ANNOTATION, "")),
        ports=tuple(sorted({port for container in containers for port in _ports(container)})),
        node=str(spec.get("nodeName") or ""),
    )


def space_of(raw: Raw) -> Space:
    """Read a namespace."""
    meta, status = _part(raw, "metadata"), _part(raw, "status")
    return Space(
        name=str(meta.get("name") or ""),
        labels=strings(meta.get("labels")),
        accepts=frozenset(listed(strings(meta.get("annotations")).get(names.ACCEPT_ANNOTATION, ""))),
        terminating=bool(meta.get("deletionTimestamp")) or status.get("phase") == "Terminating",
    )


def _containers(spec: Raw) -> Iterator[Raw]:
    """Containers that run beside the application; an ordinary init container is gone by then."""
    yield from _all(spec, "containers")
    yield from (item for item in _all(spec, "initContainers") if item.get("restartPolicy") == "Always")


def _is_ours(container: Raw) -> bool:
    """Another's container may bear our name; what makes it ours is that it has our files."""
    mounts = _all(container, "volumeMounts")
    return container.get("name") == names.CONTAINER and any(
        str(mount.get("mountPath")).startswith(f"{names.MOUNT_ROOT}/") for mount in mounts
    )


def _ports(container: Raw) -> Iterator[int]:
    for port in () if _is_ours(container) else _all(container, "ports"):
        number = port.get("containerPort")
        if port.get("protocol", "TCP") == "TCP" and isinstance(number, int):
            yield number


def _owner(meta: Raw) -> Owner | None:
    for reference in _all(meta, "ownerReferences"):
        if reference.get("controller"):
            return Owner(*(str(reference.get(key) or "") for key in ("apiVersion", "kind", "name", "uid")))
    return None


def _is_ready(status: Raw) -> bool:
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in _all(status, "conditions"))


def _is_windows(spec: Raw) -> bool:
    named = _part(spec, "os").get("name") or _part(spec, "nodeSelector").get("kubernetes.io/os")
    return named == "windows"


def _part(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _all(raw: Raw, key: str) -> Iterator[Raw]:
    value = raw.get(key)
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list | tuple) else iter(())
