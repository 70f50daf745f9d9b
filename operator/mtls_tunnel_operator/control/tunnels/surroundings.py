"""What of the cluster a tunnel's plan depends on, taken from the view: values, frozen for one look.  No I/O."""

from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator.control.pods.census import Census
from mtls_tunnel_operator.control.pods.expectations import Expectations, blocked_ports
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.resources import Tunnel


def world_of(
    tunnel: Tunnel,
    view: View,
    peers: Peers,
    found: Census,
    expectations: Expectations,
    *,
    propagation_seconds: int,
    pod_monitors: bool,
) -> World:
    """The world of *tunnel* as it is now."""
    servers = found.server.members if found.server is not None else ()
    ports: frozenset[int] = frozenset()
    for member in servers:
        ports |= blocked_ports(expectations.of(member.pod).parts)
    return World(
        peers=peers,
        objects=owned(view, tunnel.uid),
        propagation_seconds=propagation_seconds,
        blocked_ports=ports,
        foreign_policies=foreign_policies(tunnel, view, found),
        terminating=terminating(view),
        pod_monitors=pod_monitors,
    )


def owned(view: View, uid: str) -> Mapping[Ref, Mapping[str, Any]]:
    """The managed objects of the tunnel with this UID."""
    return {ref_of(raw): raw for raw in view.owned(uid)}


def foreign_policies(tunnel: Tunnel, view: View, found: Census) -> tuple[str, ...]:
    """Others' ingress policies that select a pod of the server, where that matters: with plaintextPolicy Block."""
    if tunnel.plaintext != "Block" or found.server is None:
        return ()
    policies = view.foreign_policies(tunnel.key.namespace)
    pods = [member.pod for member in found.server.members]
    return tuple(sorted(policy.name for policy in policies if any(policy.selector.matches(pod.labels) for pod in pods)))


def terminating(view: View) -> frozenset[str]:
    """Namespaces that are being deleted: nothing new can be made there."""
    return frozenset(name for name, space in view.spaces.items() if space.terminating)
