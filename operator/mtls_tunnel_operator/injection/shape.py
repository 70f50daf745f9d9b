"""A raw pod, looked at: the few places that injection reads are checked, everything else is left unseen.

The API server sends only what it could decode; files and strangers send anything.  What does not have the
shape of a pod is a `SpecError` (reason MalformedPod) that names the place.  PURE: nothing is copied or
changed.
"""

from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import SpecError

Raw = Mapping[str, Any]

_BOTH = ("requests", "limits")
_SHARED = {"cpu", "memory"}


def labels_of(pod: Raw) -> Mapping[str, str]:
    """The pod's labels.

    Raises:
        SpecError: MalformedPod, here and in all functions below.
    """
    return _texts(_mapping(pod, "metadata"), "labels", "metadata.labels")


def annotations_of(pod: Raw) -> Mapping[str, str]:
    """The pod's annotations."""
    return _texts(_mapping(pod, "metadata"), "annotations", "metadata.annotations")


def spec_of(pod: Raw) -> Raw:
    """The pod's spec."""
    return _mapping(pod, "spec")


def items_of(pod: Raw, key: str) -> list[Raw]:
    """A list of named mappings below spec: containers, initContainers, volumes; absent and null are empty."""
    found = spec_of(pod).get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise _malformed(f"spec.{key}", "a list")
    for index, item in enumerate(found):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise _malformed(f"spec.{key}[{index}]", "a mapping with a name")
    return found


def containers_of(pod: Raw) -> list[Raw]:
    """All containers, init containers first."""
    return [*items_of(pod, "initContainers"), *items_of(pod, "containers")]


def is_ours(container: Raw) -> bool:
    """Whether a container is an injected sidecar: ours by name and by our files, labels are no proof.

    The operator asks the same in `model.reading_pods`, so that both see the same pods as injected.
    """
    return container.get("name") == names.CONTAINER and any(
        path.startswith(f"{names.MOUNT_ROOT}/") for path, _ in _mounts(container)
    )


def mounted_volumes(container: Raw) -> frozenset[str]:
    """Names of the volumes that a container mounts."""
    return frozenset(name for _, name in _mounts(container))


def has_group(pod: Raw) -> bool:
    """Whether the pod has an fsGroup, which then owns the files in its volumes."""
    context = spec_of(pod).get("securityContext")
    return isinstance(context, dict) and context.get("fsGroup") is not None


def budget_of(pod: Raw) -> frozenset[str]:
    """Resources that the pod has for all its containers together (spec.resources, on from Kubernetes 1.34).

    A limit on one makes it both cpu and memory: the API server then fills in the pod's requests from those of its
    containers, and what is added to one later would exceed them.
    """
    resources = spec_of(pod).get("resources")
    stated = resources if isinstance(resources, dict) else {}
    requests, limits = ({*found} if isinstance(found := stated.get(key), dict) else set() for key in _BOTH)
    return frozenset(map(str, requests | limits | (_SHARED if limits else set())))


def _mounts(container: Raw) -> list[tuple[str, str]]:
    mounts = container.get("volumeMounts")
    found = [mount for mount in mounts if isinstance(mount, dict)] if isinstance(mounts, list) else []
    return [(str(mount.get("mountPath")), str(mount.get("name"))) for mount in found]


def _mapping(pod: Raw, key: str) -> Raw:
    found = pod.get(key) if isinstance(pod, dict) else None
    if not isinstance(found, dict):
        raise _malformed(key, "a mapping")
    return found


def _texts(metadata: Raw, key: str, place: str) -> Mapping[str, str]:
    found = metadata.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _malformed(place, "a mapping of strings")
    return found


def _malformed(place: str, want: str) -> SpecError:
    return SpecError("MalformedPod", f"this is no pod: {place} is not {want}; correct the manifest")
