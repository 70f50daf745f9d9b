"""The operator as a process beside a fake API server: started, waited for, and ended by its owner."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.kube_api import ServerThread, cluster
from support.kube_store import Store
from support.ports import free_port
from support.processes import REPOSITORY, Child

RELEASE = "mtls-tunnel-system"
DEFAULTS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "mtls-tunnel-defaults", "namespace": RELEASE},
    "data": {"sidecarImage": "registry.example/mtls-tunnel:1"},
}
PATHS = ":".join(str(REPOSITORY / name) for name in ("operator", "tunnel"))


def release(*namespaces: str) -> Store:
    """A cluster into which the chart was installed, with namespaces that have opted in."""
    store = cluster(*(namespaces or ("shop",)))
    store.put(DEFAULTS)
    return store


def command(*words: str) -> list[str]:
    """A `tunnel-operator` command line."""
    return [sys.executable, "-m", "mtls_tunnel_operator", *words]


def environment(kubeconfig: Path, pod: str = "operator-0") -> dict[str, str]:
    """What a pod of the chart would have, and where the cluster is."""
    return {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": PATHS, "POD_NAME": pod, "POD_NAMESPACE": RELEASE}


@contextmanager
def operator(server: ServerThread, folder: Path, *flags: str, wait: bool = True) -> Iterator[Child]:
    """`tunnel-operator run`, working when this begins unless *wait* is off."""
    listens = (f"--health-listen=127.0.0.1:{free_port()}", f"--metrics-listen=127.0.0.1:{free_port()}")
    words = command("run", "--name=mtls-tunnel", *listens, *flags)
    with Child(words, env=environment(server.kubeconfig(folder))) as child:
        if wait:
            child.wait_for_line("operator: working", seconds=90)
        yield child
