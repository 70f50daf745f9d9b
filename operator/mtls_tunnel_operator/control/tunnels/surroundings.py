"""What of the cluster a tunnel's plan depends on, taken from the view: values, frozen for one look.  No I/O.

What a network policy opens is decided by selectors, never by the pods that are there: a policy counts for pods
that come later, for those that opted out of the sidecar, and for those of a namespace that has not opted in.
"""

from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.model.selectors import disjoint
from mtls_tunnel_operator.settings import Defaults


def world_of(
    tunnel: Tunnel, view: View, peers: Peers, defaults: Defaults, *, propagation_seconds: int, pod_monitors: bool
) -> World:
    """The world of *tunnel* as it is now."""
    home = tunnel.key.namespace
    return World(
        peers=peers,
        objects=owned(view, tunnel.uid),
        propagation_seconds=propagation_seconds,
        blocked_ports=blocked_ports(tunnel, view),
        foreign_policies=foreign_policies(tunnel, view),
        injected=is_enabled(home, view) and not is_excluded(home, defaults),
        terminating=terminating(view),
        pod_monitors=pod_monitors,
    )


def owned(view: View, uid: str) -> Mapping[Ref, Mapping[str, Any]]:
    """The managed objects of the tunnel with this UID."""
    return {ref_of(raw): raw for raw in view.owned(uid)}


def blocked_ports(tunnel: Tunnel, view: View) -> frozenset[int]:
    """The plaintext ports that *tunnel* and the others that may share a pod with it close."""
    closing = view.closing(tunnel) if tunnel.plaintext == "Block" else ()
    return frozenset(port.target_port for one in closing for port in one.ports if port.target_port is not None)


def foreign_policies(tunnel: Tunnel, view: View) -> tuple[str, ...]:
    """Others' ingress policies that may select a pod of the server, where that matters: with plaintextPolicy Block."""
    if tunnel.plaintext != "Block" or tunnel.workload is None:
        return ()
    mine = tunnel.workload.selector
    policies = view.foreign_policies(tunnel.key.namespace)
    return tuple(sorted(policy.name for policy in policies if not disjoint(policy.selector, mine)))


def is_enabled(namespace: str, view: View) -> bool:
    """Whether a namespace has opted in to injection."""
    space = view.spaces.get(namespace)
    return space is not None and space.enabled


def is_excluded(namespace: str, defaults: Defaults) -> bool:
    """Whether nothing is ever injected there, whatever its labels."""
    return namespace in {*names.SYSTEM_NAMESPACES, defaults.operator_namespace}


def terminating(view: View) -> frozenset[str]:
    """Namespaces that are being deleted: nothing new can be made there."""
    return frozenset(name for name, space in view.spaces.items() if space.terminating)
