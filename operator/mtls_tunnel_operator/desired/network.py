"""Who reaches the pods on other ports than ours, and who scrapes them: NetworkPolicy and PodMonitor.

Network policies only ever allow, and they add up: to close one port every other is allowed, except where a
policy of somebody else closes pods by default; there ours opens the TLS ports and nothing more.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from mtls_tunnel_operator import names as fixed
from mtls_tunnel_operator.desired import objects, same
from mtls_tunnel_operator.desired.world import Manifest, Raw
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.model.selectors import Requirement, Selector

LAST_PORT = 65535


def network_policy(
    tunnel: Tunnel, closed: Iterable[int], *, tls_ports: Iterable[int] = (), only_tls: bool = False
) -> Manifest:
    """The policy of plaintextPolicy Block for the pods that *tunnel* selects.

    *closed* are the target ports of every such tunnel that may share a pod with this one.  With *only_tls*, since
    another policy may select some of the pods, *tls_ports* are all that is allowed.
    """
    assert tunnel.workload is not None, "an external server has no pods"
    ports: list[dict[str, Any]] = [{"protocol": "TCP", "port": port} for port in sorted(set(tls_ports))]
    if not only_tls:
        ports = [*_all_but(closed), {"protocol": "UDP"}, {"protocol": "SCTP"}]
    return same.sealed(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": objects.metadata(tunnel, object_name(tunnel), "server"),
            "spec": {
                "podSelector": label_selector(tunnel.workload.selector),
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": ports}],
            },
        }
    )


def closes(policy: Raw, ports: Iterable[int]) -> bool:
    """Whether *policy*, as the cluster has it, lets nobody connect to any of *ports*.

    Only what we write is understood; a rule of another form counts as open.
    """
    rules: list[Raw] = (policy.get("spec") or {}).get("ingress") or []
    listed: list[Raw] = [one for rule in rules for one in rule.get("ports") or [{}]]
    allowed = [one for one in listed if one.get("protocol", "TCP") == "TCP"]
    return not any(_allows(one, port) for one in allowed for port in ports)


def pod_monitor(tunnel: Tunnel) -> Manifest:
    """How Prometheus finds the sidecars of the server's pods.

    By the port's name: where several tunnels share a pod, the leading one chooses the number.
    """
    return same.sealed(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": objects.metadata(tunnel, object_name(tunnel), "server"),
            "spec": {
                "selector": {"matchLabels": {fixed.server_label(tunnel.key.name): "true"}},
                "podMetricsEndpoints": [{"port": fixed.ADMIN_PORT_NAME, "path": "/metrics"}],
            },
        }
    )


def object_name(tunnel: Tunnel) -> str:
    """The name of both."""
    return f"{tunnel.key.name}-mtls"


def label_selector(selector: Selector) -> dict[str, Any]:
    """A selector as manifests have it; one form for all, so that equal selectors give equal manifests."""
    ordered = sorted(selector.requirements, key=lambda one: (one.key, one.operator, sorted(one.values)))
    return {"matchExpressions": [_expression(one) for one in ordered]}


def _expression(one: Requirement) -> dict[str, Any]:
    values = {"values": sorted(one.values)} if one.values else {}
    return {"key": one.key, "operator": one.operator, **values}


def _allows(one: Raw, port: int) -> bool:
    first = one.get("port")
    return not isinstance(first, int) or first <= port <= int(one.get("endPort", first))


def _all_but(closed: Iterable[int]) -> Iterator[dict[str, Any]]:
    first = 1
    for port in (*sorted(set(closed)), LAST_PORT + 1):
        if first < port - 1:
            yield {"protocol": "TCP", "port": first, "endPort": port - 1}
        elif first == port - 1:
            yield {"protocol": "TCP", "port": first}
        first = port + 1
