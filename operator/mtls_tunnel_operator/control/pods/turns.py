"""Whose turn it is to get new pods: a decision about workloads, made from pods and what is already moving.

Nothing moves while the newest pod of a workload, made after the last change, is itself outdated: then new
pods do not get the current sidecar, and more of them would only take the application down (RolloutStuck).
Bare pods, pods of Jobs and those of other namespaces never move.  PURE: the clock is passed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mtls_tunnel_operator.control.pods.census import Member
from mtls_tunnel_operator.control.remedies import is_restartable, workload_of
from mtls_tunnel_operator.model.pods import Pod
from mtls_tunnel_operator.model.resources import Tunnel

# A pod made in the same moment as a change may have met an injector that had not seen it yet.
_SETTLING_SECONDS = 15.0
STAMPED = ("deployment", "statefulset", "daemonset")


@dataclass(frozen=True, slots=True)
class Group:
    """The pods of one workload; `name` is kubectl's, e.g. deployment/api."""

    namespace: str
    name: str
    members: tuple[Member, ...]

    @property
    def id(self) -> tuple[str, str]:
        """What tells it from others in the cluster."""
        return self.namespace, self.name

    @property
    def strays(self) -> tuple[Member, ...]:
        """Pods that a new one would replace with profit."""
        return tuple(one for one in self.members if one.standing in ("NotInjected", "Outdated"))

    @property
    def value(self) -> str:
        """What is wanted: the revision of its stray pods, all of them where they differ."""
        return "-".join(sorted({one.revision for one in self.strays}))

    @property
    def newest(self) -> Member:
        """The pod made last."""
        return max(self.members, key=lambda one: (one.pod.created, one.pod.name))


@dataclass(frozen=True, slots=True)
class Flight:
    """A workload that was set moving: by whom, since when, towards which revision, and (eviction) which pod left."""

    tunnel: str
    value: str
    since: float
    pod_uid: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many may move at once, and how long one may take."""

    tunnel: int
    cluster: int
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Moving:
    """What a rollout is doing: workloads that follow, and those that did not."""

    under_way: tuple[str, ...] = ()
    waiting: int = 0
    stuck: tuple[str, ...] = ()
    blocked: str = ""  # why nothing could be moved, e.g. a disruption budget


@dataclass(frozen=True, slots=True)
class Turns:
    """The decision: workloads to set moving now, flights that came to their end, and what to report."""

    start: tuple[Group, ...]
    ended: tuple[tuple[str, str], ...]
    moving: Moving


def is_moved(pod: Pod, tunnel: Tunnel) -> bool:
    """Whether the rollout of *tunnel* gives *pod* a successor.

    Never in another namespace: that one has consented to a sidecar, not to restarts.
    """
    strategy = tunnel.rollout.strategy
    if strategy == "OnPodStart" or pod.namespace != tunnel.key.namespace or not is_restartable(pod.owner):
        return False
    return strategy == "EvictPods" or workload_of(pod).partition("/")[0] in STAMPED


def groups_of(members: Iterable[Member]) -> tuple[Group, ...]:
    """Workloads with their pods, by name; each pod counts once, whatever its parts."""
    found: dict[tuple[str, str], dict[str, Member]] = {}
    for member in members:
        if is_restartable(member.pod.owner):
            where = (member.pod.namespace, workload_of(member.pod))
            found.setdefault(where, {}).setdefault(member.pod.uid, member)
    return tuple(Group(*where, tuple(pods.values())) for where, pods in sorted(found.items()))


def is_stuck(group: Group, changed: float) -> bool:
    """Whether the newest pod, made after the change, is outdated all the same."""
    newest = group.newest
    return bool(group.strays) and newest in group.strays and newest.pod.created > changed + _SETTLING_SECONDS


def decide(
    tunnel: str,
    groups: tuple[Group, ...],
    flights: Mapping[tuple[str, str], Flight],
    changed: Mapping[tuple[str, str], float],
    limits: Limits,
    now: float,
) -> Turns:
    """Who moves next for *tunnel*; *changed* says since when each group is wanted otherwise than it is."""
    here = {group.id for group in groups}
    gone = [where for where, flight in flights.items() if flight.tunnel == tunnel and where not in here]
    landed = [
        group.id for group in groups if group.id in flights and _has_landed(group, flights[group.id], limits, now)
    ]
    ended = (*gone, *landed)
    flying = {where: flight for where, flight in flights.items() if where not in ended}
    late = {where for where, flight in flying.items() if now - flight.since > limits.deadline_seconds}
    stuck = tuple(group for group in groups if group.id in late or is_stuck(group, changed.get(group.id, now)))
    waiting = [group for group in groups if group.strays and group.id not in flying and group not in stuck]
    moved = [flight for where, flight in flying.items() if where not in late]
    mine = sum(flight.tunnel == tunnel for flight in moved)
    free = max(0, min(limits.tunnel - mine, limits.cluster - len(moved)))
    # A change that does not work in one workload is not tried on the next one.
    start = () if stuck else tuple(waiting[:free])
    under_way = tuple(group.name for group in groups if (group.id in flying and group not in stuck) or group in start)
    return Turns(start, ended, Moving(under_way, len(waiting) - len(start), tuple(group.name for group in stuck)))


def _has_landed(group: Group, flight: Flight, limits: Limits, now: float) -> bool:
    """No pod is outdated any more, something else is wanted by now, or the evicted pod has its successor."""
    if not group.strays or flight.value != group.value:
        return True
    if not flight.pod_uid:
        return False
    here = {one.pod.uid for one in group.members}
    whole = len(here) >= flight.size or now - flight.since > limits.deadline_seconds  # scaled down meanwhile
    return flight.pod_uid not in here and whole and all(_is_well(one.pod) for one in group.members)


def _is_well(pod: Pod) -> bool:
    return pod.ready and not pod.deleting


def with_blocked(moving: Moving, why: str) -> Moving:
    """The same report with a reason why nothing could be moved."""
    return replace(moving, blocked=why)
