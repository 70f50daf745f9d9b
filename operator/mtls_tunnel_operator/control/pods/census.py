"""The pods that a tunnel selects, counted: which carry the sidecar, which are up to date, and why the others do not.

Selectors decide who counts; what a pod should carry comes from all tunnels that concern it (`Expected`),
because one sidecar serves them all.  Finished and leaving pods do not count, pods that opted out are named
apart: somebody decided so on purpose.  PURE: no I/O, no clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.parts import Part
from mtls_tunnel_operator.model.pods import Pod
from mtls_tunnel_operator.model.resources import Client, Key, Tunnel
from mtls_tunnel_operator.model.selectors import Selector

Standing = Literal["UpToDate", "Outdated", "NotInjected", "Clash", "CannotBeInjected", "OtherAccount"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a pod should carry: its parts in leading order, their revision, and what keeps it from being injected."""

    parts: tuple[Part, ...]
    revision: str
    clashes: tuple[str, ...] = ()
    ignored: tuple[Part, ...] = ()  # parts whose proxy settings give way to the leader's


@dataclass(frozen=True, slots=True)
class Member:
    """A selected pod and how it stands; `why` is a sentence where it needs one."""

    pod: Pod
    standing: Standing
    revision: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """The pods of the server or of one client."""

    name: str  # "server", or the name of the client
    members: tuple[Member, ...] = ()
    opted_out: int = 0
    leaders: tuple[Key, ...] = ()  # tunnels whose proxy settings win over this one's in some pod

    @property
    def selected(self) -> int:
        """Pods that should carry the sidecar."""
        return len(self.members)

    @property
    def injected(self) -> int:
        """Pods in which our container is, whatever its age."""
        return sum(member.pod.injected for member in self.members)

    @property
    def updated(self) -> int:
        """Pods that carry the current revision."""
        return sum(member.standing == "UpToDate" for member in self.members)


@dataclass(frozen=True, slots=True)
class Census:
    """All pods of a tunnel."""

    server: Side | None = None  # None for an external server
    clients: tuple[Side, ...] = ()

    @property
    def sides(self) -> tuple[Side, ...]:
        """The server first, where there is one, then the clients in their order."""
        return ((self.server,) if self.server else ()) + self.clients

    @property
    def members(self) -> tuple[Member, ...]:
        """Every selected pod; one that is server and client stands there twice."""
        return tuple(member for side in self.sides for member in side.members)

    def standing(self, *standings: Standing) -> tuple[Member, ...]:
        """The pods that stand so, each once."""
        return tuple({member.pod.uid: member for member in self.members if member.standing in standings}.values())


def census(
    tunnel: Tunnel,
    places: Mapping[str, Iterable[str]],
    pods: Callable[[str], Iterable[Pod]],
    expected: Callable[[Pod], Expected],
) -> Census:
    """Count the pods of *tunnel*; *places* names the namespaces of each client that consented."""
    server = None
    if tunnel.workload is not None:
        server = _side(tunnel, None, tunnel.workload.selector, (tunnel.key.namespace,), pods, expected)
    clients = tuple(
        _side(tunnel, client, client.selector, places.get(client.name, ()), pods, expected) for client in tunnel.clients
    )
    return Census(server, clients)


def _side(
    tunnel: Tunnel,
    client: Client | None,
    selector: Selector,
    spaces: Iterable[str],
    pods: Callable[[str], Iterable[Pod]],
    expected: Callable[[Pod], Expected],
) -> Side:
    members, leaders, opted_out = [], set(), 0
    for pod in (pod for space in spaces for pod in pods(space)):
        if pod.deleting or pod.phase in ("Succeeded", "Failed") or not selector.matches(pod.labels):
            continue
        if pod.labels.get(names.INJECT_LABEL) == "false":
            opted_out += 1
            continue
        wanted = expected(pod)
        members.append(_member(pod, tunnel, client, wanted))
        if any(part.tunnel.key == tunnel.key for part in wanted.ignored):
            leaders.add(wanted.parts[0].tunnel.key)
    members.sort(key=lambda member: (member.pod.namespace, member.pod.name))
    return Side(client.name if client else "server", tuple(members), opted_out, tuple(sorted(leaders)))


def _member(pod: Pod, tunnel: Tunnel, client: Client | None, wanted: Expected) -> Member:
    name = client.name if client else ""
    ours = any(
        part.tunnel.key == tunnel.key and (part.client.name if part.client else "") == name for part in wanted.parts
    )
    if not ours:
        return Member(pod, "OtherAccount", wanted.revision, f"service account {pod.account} is not in serviceAccounts")
    if pod.injected and pod.revision == wanted.revision:
        return Member(pod, "UpToDate", wanted.revision)
    if why := _obstacle(pod):
        return Member(pod, "CannotBeInjected", wanted.revision, why)
    if wanted.clashes:
        return Member(pod, "Clash", wanted.revision, wanted.clashes[0])
    return Member(pod, "Outdated" if pod.injected else "NotInjected", wanted.revision)


def _obstacle(pod: Pod) -> str:
    """What keeps the injector away from *pod*, whatever its tunnels say; with what to do."""
    if pod.host_network:
        return "it uses the host's network, set hostNetwork: false"
    if pod.windows:
        return "it runs on Windows, the sidecar on Linux only"
    if pod.foreign_container:
        return f"it has a container {names.CONTAINER} of its own, rename that"
    return ""
