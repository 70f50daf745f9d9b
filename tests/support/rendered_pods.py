"""Pods of a tunnel on this machine: the volumes that a plan and a signer fill, and a sidecar that reads them.

Everything is as in a cluster but for two things: the mount root is a folder of the test, and clients dial
127.0.0.1 (service.policy None), where all pods live together.
"""

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.desired import objects
from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.desired.places import Place, places_of
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.resources import CaSpec, Port, Service, Tunnel
from support.disk import Volume
from support.ports import free_port
from support.processes import Child
from support.scrape import get
from support.tunnel_resources import tunnel
from support.tunnels import ENVIRONMENT, PROGRAM
from support.waiting import eventually


def signer_of(trust_domain: str) -> Signer:
    """A trust domain with a CA of its own."""
    pair = ca.make_root(CaSpec(), trust_domain, time.time())
    return Signer("default", trust_domain, pair, (pair.certificate,))


def local_tunnel(name: str, target: int, tls: int, *, admin: int, **spec: Any) -> Tunnel:
    """The minimal resource with free ports; clients listen on a free port each."""
    made = tunnel(name, **spec)
    assert made.workload is not None
    clients = tuple(
        replace(client, listeners=tuple(replace(one, local_port=free_port()) for one in client.listeners))
        for client in made.clients
    )
    return replace(
        made,
        ports=(Port("pg", tls, target),),
        workload=replace(made.workload, service=Service("None", address="127.0.0.1")),
        clients=clients,
        observability=replace(made.observability, admin_port=admin),
    )


class Rendered:
    """The objects of one tunnel, as the operator keeps them."""

    def __init__(
        self,
        made: Tunnel,
        signer: Signer,
        *,
        now: Callable[[], float] = time.time,
        propagation_seconds: int = 180,
        **peers: Any,
    ) -> None:
        self.tunnel = made
        self.signer = signer
        self.wake_at: float | None = None
        self._now = now
        self._propagation = propagation_seconds
        self._peers = peers
        self.objects: dict[Ref, dict[str, Any]] = {}
        self._leaves: dict[Ref, leaf.Leaf] = {}
        self.reconcile()

    def reconcile(self) -> None:
        home = self.tunnel.key.namespace
        spaces = {client.name: (home,) for client in self.tunnel.clients}
        peers = Peers(self.signer.trust_domain, spaces=spaces, **self._peers)
        world = World(peers, objects=self.objects, propagation_seconds=self._propagation)
        made = plan(self.tunnel, world, self._now())
        self.objects |= {ref_of(one): one for one in made.apply}
        self.wake_at = made.wake_at
        for place in places_of(self.tunnel, spaces):
            if place.secret not in self._leaves:
                self.issue(place)

    def issue(self, place: Place) -> None:
        wanted = leaf_names(place.part, place.namespace, place.account, self.signer.trust_domain, "cluster.local")
        asked = self.tunnel.certificate
        fresh = leaf.issue(self.signer, wanted, asked.duration_seconds, asked.private_key, place.part.role, time.time())
        self._leaves[place.secret] = fresh
        self.objects[place.secret] = objects.secret(
            place,
            cert_pem=fresh.cert_pem,
            key_pem=fresh.key_pem,
            signer=self.signer,
            issuer_fingerprint=fresh.issuer_fingerprint,
            renew_at=fresh.not_after,
        )

    def also_admin(self, role: str, port: int) -> None:
        """As if pods of *role* had been made when the resource named another admin port."""
        before = self.objects[self.place(role).config_map]
        before["data"][names.process_file(port)] = ""
        self.reconcile()

    def place(self, role: str) -> Place:
        spaces = {client.name: (self.tunnel.key.namespace,) for client in self.tunnel.clients}
        return next(place for place in places_of(self.tunnel, spaces) if place.part.role == role)

    def files(self, role: str, root: Path) -> dict[str, bytes]:
        """What one volume holds, with the mount root moved to *root*."""
        place = self.place(role)
        secret, config = self.objects[place.secret]["data"], self.objects[place.config_map]["data"]
        return {
            **{name: base64.b64decode(content) for name, content in secret.items()},
            **{name: text.replace(names.MOUNT_ROOT, str(root)).encode() for name, text in config.items()},
        }


class Pod(Child):
    """A sidecar with its volumes; the first part leads."""

    def __init__(self, root: Path, parts: Iterable[tuple[Rendered, str]], *, admin: int = 0) -> None:
        """*admin* is a port for a pod of the same machine as its server; its file is planned from then on."""
        self.root = root
        self._volumes = []
        for rendered, role in parts:
            if admin:
                rendered.also_admin(role, admin)
            place = rendered.place(role)
            volume = Volume(root / place.part.volume_id, rendered.files(role, root))
            self._volumes.append((rendered, role, volume))
        leader, role, volume = self._volumes[0]
        self.admin = admin or leader.tunnel.observability.admin_port
        process = volume[names.process_file(self.admin)]
        super().__init__([*PROGRAM, "run", "-c", root, "--process", process], cwd=root, env=ENVIRONMENT)
        try:
            eventually(self._is_ready, "the sidecar is ready")
        except BaseException:
            self.stop()
            raise

    def refresh(self) -> None:
        """What kubelet does when a Secret or a ConfigMap has changed."""
        for rendered, role, volume in self._volumes:
            volume.publish(rendered.files(role, self.root))

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Refresh the only volume with what it is to hold."""
        ((_, _, volume),) = self._volumes
        volume.publish(files)

    def _is_ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"ended while starting\n{self.output}")
        return get(self.admin, "/readyz").status == 200
