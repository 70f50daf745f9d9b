"""A tunnel and the world it is in become a plan: what to apply, in which order, and what to delete.

The order matters (`staging`): servers' ConfigMaps, then the Service, then clients' ConfigMaps.  Whoever carries
it out stops at the first write that fails, and asks again.  Leaves and their Secrets are made elsewhere; here
only those are named whose place is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_tunnel_operator import names as fixed
from mtls_tunnel_operator.desired import names, network, objects, same, stamps
from mtls_tunnel_operator.desired.places import Place, places_of
from mtls_tunnel_operator.desired.staging import Dial, Served, Stage, Stored, believed, stage
from mtls_tunnel_operator.desired.world import Manifest, Raw, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.moments import epoch
from mtls_tunnel_operator.model.resources import Key, Tunnel

_DELETED = ("certificates", "configmaps", "secrets", "services", "networkpolicies", "podmonitors")


@dataclass(frozen=True, slots=True)
class Plan:
    """`apply` are the manifests that differ from what is there, `desired` all of them, both in the order of writing.

    `waiting` are places whose ConfigMap cannot be made yet, since no server has their ports open; `wake_at` is
    when to plan anew (None: nothing is waited for).
    """

    apply: tuple[Manifest, ...] = ()
    delete: tuple[Ref, ...] = ()
    desired: tuple[Manifest, ...] = ()
    waiting: tuple[Place, ...] = ()
    wake_at: float | None = None


def plan(tunnel: Tunnel, world: World, now: float) -> Plan:
    """What to write for *tunnel* now: nothing while it is suspended.

    Raises:
        SpecError: the resource asks for what cannot be; what is there stays.
    """
    if tunnel.suspend:
        return Plan()
    places = _open_places(tunnel, world)
    host = names.server_host(tunnel, world.peers.cluster_domain)
    clients = {place.key: place.part.client for place in places if place.part.client is not None}
    now_stage = stage(tunnel, host, clients, _stored(tunnel, places, world), world.propagation_seconds, now)
    desired = (
        *_config_maps(tunnel, places, now_stage, world),
        *_network(tunnel, now_stage, world),
        *_certificates(tunnel, places, world),
    )
    return Plan(
        apply=tuple(one for one in desired if not same.same(one, world.objects.get(ref_of(one)))),
        delete=_deleted(tunnel, places, desired, now_stage, world),
        desired=desired,
        waiting=tuple(place for place in places if place.part.client and place.key not in now_stage.dials),
        wake_at=now_stage.wake_at,
    )


def _open_places(tunnel: Tunnel, world: World) -> tuple[Place, ...]:
    """Places in which something can be made; in a terminating namespace only what is there is kept."""
    places = places_of(tunnel, world.peers.spaces)
    return tuple(
        place for place in places if place.namespace not in world.terminating or place.config_map in world.objects
    )


def _stored(tunnel: Tunnel, places: tuple[Place, ...], world: World) -> Stored:
    servers: list[dict[int, Served]] = []
    clients: dict[Key, tuple[Dial, ...]] = {}
    leaving: dict[str, float] = {}
    for place in places:
        raw = world.objects.get(place.config_map)
        if raw is None:
            continue
        annotations = _annotations(raw)
        if place.part.client is None:
            text = annotations.get(fixed.SERVED_ANNOTATION, "")
            servers.append(stamps.served_of(text))
            leaving |= stamps.leaving_of(text)
        else:
            clients[place.key] = stamps.dialed_of(annotations.get(fixed.DIALED_ANNOTATION, ""))
    for key, dials in clients.items():
        if key.namespace != tunnel.key.namespace:
            clients[key] = believed(tunnel, dials, servers)
    return Stored(tuple(servers), clients, _services(tunnel, world), leaving)


def _services(tunnel: Tunnel, world: World) -> dict[str, float]:
    """Our Services by the host under which they are dialed, and since when they are there.

    One in another namespace only looks like ours, whatever its labels.
    """
    return {
        _host(tunnel, ref, world): epoch(raw.get("metadata", {}).get("creationTimestamp"))
        for ref, raw in world.objects.items()
        if ref.plural == "services" and ref.namespace == tunnel.key.namespace
    }


def _config_maps(tunnel: Tunnel, places: tuple[Place, ...], now_stage: Stage, world: World) -> tuple[Manifest, ...]:
    made: dict[bool, list[Manifest]] = {False: [], True: []}
    for place in places:
        before = world.objects.get(place.config_map)
        if place.part.client is None:
            manifest = objects.config_map(
                place, world.peers, served=now_stage.served, leaving=now_stage.leaving, before=before
            )
        elif dials := now_stage.dials.get(place.key):
            manifest = objects.config_map(place, world.peers, dials=dials, before=before)
        else:
            continue
        made[place.part.client is not None].append(manifest)
    service = (objects.service(tunnel, now_stage.service),) if now_stage.service else ()
    return (*made[False], *service, *made[True])


def _network(tunnel: Tunnel, now_stage: Stage, world: World) -> tuple[Manifest, ...]:
    found = []
    if tunnel.workload is not None and tunnel.plaintext == "Block":
        targets = {port.target_port for port in tunnel.ports if port.target_port}
        policy = network.network_policy(
            tunnel,
            world.blocked_ports | targets,
            tls_ports=[one.tls_port for one in now_stage.served],
            only_tls=bool(world.foreign_policies),
        )
        # Where pods get no sidecar none is made; one that is there is kept up, for it may be all that closes the
        # port of pods that run on with theirs.
        if world.injected or ref_of(policy) in world.objects:
            found.append(policy)
    if tunnel.workload is not None and tunnel.observability.pod_monitor == "Managed" and world.pod_monitors:
        found.append(network.pod_monitor(tunnel))
    return tuple(found)


def _certificates(tunnel: Tunnel, places: tuple[Place, ...], world: World) -> tuple[Manifest, ...]:
    if tunnel.certificate.issuer.group != "cert-manager.io":
        return ()
    peers = world.peers
    return tuple(objects.certificate_request(place, peers.trust_domain, peers.cluster_domain) for place in places)


def _deleted(
    tunnel: Tunnel, places: tuple[Place, ...], desired: tuple[Manifest, ...], now_stage: Stage, world: World
) -> tuple[Ref, ...]:
    """What is ours and has no reason any more."""
    wanted = {ref_of(manifest) for manifest in desired}
    wanted |= {ref for place in places for ref in (place.secret, place.config_map)}
    return tuple(
        sorted(
            ref
            for ref, raw in world.objects.items()
            if ref.plural in _DELETED
            and ref not in wanted
            and objects.is_ours(raw, tunnel)
            and not (ref.plural == "services" and _host(tunnel, ref, world) in now_stage.kept)
        )
    )


def _host(tunnel: Tunnel, ref: Ref, world: World) -> str:
    return names.service_host(tunnel, ref.name, world.peers.cluster_domain)


def _annotations(raw: Raw) -> Mapping[str, str]:
    return raw.get("metadata", {}).get("annotations") or {}
