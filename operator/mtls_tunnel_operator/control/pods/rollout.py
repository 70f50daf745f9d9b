"""Outdated pods get successors: workloads are stamped, or pods evicted, a few at a time (`turns` decides which).

RestartWorkloads writes one annotation into the pod template by server-side apply under a manager of its own,
so that no other tool's field is touched; EvictPods uses the Eviction API, so that disruption budgets hold.  A
workload that was stamped before this process started is recognised by its annotation and not stamped again.
"""

import logging
from collections.abc import Callable

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.pods.census import Census
from mtls_tunnel_operator.control.pods.turns import (
    Flight,
    Group,
    Limits,
    Moving,
    decide,
    groups_of,
    is_moved,
    is_stuck,
    with_blocked,
)
from mtls_tunnel_operator.errors import ApiError, NotFound
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Tunnel

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # a flight's end is usually seen from its pods; this is for deadlines
_PLURALS = {"deployment": "deployments", "statefulset": "statefulsets", "daemonset": "daemonsets"}

Where = tuple[str, str]


class Rollouts:
    """What is moving in the whole cluster; one for the process, because the cap is the cluster's."""

    def __init__(self, api: Api, *, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._flights: dict[Where, Flight] = {}
        # By tunnel and workload: the value wanted, and since when.
        self._wanted: dict[str, dict[Where, tuple[str, float]]] = {}

    async def advance(self, tunnel: Tunnel, census: Census, cluster_limit: int) -> tuple[Moving, float | None]:
        """Set moving what may move; what to report, and when to look again."""
        strategy = tunnel.rollout.strategy
        if strategy == "OnPodStart" or tunnel.suspend:
            self.forget(str(tunnel.key))
            return Moving(), None
        groups = groups_of(member for member in census.members if is_moved(member.pod, tunnel))
        now = self._now()
        changed = self._changed(groups, tunnel, now)
        limits = Limits(
            tunnel.rollout.max_concurrent_workloads, cluster_limit, tunnel.rollout.progress_deadline_seconds
        )
        turns = decide(str(tunnel.key), groups, self._flights, changed, limits, now)
        for where in turns.ended:
            self._flights.pop(where, None)
        moving = turns.moving
        for group in turns.start:
            blocked = await self._start(group, tunnel, strategy == "EvictPods")
            if blocked:
                moving = with_blocked(moving, blocked)
        again = now + LOOK_SECONDS if any(group.strays for group in groups) else None
        return moving, again

    def forget(self, tunnel: str) -> None:
        """Drop what is known of a tunnel that is gone or moves nothing any more: it must not count in the cap."""
        self._flights = {where: flight for where, flight in self._flights.items() if flight.tunnel != tunnel}
        self._wanted.pop(tunnel, None)

    def _changed(self, groups: tuple[Group, ...], tunnel: Tunnel, now: float) -> dict[Where, float]:
        """Since when the pods of each workload are not what they should be."""
        before = self._wanted.get(str(tunnel.key), {})
        wanted = self._wanted[str(tunnel.key)] = {}
        for group in groups:
            if not group.strays:
                continue
            value, since = before.get(group.id, ("", now))
            if value != group.value:
                # A process that starts anew goes on refusing what the one before it had found stuck.
                since = 0.0 if not value and _was_stuck(tunnel) and is_stuck(group, 0.0) else now
            wanted[group.id] = (group.value, since)
        return {where: since for where, (_, since) in wanted.items()}

    async def _start(self, group: Group, tunnel: Tunnel, evict: bool) -> str:
        """Move one workload; "" or why it cannot be moved now."""
        try:
            if evict:
                return await self._evict(group, tunnel)
            return await self._stamp(group, tunnel)
        except NotFound:
            return ""  # gone meanwhile: its pods will say so
        except ApiError as error:
            if error.status == 403:
                return (
                    f"the operator may not move {group.name} in {group.namespace}: {error.message}. Give it the "
                    f"rights (chart value rbac) or set spec.rollout.strategy to OnPodStart."
                )
            raise

    async def _stamp(self, group: Group, tunnel: Tunnel) -> str:
        kind, _, name = group.name.partition("/")
        value = group.value
        found = await self._api.get(Ref(_PLURALS[kind], group.namespace, name))
        template = found.get("spec", {}).get("template", {}).get("metadata") or {}
        self._flights[group.id] = Flight(str(tunnel.key), value, self._now())
        if (template.get("annotations") or {}).get(names.RESTART_ANNOTATION) == value:
            return ""
        manifest = {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "metadata": {"name": name, "namespace": group.namespace},
            "spec": {"template": {"metadata": {"annotations": {names.RESTART_ANNOTATION: value}}}},
        }
        try:
            await self._api.apply(manifest, manager=names.ROLLOUT_MANAGER)
        except ApiError:
            del self._flights[group.id]
            raise
        LOG.info("%s: restarting %s in %s", tunnel.key, group.name, group.namespace)
        return ""

    async def _evict(self, group: Group, tunnel: Tunnel) -> str:
        if any(not one.pod.ready for one in group.members if one not in group.strays):
            return f"{group.name} has pods that are not ready; the next one is evicted when they are."
        pod = min(group.strays, key=lambda one: (one.pod.ready, one.pod.created, one.pod.name)).pod
        try:
            await self._api.evict(pod.namespace, pod.name, uid=pod.uid)
        except ApiError as error:
            if error.status != 429:
                raise
            return (
                f"pod {pod.namespace}/{pod.name} may not be evicted now ({error.message}); tried again: "
                f"`kubectl -n {pod.namespace} get poddisruptionbudget`."
            )
        self._flights[group.id] = Flight(str(tunnel.key), group.value, self._now(), pod.uid, len(group.members))
        LOG.info("%s: evicted pod %s/%s", tunnel.key, pod.namespace, pod.name)
        return ""


def _was_stuck(tunnel: Tunnel) -> bool:
    conditions = tunnel.status.get("conditions") or ()
    return any(item.get("type") == "PodsReady" and item.get("reason") == "RolloutStuck" for item in conditions)
