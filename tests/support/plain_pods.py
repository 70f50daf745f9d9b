"""Pods for tests of the cluster: the Python of one of our images with a program, hardened as `restricted` asks."""

from typing import Any

# The user is that of the image.
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Until it is told to end.
SLEEP = "import signal; signal.sigwait([signal.SIGTERM])"


def python(name: str, program: str, image: str, **more: Any) -> dict[str, Any]:
    """A hardened container with the image's Python and *program*."""
    base = {"name": name, "image": image, "imagePullPolicy": "Never", "command": ["python", "-c", program]}
    pod_name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return {**base, "env": [pod_name], "securityContext": HARDENED, **more}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": name}}
    spec = {"containers": [*containers], "terminationGracePeriodSeconds": 2, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
