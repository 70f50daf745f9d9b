"""The state of the process becomes the JSON body of /statusz, which `tunnel status` draws as a table.

Names of peers are public parts of their certificates; keys, payload and configuration values beyond
addresses never come here.  At most `MAX_CONNECTIONS` connections are listed, longest-lived first, beside
their true number.  Pure: the clock is passed in.

What `page` takes, all frozen:

    Page         version, started (epoch seconds), ready ("" or why not), tunnels, certificates, reloads, connections
    TunnelState  name ("" for the only one), mode, listen, target, active, max_connections, accepted (since the start)
    health.CertificateState   tunnel, name, role, not_before, not_after
    ReloadState  ok, failed (counts), last_at (epoch seconds, None: never), last_error ("" if the last one succeeded)
    ConnectionState   tunnel, remote, started (epoch seconds), peer (common name, else URI or fingerprint), uri, roles,
                 tls (version), bytes_in (from the accepting side), bytes_out (to it), phase (one word)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest

from mtls_tunnel.observe.health import CertificateState, certificate, compact, rfc3339

MAX_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class TunnelState:
    name: str
    mode: str
    listen: str
    target: str
    active: int
    max_connections: int
    accepted: int


@dataclass(frozen=True, slots=True)
class ReloadState:
    ok: int = 0
    failed: int = 0
    last_at: float | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    tunnel: str
    remote: str
    started: float
    peer: str = ""
    uri: str = ""
    roles: tuple[str, ...] = ()
    tls: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    phase: str = "open"


@dataclass(frozen=True, slots=True)
class Page:
    version: str
    started: float
    ready: str = ""
    tunnels: tuple[TunnelState, ...] = ()
    certificates: tuple[CertificateState, ...] = ()
    reloads: ReloadState = ReloadState()
    connections: Iterable[ConnectionState] = ()


def page(state: Page, now: float) -> bytes:
    """The body of /statusz at *now* (epoch seconds)."""
    connections = list(state.connections)
    return compact(
        {
            "version": state.version,
            "uptime_seconds": _age(state.started, now),
            "ready": not state.ready,
            "reason": state.ready,
            "tunnels": [_tunnel(tunnel) for tunnel in state.tunnels],
            "certificates": [{"role": one.role, **certificate(one, now)} for one in state.certificates],
            "reloads": _reloads(state.reloads),
            # Whoever asked a tunnel for its first thousand only knows the number all the same.
            "connections_total": max(len(connections), sum(tunnel.active for tunnel in state.tunnels)),
            "connections": [
                _connection(one, now) for one in nsmallest(MAX_CONNECTIONS, connections, key=lambda one: one.started)
            ],
        }
    )


def _tunnel(tunnel: TunnelState) -> dict[str, object]:
    return {
        "name": tunnel.name,
        "mode": tunnel.mode,
        "listen": tunnel.listen,
        "target": tunnel.target,
        "active": tunnel.active,
        "max_connections": tunnel.max_connections,
        "accepted": tunnel.accepted,
    }


def _reloads(reloads: ReloadState) -> dict[str, object]:
    last = None if reloads.last_at is None else rfc3339(reloads.last_at)
    return {"ok": reloads.ok, "failed": reloads.failed, "last_at": last, "last_error": reloads.last_error}


def _connection(one: ConnectionState, now: float) -> dict[str, object]:
    return {
        "tunnel": one.tunnel,
        "remote": one.remote,
        "peer": one.peer,
        "uri": one.uri,
        "roles": list(one.roles),
        "tls": one.tls,
        "age_seconds": _age(one.started, now),
        "bytes_in": one.bytes_in,
        "bytes_out": one.bytes_out,
        "phase": one.phase,
    }


def _age(started: float, now: float) -> float:
    return round(max(0.0, now - started), 1)
