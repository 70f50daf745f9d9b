"""An MtlsTunnel or MtlsTrustDomain as the API server stores it becomes frozen values with defaults filled in.

The CRDs (crds/) hold the defaults and refuse most of what is wrong; what they cannot say, and objects that
were stored under older rules, ends in `SpecError`.  `tunnel_of` and `domain_of` are in `model.reading`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mtls_tunnel_operator.model.selectors import Selector

Role = Literal["server", "client"]
IssuerKind = Literal["MtlsTrustDomain", "Secret", "Issuer", "ClusterIssuer"]


class Key(NamedTuple):
    """A namespaced object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Port:
    """A protected port; `target_port` is None for an external server."""

    name: str
    tls_port: int
    target_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """Where clients dial: a Service of ours, or `address` with policy None."""

    policy: Literal["Managed", "None"] = "Managed"
    name: str = ""  # "" = the tunnel's name
    address: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """The pods behind the tunnel."""

    selector: Selector
    accounts: tuple[str, ...] = ()
    service: Service = Service()


@dataclass(frozen=True, slots=True)
class External:
    """An mTLS endpoint outside of the cluster."""

    host: str
    server_name: str = ""  # "" = host
    spiffe_id: str = ""
    ca_bundle: str = ""  # ConfigMap with key ca.crt in the tunnel's namespace


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Where a client's selector is evaluated."""

    source: Literal["Same", "Names", "Selector"] = "Same"
    names: tuple[str, ...] = ()
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A port on the loopback of client pods, leading to the server's port of that name."""

    port: str
    local_port: int


@dataclass(frozen=True, slots=True)
class Client:
    """Pods that get a client sidecar."""

    name: str
    selector: Selector
    listeners: tuple[Listener, ...]
    accounts: tuple[str, ...] = ()
    namespaces: Namespaces = Namespaces()


@dataclass(frozen=True, slots=True)
class Rule:
    """Others who may connect; `ports` empty means all."""

    name: str
    spiffe_ids: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    common_names: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Authorization:
    mode: Literal["Enforce", "Audit"] = "Enforce"
    allow: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuerRef:
    """Who signs.  `name` "" is the trust domain that the operator made."""

    group: str = "mtlstunnel.dev"
    kind: IssuerKind = "MtlsTrustDomain"
    name: str = ""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """`size_bits` None: 256 for ECDSA, 3072 for RSA."""

    algorithm: Literal["ECDSA", "RSA", "Ed25519"] = "ECDSA"
    size_bits: int | None = None
    rotation_policy: Literal["Always", "Never"] = "Always"


@dataclass(frozen=True, slots=True)
class Certificate:
    issuer: IssuerRef = IssuerRef()
    duration_seconds: int = 86400
    renew_before_seconds: int | None = None
    subject: Literal["PerRole", "PerServiceAccount"] = "PerRole"
    trust_domain: str = ""
    private_key: PrivateKey = PrivateKey()


@dataclass(frozen=True, slots=True)
class Rollout:
    strategy: Literal["OnPodStart", "RestartWorkloads", "EvictPods"] = "OnPodStart"
    max_concurrent_workloads: int = 1
    progress_deadline_seconds: int = 600


@dataclass(frozen=True, slots=True)
class Proxy:
    """The sidecar.  Empty means the default of the installation."""

    image: str = ""
    image_pull_policy: str = ""
    injection: Literal["Auto", "NativeSidecar", "Container"] = "Auto"
    resources: Mapping[str, Any] | None = None
    min_tls: Literal["VersionTLS12", "VersionTLS13"] = "VersionTLS13"
    max_connections: int = 1000
    dial_timeout_seconds: int = 10
    handshake_timeout_seconds: int = 10
    idle_timeout_seconds: int = 0
    drain_timeout_seconds: int = 25


@dataclass(frozen=True, slots=True)
class Observability:
    admin_port: int = 15971
    pod_monitor: Literal["Managed", "None"] = "None"
    access_log: Literal["None", "Denied", "All"] = "Denied"
    log_level: Literal["Error", "Warning", "Info", "Debug"] = "Info"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An MtlsTunnel: exactly one of `workload` and `external` is given."""

    key: Key
    uid: str
    generation: int
    created: float  # epoch seconds
    ports: tuple[Port, ...]
    workload: Workload | None = None
    external: External | None = None
    suspend: bool = False
    plaintext: Literal["Permit", "Block"] = "Permit"
    clients: tuple[Client, ...] = ()
    authorization: Authorization = Authorization()
    certificate: Certificate = Certificate()
    rollout: Rollout = Rollout()
    proxy: Proxy = Proxy()
    observability: Observability = Observability()
    status: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def service_name(self) -> str:
        """The Service that clients dial, managed or (policy None) nothing."""
        if self.workload is None or self.workload.service.policy == "None":
            return ""
        return self.workload.service.name or self.key.name

    def port(self, name: str) -> Port | None:
        """The server's port of that name."""
        return next((port for port in self.ports if port.name == name), None)


@dataclass(frozen=True, slots=True)
class CaSpec:
    """Where the CA of a trust domain comes from; references mean the operator's namespace."""

    type: Literal["SelfSigned", "Secret", "CertManager"] = "SelfSigned"
    secret: str = ""
    issuer: IssuerRef | None = None
    duration_seconds: int = 31536000
    renew_before_seconds: int = 7776000
    private_key: PrivateKey = PrivateKey()


@dataclass(frozen=True, slots=True)
class Rotation:
    """Waits of a CA rotation, in seconds."""

    propagation_seconds: int = 180
    issuing_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Federated:
    """Another trust domain and the ConfigMap (operator's namespace, key ca.crt) with its CAs."""

    trust_domain: str
    config_map: str


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """An MtlsTrustDomain.  `allowed_namespaces` None means all."""

    name: str
    uid: str
    generation: int
    created: float
    trust_domain: str
    ca: CaSpec = CaSpec()
    rotation: Rotation = Rotation()
    federated: tuple[Federated, ...] = ()
    allowed_namespaces: Selector | None = None
    max_leaf_seconds: int = 2592000
    rotate_request: str = ""  # annotation mtlstunnel.dev/rotate, opaque
    compromised: tuple[str, ...] = ()  # fingerprints, annotation mtlstunnel.dev/compromised
    status: Mapping[str, Any] = field(default_factory=dict, compare=False)
