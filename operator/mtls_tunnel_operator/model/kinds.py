"""The kinds that the operator touches, and how one object of them is named.  PURE.

`Ref` names an object, `ref_of` reads it from a manifest, `path` is where the API server keeps it.  A kind
that is not in the table cannot be read or written by mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from mtls_tunnel_operator import names


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API: `plural` is its word in addresses."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """Where its group stands: /api/v1 or /apis/GROUP/VERSION."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"


class Ref(NamedTuple):
    """One object: `plural` is a key of `KINDS`, `namespace` is "" for cluster-scoped kinds."""

    plural: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{KINDS[self.plural].kind} {place}"


_ALL = (
    Kind("v1", "Secret", "secrets"),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Service", "services"),
    Kind("v1", "Pod", "pods"),
    Kind("v1", "Event", "events"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("v1", "Namespace", "namespaces", namespaced=False),
    Kind("v1", "Node", "nodes", namespaced=False),
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("apps/v1", "StatefulSet", "statefulsets"),
    Kind("apps/v1", "DaemonSet", "daemonsets"),
    Kind("apps/v1", "ReplicaSet", "replicasets"),
    Kind("batch/v1", "Job", "jobs"),
    Kind("coordination.k8s.io/v1", "Lease", "leases"),
    Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    Kind("cert-manager.io/v1", "Certificate", "certificates"),
    Kind("cert-manager.io/v1", "Issuer", "issuers"),
    Kind("cert-manager.io/v1", "ClusterIssuer", "clusterissuers", namespaced=False),
    Kind("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False),
    Kind(names.API_VERSION, "MtlsTunnel", names.TUNNELS),
    Kind(names.API_VERSION, "MtlsTrustDomain", names.DOMAINS, namespaced=False),
)

KINDS: Mapping[str, Kind] = {kind.plural: kind for kind in _ALL}
_BY_KIND = {(kind.api_version.partition("/")[0], kind.kind): kind.plural for kind in _ALL}


def plural_of(manifest: Mapping[str, Any]) -> str:
    """The plural for a manifest's apiVersion and kind.

    Raises:
        KeyError: a kind that the operator has nothing to do with.
    """
    return _BY_KIND[str(manifest["apiVersion"]).partition("/")[0], manifest["kind"]]


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """The name of the object that *manifest* describes."""
    metadata = manifest["metadata"]
    return Ref(plural_of(manifest), metadata.get("namespace", ""), metadata["name"])


def path(plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The address of an object, or of a collection when *name* is empty; names are escaped."""
    kind = KINDS[plural]
    parts = [kind.root]
    if namespace and kind.namespaced:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    parts += [quote(part, safe="") for part in (name, subresource) if part]
    return "/".join(parts)
