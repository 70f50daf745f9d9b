"""Whether a pod gets its sidecar: injected, left alone, or refused with the remedy.

A pod that cannot be injected is let through with a warning, because a webhook that refuses pods for what
they are stops clusters; the operator reports it.  A pod that says ``mtlstunnel.dev/inject: "true"`` wants it
the other way round: it is refused until it can be injected, and its controller tries again.

Asked are the pod's labels, annotations and spec, its namespace and the tunnels; never a name or uid, which a
pod of a controller does not have yet.  PURE.
"""

from dataclasses import dataclass

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection import shape
from mtls_tunnel_operator.injection.sidecar import NO_TOKEN, OUR_VOLUMES
from mtls_tunnel_operator.model.parts import Part, clashes
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import pod_of
from mtls_tunnel_operator.settings import Defaults

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
REQUIRED = "true"
# Nothing is wrong with these: nobody is told.
SILENT = frozenset({"NotSelected", "OptedOut", "ExcludedNamespace", "MirrorPod"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`skipped` is "" for a pod to inject, else one CamelCase word; `denied` refuses the pod."""

    skipped: str = ""
    message: str = ""
    denied: bool = False


def decide(pod: shape.Raw, parts: tuple[Part, ...], space: Space, defaults: Defaults) -> Verdict:
    """Decide on *pod*, which has *parts* in the namespace *space*.

    Raises:
        SpecError: MalformedPod.
    """
    labels = shape.labels_of(pod)
    skipped, message = _obstacle(pod, labels, parts, space, defaults)
    if skipped and labels.get(names.INJECT_LABEL) == REQUIRED and skipped not in ("ExcludedNamespace", "MirrorPod"):
        return Verdict(skipped, f'label {names.INJECT_LABEL} "true" requires the sidecar, but {message}', denied=True)
    return Verdict(skipped, message)


def _obstacle(
    pod: shape.Raw, labels: shape.Raw, parts: tuple[Part, ...], space: Space, defaults: Defaults
) -> tuple[str, str]:
    if space.name in names.SYSTEM_NAMESPACES or space.name == defaults.operator_namespace:
        return "ExcludedNamespace", f"namespace {space.name} is left out: use another one"
    if labels.get(names.INJECT_LABEL) == "false":
        return "OptedOut", f'label {names.INJECT_LABEL} is "false": remove it to get the sidecar'
    if MIRROR_ANNOTATION in shape.annotations_of(pod):
        return "MirrorPod", "static pods cannot be injected"
    if not parts:
        return "NotSelected", _nobody(space)
    return _unfit(pod, parts)


def _nobody(space: Space) -> str:
    if not space.enabled:
        return (
            f"namespace {space.name} has not opted in: kubectl label namespace {space.name} "
            f"{names.INJECTION_LABEL}={names.ENABLED}"
        )
    return f"no MtlsTunnel selects this pod: check selectors and service accounts (kubectl get mtt -n {space.name})"


def _unfit(pod: shape.Raw, parts: tuple[Part, ...]) -> tuple[str, str]:
    seen = pod_of(pod)
    if seen.host_network:
        return "HostNetwork", "the pod uses the host's network, where ports would be the node's: set hostNetwork: false"
    if seen.windows:
        return "Windows", "the sidecar runs on Linux nodes only: narrow the selector of the MtlsTunnel"
    if any(one["name"] == names.CONTAINER and not shape.is_ours(one) for one in shape.containers_of(pod)):
        return "ForeignContainer", f"the pod has a container {names.CONTAINER} of its own: rename it"
    taken = foreign_volumes(pod) & {NO_TOKEN, *(names.volume_name(part.volume_id) for part in parts)}
    if taken:
        return "ForeignVolume", f"the pod has a volume {min(taken)} of its own: rename it"
    sentences = clashes(parts, seen.ports)
    return ("PortConflict", "; ".join(sentences)) if sentences else ("", "")


def foreign_volumes(pod: shape.Raw) -> frozenset[str]:
    """Names of the volumes that are not of an earlier injection."""
    ours = our_volumes(pod)
    return frozenset(volume["name"] for volume in shape.items_of(pod, "volumes")) - ours


def our_volumes(pod: shape.Raw) -> frozenset[str]:
    """Names of volumes of an earlier injection: those that its sidecar mounts and that are named like ours."""
    mounted = (shape.mounted_volumes(one) for one in shape.containers_of(pod) if shape.is_ours(one))
    return frozenset(name for names_ in mounted for name in names_ if OUR_VOLUMES.fullmatch(name))
