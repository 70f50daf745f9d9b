"""Whom a change concerns: what has to be looked at again, and how soon.  PURE.

What a user waits for (a resource of ours, an object of ours that was edited or deleted) is looked at now; pods
come in swarms, so what follows from them is gathered for a second.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mtls_tunnel_operator import names
from mtls_tunnel_operator.control.queue import Item
from mtls_tunnel_operator.control.view import MANAGED, Change, View
from mtls_tunnel_operator.model.pods import Pod, Space
from mtls_tunnel_operator.model.resources import Key, Tunnel

NOW = 0.0
SOON = 1.0


class Concern(NamedTuple):
    """`item` is to be looked at in `delay` seconds."""

    item: Item
    delay: float


def concerned(change: Change, view: View) -> Iterator[Concern]:
    """What *change*, already taken into *view*, asks for."""
    ref = change.ref
    match ref.plural:
        case names.TUNNELS:
            yield Concern(Item("tunnel", ref.namespace, ref.name), NOW)
            for one in (change.before, change.after):
                if isinstance(one, Tunnel):
                    yield from _soon(_neighbours(one, view))
        case names.DOMAINS:
            yield Concern(Item("domain", "", ref.name), NOW)
            yield from _soon(
                key for key, tunnel in view.tunnels.items() if tunnel.certificate.issuer.name in ("", ref.name)
            )
        case "pods":
            yield from _soon(key for pod in (change.before, change.after) if pod for key in _tunnels_of(pod, view))
        case "namespaces":
            yield from _of_space(ref.name, change.before, change.after, view)
        case "mutatingwebhookconfigurations":
            yield Concern(Item("webhook"), NOW)
        case plural if plural in MANAGED:
            yield from _of_object(change, view)


def is_urgent(item: Item, view: View) -> bool:
    """Whether somebody waits for it: a tunnel that is new or was changed, and chores that many tunnels need.

    A tunnel whose spec has been carried out comes after those: it is looked at because pods came and went.
    """
    if item.kind != "tunnel":
        return item.kind in ("domain", "webhook", "space")
    key = Key(item.namespace, item.name)
    tunnel = view.tunnels.get(key) or view.broken.get(key)
    return tunnel is not None and tunnel.status.get("observedGeneration") != tunnel.generation


def _soon(keys: Iterable[Key]) -> Iterator[Concern]:
    return (Concern(Item("tunnel", *key), SOON) for key in dict.fromkeys(keys))


def selects(tunnel: Tunnel, pod: Pod) -> bool:
    """Whether the tunnel may have a part in the pod; consent and accounts are judged elsewhere."""
    served = tunnel.workload.selector if tunnel.workload is not None else None
    if served is not None and tunnel.key.namespace == pod.namespace and served.matches(pod.labels):
        return True
    return any(client.selector.matches(pod.labels) for client in tunnel.clients)


def _tunnels_of(pod: Pod, view: View) -> Iterator[Key]:
    return (tunnel.key for tunnel in view.candidates(pod.namespace) if selects(tunnel, pod))


def _neighbours(tunnel: Tunnel, view: View) -> Iterator[Key]:
    """Tunnels that share a pod with it: one sidecar serves all, so what one asks for changes what is up to date.

    Network policies add up, so those that close a port are told of each other whether there is a pod yet or not.
    """
    if tunnel.plaintext == "Block":
        yield from (other.key for other in view.closing(tunnel) if other.key != tunnel.key)
    roams = any(client.namespaces.source != "Same" for client in tunnel.clients)
    spaces = list(view.pods) if roams else [tunnel.key.namespace]
    for space in spaces:
        for pod in view.tunnel_pods(space):
            if selects(tunnel, pod):
                yield from (key for key in _tunnels_of(pod, view) if key != tunnel.key)


def _of_space(name: str, before: Space | None, after: Space | None, view: View) -> Iterator[Concern]:
    if (before is not None and before.enabled) != (after is not None and after.enabled):
        yield Concern(Item("space", "", name), NOW)
    yield from _soon(tunnel.key for tunnel in view.candidates(name))


def _of_object(change: Change, view: View) -> Iterator[Concern]:
    """An object of ours asks for its owner; somebody else's network policy for the tunnels that block plaintext."""
    known = next((raw for raw in (change.before, change.after) if isinstance(raw, dict)), None)
    if known is None:
        yield from _soon(t.key for t in view.candidates(change.ref.namespace) if t.plaintext == "Block")
        return
    labels, annotations = (known["metadata"].get(part) or {} for part in ("labels", "annotations"))
    if name := labels.get(names.TUNNEL_LABEL):
        space = labels.get(names.TUNNEL_NAMESPACE_LABEL) or change.ref.namespace
        yield Concern(Item("tunnel", space, name), NOW)
        if Key(space, name) not in view.tunnels:
            yield Concern(Item("copies"), SOON)
        if domain := annotations.get(names.DOMAIN_ANNOTATION):  # a rotation may wait for this leaf
            yield Concern(Item("domain", "", domain), SOON)
        return
    mine = [domain for domain in (*view.domains, *view.broken_domains) if _belongs(change.ref.name, domain)]
    yield from (Concern(Item("domain", "", domain), NOW) for domain in mine)
    if change.ref.plural == "secrets" and not mine:
        yield Concern(Item("webhook"), NOW)


def _belongs(name: str, domain: str) -> bool:
    """Whether an object is named as a CA or the bundle of a trust domain."""
    return name == f"{domain}-bundle" or name.startswith(f"{domain}-ca-")
