"""What a cluster's own installer would apply: the Service of the DNS, and the rights of the DNS server.

The server runs on the node and not in a pod, so its Service has no selector, and an EndpointSlice says
where it is.
"""

import json
import subprocess
from typing import Any

from build_image import Failed
from local_cluster.build import binary
from local_cluster.place import DNS_ADDRESS, Place

PORTS = [("dns", "UDP"), ("dns-tcp", "TCP")]


def apply_system(place: Place) -> None:
    """Apply it all; existing objects are brought to the same state."""
    apply(place, objects(place.address))


def apply(place: Place, manifests: list[dict[str, Any]]) -> None:
    """Server-side apply, as the administrator.  Raises: Failed, with what the server says."""
    words = [str(binary("kubectl")), f"--kubeconfig={place.kubeconfig}", "apply", "--server-side", "-f", "-"]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    done = subprocess.run(words, input=listed, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the cluster's own objects were refused:\n{done.stderr}")


def objects(address: str) -> list[dict[str, Any]]:
    """The manifests, for a DNS server at *address*."""
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in PORTS]
    labels = {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "mtls-tunnel"}
    read = ["list", "watch"]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kube-dns-node", "namespace": "kube-system", "labels": labels},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    ]
