"""`tunnel-operator run` as a process, against a fake API server."""

import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, cluster
from support.kube_store import Object, Store
from support.ports import free_port
from support.processes import REPOSITORY, Child

SPACE = "mtls-tunnel-system"
NAME = "mtls-tunnel"
LEASE = Ref("leases", SPACE, f"{NAME}-operator")


def installed(*namespaces: str) -> Store:
    """A cluster in which the chart is installed (its two Deployments are not running) and *namespaces* opted in."""
    store = cluster(*namespaces)
    store.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": SPACE, "name": f"{NAME}-defaults"},
            "data": {"sidecarImage": "registry.example/mtls-tunnel:1"},
        }
    )
    client = {"service": {"namespace": SPACE, "name": f"{NAME}-injector", "path": "/mutate", "port": 443}}
    store.put(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [{"name": "inject.mtlstunnel.dev", "clientConfig": client}],
        }
    )
    return store


def tunnel(namespace: str = "shop", name: str = "orders-db", **spec: Any) -> Object:
    """The minimal MtlsTunnel, with the schema's defaults left to the reader."""
    return {
        "apiVersion": "mtlstunnel.dev/v1alpha1",
        "kind": "MtlsTunnel",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
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
            **spec,
        },
    }


class OperatorProcess(Child):
    """One replica."""

    def __init__(self, server: ServerThread, folder: Path, pod: str = "operator-1", *flags: str) -> None:
        self.pod = pod
        self.health, self.metrics = free_port(), free_port()
        command = [sys.executable, "-m", "mtls_tunnel_operator", "run", "--namespace", SPACE, "--name", NAME]
        command += ["--health-listen", f"127.0.0.1:{self.health}", "--metrics-listen", f"127.0.0.1:{self.metrics}"]
        path = f"{REPOSITORY / 'operator'}:{REPOSITORY / 'tunnel'}"
        environ = {"KUBECONFIG": str(server.kubeconfig(folder)), "POD_NAME": pod, "PYTHONPATH": path}
        super().__init__([*command, "--log-level", "debug", *flags], env=environ)

    def ask(self, path: str) -> int:
        """The status that /healthz or /readyz answers; 0 for no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def works(self) -> bool:
        """Whether it leads and has seen the whole cluster."""
        return self.ask("/readyz") == 200 and self.number("mtls_tunnel_operator_leader") == 1

    def number(self, series: str) -> float:
        """A number of /metrics; -1 if it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as response:
            for line in response.read().decode().splitlines():
                if line.startswith(f"{series} "):
                    return float(line.rpartition(" ")[2])
        return -1.0


def condition(store: Store, ref: Ref, type_: str) -> str:
    """ "Status/Reason" of a condition; "" if it is not there."""
    found = (store.objects.get(ref, {}).get("status") or {}).get("conditions") or []
    return next((f"{item['status']}/{item['reason']}" for item in found if item["type"] == type_), "")
