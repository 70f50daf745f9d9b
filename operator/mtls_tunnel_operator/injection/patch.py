"""The sidecar of a pod as JSON patch operations, made from the raw dict.

A pod is never read into a typed model and written back: an old model drops what it does not know (the
restartPolicy of a native sidecar, once).  Injecting again removes what an earlier injection added and adds it
anew, so `inject(inject(pod)) == inject(pod)`: other webhooks may run before, after and in between.

The sidecar stands first among the init containers, so that it runs before all of them; as a classic
container (by choice) it stands last, because `kubectl logs` and `exec` take the first.

Sources: RFC 6902 (JSON Patch), RFC 6901 (JSON Pointer).  PURE.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection import shape, sidecar
from mtls_tunnel_operator.injection.verdict import SILENT, decide, our_volumes
from mtls_tunnel_operator.model.parts import Part
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import pod_of
from mtls_tunnel_operator.model.revision import Sidecar, revision
from mtls_tunnel_operator.model.revision import sidecar as sidecar_of
from mtls_tunnel_operator.settings import Defaults

Op = dict[str, Any]

_GRACE_SECONDS = 30  # what Kubernetes takes for terminationGracePeriodSeconds


@dataclass(frozen=True, slots=True)
class Injection:
    """`ops` turn the pod that came into `pod`; both are unchanged where `skipped` says why.

    `denied` is the sentence with which the pod is refused, "" for one that is let through.
    """

    ops: tuple[Op, ...]
    pod: shape.Raw
    warnings: tuple[str, ...] = ()
    skipped: str = ""
    denied: str = ""
    revision: str = ""


def inject(pod: shape.Raw, parts: tuple[Part, ...], space: Space, defaults: Defaults) -> Injection:
    """Give *pod* the sidecar of its *parts* (in leading order); *pod* itself is not changed.

    Raises:
        SpecError: MalformedPod.
    """
    verdict = decide(pod, parts, space, defaults)
    if verdict.skipped:
        told = () if verdict.skipped in SILENT else (f"not injected: {verdict.message}",)
        warnings = () if verdict.denied else (*told, *_stray(pod, verdict.skipped))
        return Injection((), pod, warnings, verdict.skipped, verdict.message if verdict.denied else "")
    made, account = sidecar_of(parts, defaults), pod_of(pod).account
    stamp = revision(parts, account, defaults)
    metadata, metadata_ops = _metadata(pod, parts, stamp, native=made.native)
    added = sidecar.container(parts, made, defaults, shape.budget_of(pod))
    spec, spec_ops = _spec(pod, added, sidecar.volumes(parts, pod, account), native=made.native)
    patched = {**pod, "metadata": metadata, "spec": spec}
    return Injection((*metadata_ops, *spec_ops), patched, _warnings(pod, parts, made), revision=stamp)


def _metadata(pod: shape.Raw, parts: tuple[Part, ...], stamp: str, *, native: bool) -> tuple[dict[str, Any], list[Op]]:
    labels, annotations = shape.labels_of(pod), shape.annotations_of(pod)
    new_labels = {key: value for key, value in labels.items() if not key.startswith(names.SERVER_LABEL_PREFIX)}
    new_labels[names.INJECTED_LABEL] = "true"
    new_labels |= {names.server_label(part.tunnel.key.name): "true" for part in parts if part.role == "server"}
    new_annotations = {
        **annotations,
        names.TUNNELS_ANNOTATION: ",".join(dict.fromkeys(str(part.tunnel.key) for part in parts)),
        names.REVISION_ANNOTATION: stamp,
    }
    if not native:
        application = [one["name"] for one in shape.items_of(pod, "containers") if not shape.is_ours(one)]
        for name in application[:1]:
            new_annotations.setdefault(names.DEFAULT_CONTAINER_ANNOTATION, name)
    metadata = {**pod["metadata"], "labels": new_labels, "annotations": new_annotations}
    return metadata, [
        *_mapping_ops(pod["metadata"], "labels", new_labels),
        *_mapping_ops(pod["metadata"], "annotations", new_annotations),
    ]


def _spec(
    pod: shape.Raw, container: dict[str, Any], volumes: list[Any], *, native: bool
) -> tuple[dict[str, Any], list[Op]]:
    stale = our_volumes(pod)
    first, last = ([container], []) if native else ([], [container])
    spec, ops = dict(shape.spec_of(pod)), []
    for key, before, after, ours in (
        ("initContainers", first, [], shape.is_ours),
        ("containers", [], last, shape.is_ours),
        ("volumes", [], volumes, lambda volume: volume["name"] in stale),
    ):
        items, found = _list_ops(pod, key, before, after, ours)
        if found:
            spec[key] = items
            ops += found
    return spec, ops


def _list_ops(
    pod: shape.Raw, key: str, before: list[Any], after: list[Any], ours: Callable[[shape.Raw], bool]
) -> tuple[list[Any], list[Op]]:
    """The list at spec.*key* with our items exchanged, and the operations that do the same."""
    old, path = shape.items_of(pod, key), f"/spec/{key}"
    new = [*before, *(item for item in old if not ours(item)), *after]
    if new == old:
        return old, []
    if not old:
        return new, [{"op": "add", "path": path, "value": new}]
    # From the end, so that the indexes before it stay true.
    ops: list[Op] = [
        {"op": "remove", "path": f"{path}/{index}"} for index in reversed(range(len(old))) if ours(old[index])
    ]
    ops += [{"op": "add", "path": f"{path}/{index}", "value": item} for index, item in enumerate(before)]
    ops += [{"op": "add", "path": f"{path}/-", "value": item} for item in after]
    return new, ops


def _mapping_ops(metadata: shape.Raw, key: str, new: Mapping[str, str]) -> list[Op]:
    old, path = metadata.get(key), f"/metadata/{key}"
    if not old:
        return [{"op": "add", "path": path, "value": new}]
    gone = [{"op": "remove", "path": f"{path}/{_pointer(name)}"} for name in old if name not in new]
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    return [*gone, *({"op": "add", "path": f"{path}/{_pointer(name)}", "value": v} for name, v in changed.items())]


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _stray(pod: shape.Raw, skipped: str) -> tuple[str, ...]:
    """A sidecar that came with a pod which no tunnel selects stays: without it, the pod would start in the clear."""
    if skipped != "NotSelected" or not any(map(shape.is_ours, shape.containers_of(pod))):
        return ()
    return (f"the pod brings a container {names.CONTAINER}, but no MtlsTunnel selects it: check its labels",)


def _warnings(pod: shape.Raw, parts: tuple[Part, ...], made: Sidecar) -> tuple[str, ...]:
    found, spec, leader = [], shape.spec_of(pod), made.leader.tunnel
    if made.refused_image:
        found.append(
            f"proxy.image {made.refused_image} of tunnel {leader.key} is not used: it is not among the images that "
            "the installation allows (sidecar.allowedImages), or the pod is in another namespace"
        )
    found += [
        f"proxy and observability settings of tunnel {part.tunnel.key} are ignored: tunnel {leader.key} leads this pod"
        for part in made.ignored
    ]
    if shared := shape.budget_of(pod):
        found.append(
            f"the pod has {', '.join(sorted(shared))} for all its containers (spec.resources), so the sidecar shares "
            "them and states none of its own: allow for it there, proxy.resources has no effect on them"
        )
    found += _cut_short(parts, spec)
    if not made.native and spec.get("restartPolicy") in ("Never", "OnFailure"):
        found.append("the sidecar is a classic container, so this pod never completes: use proxy.injection Auto")
    choice = shape.labels_of(pod).get(names.INJECT_LABEL, "true")
    if choice not in ("true", "false"):
        found.append(f'label {names.INJECT_LABEL} is {choice!r}: only "true" and "false" have a meaning')
    return tuple(found)


def _cut_short(parts: tuple[Part, ...], spec: shape.Raw) -> list[str]:
    grace = spec.get("terminationGracePeriodSeconds")
    seconds = grace if isinstance(grace, int) else _GRACE_SECONDS
    slowest = max((part.tunnel for part in parts), key=lambda tunnel: tunnel.proxy.drain_timeout_seconds)
    if slowest.proxy.drain_timeout_seconds < seconds:
        return []
    return [
        f"terminationGracePeriodSeconds {seconds} is not above proxy.drainTimeoutSeconds "
        f"{slowest.proxy.drain_timeout_seconds} of tunnel {slowest.key}: connections may be cut; raise it"
    ]
