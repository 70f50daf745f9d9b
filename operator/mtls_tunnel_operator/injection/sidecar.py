"""What the parts of a pod add to it: one container and a volume for each part.

One volume for each part (never one for all): a source that is missing freezes the renewal of everything in
its volume.  Volumes are mounted as directories, because a subPath is never renewed.  The sidecar needs no
API access: an empty volume lies where the ServiceAccount admission plugin would mount the application's
token.  PURE.
"""

import re
from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection import shape
from mtls_tunnel_operator.model.parts import Part
from mtls_tunnel_operator.model.revision import Sidecar
from mtls_tunnel_operator.settings import Defaults

NO_TOKEN = f"{names.CONTAINER}-no-token"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a folder, no secret
OUR_VOLUMES = re.compile(rf"{names.CONTAINER}-(no-token|[0-9a-f]{{10}})")

_GROUP_READS, _ALL_READ = 0o440, 0o444
_FIELDS = {
    "POD_NAME": "metadata.name",
    "POD_IP": "status.podIP",
    "NAMESPACE": "metadata.namespace",
    "SA": "spec.serviceAccountName",
}


def container(
    parts: tuple[Part, ...], made: Sidecar, defaults: Defaults, shared: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The sidecar that serves *parts*; a native one is an init container that goes on running.

    Of the resources that it has *shared* with the whole pod, it states none of its own.
    It has no preStop hook: kubelet runs it when termination begins, before the application has stopped.
    """
    # The port is in the file's name: after a change of adminPort, pods keep the one that their probes ask.
    sections = f"{names.MOUNT_ROOT}/{made.leader.volume_id}/{names.process_file(made.admin_port)}"
    return {
        "name": names.CONTAINER,
        "image": made.image,
        "imagePullPolicy": made.pull_policy,
        "args": ["run", "-c", names.MOUNT_ROOT, "--process", sections],
        **({"restartPolicy": "Always"} if made.native else {}),
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": at}}} for name, at in _FIELDS.items()],
        "ports": _ports(parts, made.admin_port),
        # A native sidecar's start is awaited before the application's; two minutes, then kubelet restarts it.
        "startupProbe": _probe("/readyz", made.admin_port, period=1, timeout=2, failures=120),
        "readinessProbe": _probe("/readyz", made.admin_port, period=5, timeout=2, failures=2),
        "livenessProbe": _probe("/healthz", made.admin_port, period=20, timeout=5, failures=6),
        "resources": _resources(made.resources, defaults.sidecar_resources, shared),
        "securityContext": _security(defaults),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *(_mount(names.volume_name(part.volume_id), f"{names.MOUNT_ROOT}/{part.volume_id}") for part in parts),
            _mount(NO_TOKEN, TOKEN_PATH),
        ],
    }


def volumes(parts: tuple[Part, ...], pod: shape.Raw, account: str) -> list[dict[str, Any]]:
    """The volumes of *parts* in *pod*, which runs as *account*; what is in them is renewed while it runs."""
    # Without an fsGroup the files belong to root, and 0440 would keep the sidecar itself out.
    mode = _GROUP_READS if shape.has_group(pod) else _ALL_READ
    # In memory: an ordinary emptyDir makes the cluster autoscaler keep the node.
    empty = {"name": NO_TOKEN, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    return [*(_volume(part, account, mode) for part in parts), empty]


def _volume(part: Part, account: str, mode: int) -> dict[str, Any]:
    source = part.object_name(part.namespace, account)
    secret = [{"key": key, "path": key} for key in ("tls.crt", "tls.key", "ca.crt")]
    return {
        "name": names.volume_name(part.volume_id),
        "projected": {
            "defaultMode": mode,
            "sources": [
                # All its keys: tunnel.yaml, process-PORT.yaml, and one for each federated trust domain.
                {"configMap": {"name": source, "optional": False}},
                # The later source wins: who may write ConfigMaps must not give the sidecar a CA of his own.
                {"secret": {"name": source, "items": secret, "optional": False}},
            ],
        },
    }


def _ports(parts: tuple[Part, ...], admin: int) -> list[dict[str, Any]]:
    # Only one has a name: names over 15 characters, or met twice in a pod, make it invalid.
    tls = [port.tls_port for part in parts if part.role == "server" for port in part.tunnel.ports]
    named = {"name": names.ADMIN_PORT_NAME, "containerPort": admin, "protocol": "TCP"}
    return [named, *({"containerPort": port, "protocol": "TCP"} for port in tls)]


def _probe(path: str, port: int, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _resources(asked: Mapping[str, Any], default: Mapping[str, Any], shared: frozenset[str]) -> dict[str, Any]:
    """*asked*, with the default's requests where neither a request nor a limit is named, less what is *shared*.

    A container without requests breaks quotas and autoscaling of the whole pod; but where the pod has requests,
    the API server refuses it if its containers' exceed them together.  A limit goes too: without a request beside
    it, it would become one.
    """
    limits, requests = asked.get("limits") or {}, asked.get("requests") or {}
    missing = {
        key: value for key, value in (default.get("requests") or {}).items() if key not in {**limits, **requests}
    }
    own = {"requests": {**missing, **requests}, "limits": limits}
    kept = {key: value for key, value in asked.items() if key not in own}
    stated = {key: {name: value for name, value in own[key].items() if name not in shared} for key in own}
    return {**kept, **{key: values for key, values in stated.items() if values}}


def _security(defaults: Defaults) -> dict[str, Any]:
    """Passes the Pod Security level `restricted`; the numbers are left out where the platform assigns them."""
    ids = {"runAsUser": defaults.run_as_user, "runAsGroup": defaults.run_as_group}
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **{key: number for key, number in ids.items() if number is not None},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}
