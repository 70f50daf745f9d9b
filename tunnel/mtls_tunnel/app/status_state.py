"""The lanes of a running process become the body of /statusz."""

from collections.abc import Iterable, Iterator, Mapping

from mtls_tunnel import __version__
from mtls_tunnel.app.lane import Lane
from mtls_tunnel.app.routing import leads_to
from mtls_tunnel.observe import health
from mtls_tunnel.observe.health import Snapshot
from mtls_tunnel.observe.status_page import MAX_CONNECTIONS, ConnectionState, Page, ReloadState, TunnelState, page


def body(
    lanes: Iterable[Lane],
    leaving: Iterable[Lane],
    snapshot: Snapshot,
    reloads: ReloadState,
    *,
    began: float,
    now: float,
) -> bytes:
    """JSON for `tunnel status`.  Lanes that are *leaving* only show by their connections."""
    serving = tuple(lanes)
    return page(
        Page(
            version=__version__,
            started=began,
            ready=health.unready(snapshot, now),
            tunnels=tuple(_tunnel(lane) for lane in serving),
            certificates=snapshot.certificates,
            reloads=reloads,
            connections=tuple(one for lane in (*serving, *leaving) for one in _connections(lane)),
        ),
        now,
    )


def _tunnel(lane: Lane) -> TunnelState:
    tunnel = lane.current.tunnel
    return TunnelState(
        name=tunnel.name,
        mode=tunnel.mode,
        listen=str(lane.address or tunnel.listen),
        target=leads_to(tunnel),
        active=lane.live,
        max_connections=tunnel.proxy.max_connections,
        accepted=lane.meters.connections,
    )


def _connections(lane: Lane) -> Iterator[ConnectionState]:
    for one in lane.registry.snapshot(limit=MAX_CONNECTIONS):
        yield _connection(lane.name, one)


def _connection(tunnel: str, one: Mapping[str, object]) -> ConnectionState:
    roles = one["roles"]
    assert isinstance(roles, Iterable)
    return ConnectionState(
        tunnel=tunnel,
        remote=str(one["remote"]),
        started=float(str(one["since"])),
        peer=str(one["peer_cn"] or ""),
        uri=str(one["peer_uri"] or ""),
        roles=tuple(str(role) for role in roles),
        tls=str(one["tls"] or ""),
        bytes_in=int(str(one["bytes_in"])),
        bytes_out=int(str(one["bytes_out"])),
        phase=str(one["state"]),
    )
