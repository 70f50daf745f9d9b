"""A tunnel's objects as a cluster keeps them, with sidecars that may hold any version of the last minutes.

`Cluster.reconcile` plans and writes as the operator does; a write may come late or fail, and then the rest of
the plan is not written.  `faults` says which sidecar could dial what nobody serves.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired import stamps
from mtls_tunnel_operator.desired.plan import Plan, plan
from mtls_tunnel_operator.desired.staging import Dial
from mtls_tunnel_operator.desired.world import Manifest, Peers, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.moments import rfc3339
from mtls_tunnel_operator.model.resources import Tunnel
from support.tunnel_resources import NOON

PROPAGATION = 180.0


@dataclass
class Cluster:
    """`history` holds each ConfigMap's versions with the time of their writing, the current one last."""

    tunnel: Tunnel
    now: float = NOON
    objects: dict[Ref, Manifest] = field(default_factory=dict)
    history: dict[Ref, list[tuple[float, Manifest]]] = field(default_factory=dict)
    wake_at: float | None = None  # as the last plan had it
    spaces: tuple[str, ...] = ("shop",)  # where every client runs

    @property
    def world(self) -> World:
        spaces = {client.name: self.spaces for client in self.tunnel.clients}
        return World(Peers("cluster.local", spaces=spaces), self.objects, propagation_seconds=int(PROPAGATION))

    def reconcile(self, *, late: float = 0.0, writes: int = 1000) -> Plan:
        """Plan now, write *late* seconds afterwards, and fail after some *writes*."""
        made = plan(self.tunnel, self.world, self.now)
        self.now += late
        self.check()
        for manifest in made.apply[:writes]:
            self._write(manifest)
            self.check()
        if writes >= len(made.apply):
            for ref in made.delete:
                self.objects.pop(ref)
                self.history.pop(ref, None)
        self.check()
        self.wake_at = made.wake_at
        return made

    def check(self) -> None:
        """Nobody can dial what is not served."""
        assert list(self.faults()) == []

    def settle(self, rounds: int = 40) -> None:
        """Reconcile whenever the plan wants to be asked again, until it does not."""
        for _ in range(rounds):
            made = self.reconcile()
            if made.wake_at is None:
                return
            self.now = max(self.now + 0.5, made.wake_at)
        raise AssertionError(f"still waiting at {self.now} for {self.wake_at}")

    def change(self, **fields: Any) -> None:
        """Edit the resource."""
        self.tunnel = replace(self.tunnel, **fields)

    def faults(self) -> Iterator[str]:
        """Dials that could fail now."""
        serving = [set(self._served(version)) for ref in self._config_maps("server") for version in self._held(ref)]
        for ref in self._config_maps("client"):
            for version in self._held(ref):
                for dial in dials_of(version):
                    if not all(dial.tls_port in ports for ports in serving):
                        yield f"{ref} dials {dial.tls_port}, a server may serve only {serving}"
                    if dial.tls_port not in self.service_ports(dial.host):
                        yield f"{ref} dials {dial.host}:{dial.tls_port}, which its Service does not have"

    def service_ports(self, host: str) -> set[int]:
        """The ports of the Service that is dialed as *host*; a host of somebody else's leads to every server's port."""
        if ".svc." not in host:
            return self.served()
        ref = Ref("services", self.tunnel.key.namespace, host.partition(".")[0])
        return {port["port"] for port in self.objects.get(ref, {"spec": {"ports": []}})["spec"]["ports"]}

    def dials(self, client: str) -> tuple[Dial, ...]:
        """What the current ConfigMaps of *client* say, once they all say the same."""
        maps = [self.objects[ref] for ref in self._config_maps("client")]
        (dials,) = {dials_of(one) for one in maps if one["metadata"]["labels"][names.CLIENT_LABEL] == client}
        return dials

    def served(self) -> set[int]:
        """What the current ConfigMaps of the server open."""
        return {port for ref in self._config_maps("server") for port in self._served(self.objects[ref])}

    def _write(self, manifest: Manifest) -> None:
        ref = ref_of(manifest)
        stored = copy.deepcopy(manifest)
        before = self.objects.get(ref, {"metadata": {"creationTimestamp": rfc3339(self.now)}})
        stored["metadata"]["creationTimestamp"] = before["metadata"]["creationTimestamp"]
        self.objects[ref] = stored
        self.history.setdefault(ref, []).append((self.now, stored))

    def _config_maps(self, role: str) -> list[Ref]:
        return [
            ref
            for ref, raw in self.objects.items()
            if ref.plural == "configmaps" and raw["metadata"]["labels"][names.ROLE_LABEL] == role
        ]

    def _held(self, ref: Ref) -> list[Manifest]:
        """Versions that a sidecar may have: the current one, and those replaced within the propagation time."""
        versions = self.history[ref]
        ends = [*(time for time, _ in versions[1:]), float("inf")]
        return [version for (_, version), end in zip(versions, ends, strict=True) if end > self.now - PROPAGATION]

    @staticmethod
    def _served(version: Manifest) -> Sequence[int]:
        return list(stamps.served_of(version["metadata"]["annotations"][names.SERVED_ANNOTATION]))


def dials_of(version: Manifest) -> tuple[Dial, ...]:
    """Where a client's ConfigMap leads."""
    return stamps.dialed_of(version["metadata"]["annotations"][names.DIALED_ANNOTATION])
