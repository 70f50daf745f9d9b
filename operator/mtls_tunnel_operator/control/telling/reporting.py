"""What was found is told: the status where it differs from what is stored, an event for each transition, numbers.

A status that says the same is not written, and an event follows only a status that was.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.pods.census import Census
from mtls_tunnel_operator.control.telling.picture import Held, Picture
from mtls_tunnel_operator.control.telling.status import notices, status_of
from mtls_tunnel_operator.errors import NotFound
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Key

_LIST_KEYS = {"conditions": ("type",), "clients": ("name",), "certificates": ("name", "serviceAccount")}


class Posts(Protocol):
    """What is asked of `cluster.events.Events`."""

    def post(
        self, regarding: Ref, type: Literal["Normal", "Warning"], reason: str, message: str, *, uid: str = ""
    ) -> None: ...


class Numbers(Protocol):
    """What is asked of `control.meters.Meters`."""

    def certificate(self, namespace: str, name: str, role: str, account: str, not_after: float) -> None: ...
    def forget_certificate(self, namespace: str, name: str, role: str, account: str) -> None: ...
    def renewal_failures(self, namespace: str, name: str, failures: int) -> None: ...
    def pods(self, namespace: str, name: str, selected: int, injected: int, updated: int) -> None: ...
    def ready(self, namespace: str, name: str, status: str) -> None: ...
    def forget_tunnel(self, namespace: str, name: str) -> None: ...


class Reporting:
    """Tells what was found; remembers which pods were told that they cannot be injected."""

    def __init__(self, api: Api, events: Posts, numbers: Numbers, *, now: Callable[[], float]) -> None:
        self._api = api
        self._events = events
        self._numbers = numbers
        self._now = now
        self._told: dict[Key, frozenset[str]] = {}
        self._certified: dict[Key, frozenset[tuple[str, str]]] = {}  # roles and accounts with a number of theirs

    async def tell(self, picture: Picture) -> None:
        """Everything about one look at a tunnel."""
        tunnel = picture.tunnel
        status = status_of(picture, self._now())
        self._tell_numbers(tunnel.key, picture, status)
        self._tell_pods(tunnel.key, picture.census)
        await self.store(tunnel.key, tunnel.uid, tunnel.status, status)

    async def store(self, key: Key, uid: str, old: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        """Write *status* if it says anything new; a tunnel that is gone needs none."""
        if _ordered(old) == _ordered(status):
            return
        ref = Ref(names.TUNNELS, *key)
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": "MtlsTunnel",
            # With the UID, a resource that was made anew under this name meanwhile is not meant.
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": dict(status),
        }
        try:
            await self._api.apply_status(manifest)
        except NotFound:
            return
        for notice in notices(old, status):
            self._events.post(ref, notice.type, notice.reason, notice.message, uid=uid)

    def tell_leaves(self, key: Key, uid: str, reason: Literal["Issued", "Renewed"], roles: Iterable[str]) -> None:
        """One event for all leaves that were made in one look."""
        listed = ", ".join(dict.fromkeys(roles))
        if listed:
            said = "first certificate" if reason == "Issued" else "new certificate"
            self._events.post(Ref(names.TUNNELS, *key), "Normal", reason, f"{said} for: {listed}", uid=uid)

    def forget(self, key: Key) -> None:
        """A tunnel is gone: so are its numbers."""
        self._told.pop(key, None)
        self._certified.pop(key, None)
        self._numbers.forget_tunnel(*key)

    def _tell_pods(self, key: Key, census: Census) -> None:
        """An event on each pod that cannot be injected, once for as long as it lives."""
        stray = census.standing("CannotBeInjected", "Clash")
        told = self._told.get(key, frozenset())
        for member in stray:
            if member.pod.uid not in told:
                self._events.post(
                    Ref("pods", member.pod.namespace, member.pod.name),
                    "Warning",
                    "NotInjected",
                    f"MtlsTunnel {key} selects this pod, but it gets no sidecar: {member.why}.",
                    uid=member.pod.uid,
                )
        self._told[key] = frozenset(member.pod.uid for member in stray)

    def _tell_numbers(self, key: Key, picture: Picture, status: Mapping[str, Any]) -> None:
        certified = first_to_end(picture.held)
        for gone in self._certified.get(key, frozenset()) - certified.keys():
            self._numbers.forget_certificate(*key, *gone)
        self._certified[key] = frozenset(certified)
        for (role, account), held in certified.items():
            self._numbers.certificate(*key, role, account, held.not_after)
        failing = [held.failures or 1 for held in picture.held if held.problem is not None]
        self._numbers.renewal_failures(*key, max(failing, default=0))
        sides = picture.census.sides
        self._numbers.pods(
            *key,
            sum(side.selected for side in sides),
            sum(side.injected for side in sides),
            sum(side.updated for side in sides),
        )
        ready = next((item["status"] for item in status["conditions"] if item["type"] == "Ready"), "Unknown")
        self._numbers.ready(*key, ready)


def first_to_end(held: Iterable[Held]) -> dict[tuple[str, str], Held]:
    """For each role and account the leaf that ends first, those that exist."""
    found: dict[tuple[str, str], Held] = {}
    for one in sorted(held, key=lambda each: each.not_after):
        if one.not_after:
            found.setdefault((one.role, one.account), one)
    return found


def _ordered(status: Mapping[str, Any]) -> dict[str, Any]:
    """*status* with its keyed lists in one order: the API server may keep them in another."""
    result = dict(status)
    for field, keys in _LIST_KEYS.items():
        items = result.get(field)
        if isinstance(items, list):
            result[field] = sorted(items, key=lambda item: tuple(str(item.get(key, "")) for key in keys))
    return result
