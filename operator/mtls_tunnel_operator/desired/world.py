"""What of the cluster a plan needs: values that the caller has gathered, frozen for one look.

`Peers` is what the sidecars' files speak of, `World` adds what is there already and what others have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.parts import client_spaces
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.settings import Defaults

Manifest = dict[str, Any]
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peers:
    """Who is who.  `spaces` are, for each client entry, the namespaces that have accepted it."""

    trust_domain: str  # of the signer
    cluster_domain: str = "cluster.local"
    spaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    federated: tuple[tuple[str, str], ...] = ()  # other trust domains with the PEM text of their CAs
    server_ca: str = ""  # External: the PEM text that caBundleRef leads to, "" while it is not there
    emergency: bool = False  # a CA is compromised: what hangs on it is cut at once


@dataclass(frozen=True, slots=True)
class World:
    """One look.  `objects` are those that carry this tunnel's owner label, whatever their kind."""

    peers: Peers
    objects: Mapping[Ref, Raw] = field(default_factory=dict)
    propagation_seconds: int = 180  # how long a changed ConfigMap may take to reach every sidecar
    blocked_ports: frozenset[int] = frozenset()  # targetPorts of every Block tunnel that may share a pod with this one
    foreign_policies: tuple[str, ...] = ()  # others' ingress NetworkPolicies that may select a pod of the server
    injected: bool = True  # pods of the tunnel's namespace get sidecars
    terminating: frozenset[str] = frozenset()  # namespaces in which nothing new can be made
    pod_monitors: bool = False  # the cluster knows monitoring.coreos.com PodMonitors


def peers_of(
    tunnel: Tunnel, signer: Signer, spaces: Mapping[str, Space], defaults: Defaults, *, server_ca: str = ""
) -> Peers:
    """The peers of *tunnel* as *signer* and the namespaces make them."""
    return Peers(
        trust_domain=signer.trust_domain,
        cluster_domain=defaults.cluster_domain,
        spaces={client.name: client_spaces(tunnel, client, spaces)[0] for client in tunnel.clients},
        # A bundle for the own domain would replace the own CAs there: it is for others only.
        federated=tuple(
            (domain, ca.pem_of(bundle).decode()) for domain, bundle in signer.federated if domain != signer.trust_domain
        ),
        server_ca=server_ca,
        emergency=signer.emergency,
    )
