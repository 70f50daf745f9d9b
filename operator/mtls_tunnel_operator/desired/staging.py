"""In which order ports open and close, so that no client ever dials a port that no server serves.

A changed ConfigMap reaches the sidecars within the propagation time, some at once and some at its end; until
then any version of that span may be in use.  Hence:

    opening   the server's configuration first; the Service and the clients, once every sidecar must have it
    closing   the clients first; the Service and the server, once no sidecar can still dial it

Permissions are not staged: whoever is no longer allowed is refused at once, and a client that a running
server learns of dials when all its sidecars have learnt of it.  What was never there has no sidecars: a new
tunnel opens at once, and so does a new client on a port that is open.

State is what has been written: `Stored`, read from annotations of the ConfigMaps (`stamps`).  A clock that
went back, or a stamp from the future, makes a wait longer, never shorter.  A ConfigMap in another namespace than
the tunnel's is written by others too: it may say which of the ports that are open it still needs (`believed`),
and can open none.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mtls_tunnel_operator.desired import acl
from mtls_tunnel_operator.model.resources import Client, Key, Tunnel

ALWAYS = 0.0
WRITE_SECONDS = 10.0  # between the decision and the write: its timeout, and one more attempt
SERVICE_SECONDS = 10.0  # until DNS and every node know a Service of a new name
MOST_RETAINED = 48  # ports: each of the resource's sixteen may move three times before the first is given up


@dataclass(frozen=True, slots=True)
class Served:
    """A port of a server's configuration; `clients` are the entries that may use it, and since when."""

    tls_port: int
    target_port: int
    port: str
    since: float = ALWAYS
    clients: tuple[tuple[str, float], ...] = ()
    closing: float | None = None  # since when nobody has needed it

    @property
    def client_names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.clients)


@dataclass(frozen=True, slots=True)
class Dial:
    """A listener of a client's configuration and where it leads; `port` is the name of the server's port."""

    port: str
    local_port: int
    host: str
    tls_port: int

    @property
    def target(self) -> tuple[str, int]:
        return self.host, self.tls_port


@dataclass(frozen=True, slots=True)
class Stored:
    """What has been written: each server's ConfigMap, each client's by its place, and our Services by host."""

    servers: tuple[Mapping[int, Served], ...] = ()
    clients: Mapping[Key, tuple[Dial, ...]] = field(default_factory=dict)
    services: Mapping[str, float] = field(default_factory=dict)  # host -> created
    leaving: Mapping[str, float] = field(default_factory=dict)  # host -> since when nobody has needed it


@dataclass(frozen=True, slots=True)
class Stage:
    """What is to be written now, and when to look again (None: nothing is waited for).

    `dials` lacks a place that has to wait before it is made; `service` are the ports of the Service; `kept` are
    the hosts of other Services of ours that may still be dialed.
    """

    served: tuple[Served, ...] = ()
    dials: Mapping[Key, tuple[Dial, ...]] = field(default_factory=dict)
    service: tuple[Served, ...] = ()
    kept: frozenset[str] = frozenset()
    leaving: Mapping[str, float] = field(default_factory=dict)
    wake_at: float | None = None


def everything_served(tunnel: Tunnel) -> tuple[Served, ...]:
    """The ports that the resource names, open since ever."""
    return tuple(
        Served(
            port.tls_port,
            port.target_port or 0,
            port.name,
            clients=tuple((name, ALWAYS) for name in sorted(acl.clients_of_port(tunnel, port.name))),
        )
        for port in tunnel.ports
    )


def everything_dialed(tunnel: Tunnel, client: Client, host: str) -> tuple[Dial, ...]:
    """The listeners that the resource names."""
    found = ((listener, tunnel.port(listener.port)) for listener in client.listeners)
    return tuple(Dial(listener.port, listener.local_port, host, port.tls_port) for listener, port in found if port)


def believed(tunnel: Tunnel, dials: Iterable[Dial], servers: Iterable[Mapping[int, Served]]) -> tuple[Dial, ...]:
    """What a ConfigMap in another namespace may claim: dials to ports of the resource, or that a server has open."""
    numbers = {port.tls_port for port in tunnel.ports}.union(*servers)
    return tuple({dial.local_port: dial for dial in dials if dial.tls_port in numbers}.values())


@dataclass(slots=True)
class _Clock:
    """Asks whether a wait is over, and remembers the next one that is not."""

    now: float
    wait: float
    next: float | None = None

    def over(self, since: float, wait: float | None = None) -> bool:
        if since == ALWAYS:
            return True
        until = since + (self.wait if wait is None else wait)
        if until <= self.now:
            return True
        self.next = until if self.next is None else min(self.next, until)
        return False


def stage(
    tunnel: Tunnel,
    host: str,
    places: Mapping[Key, Client],
    stored: Stored,
    propagation_seconds: float,
    now: float,
) -> Stage:
    """The next step towards what *tunnel* asks for; *host* is where its clients are to dial."""
    if tunnel.workload is None:
        return Stage(dials={key: everything_dialed(tunnel, client, host) for key, client in places.items()})
    clock = _Clock(now, propagation_seconds + WRITE_SECONDS)
    wanted = _wanted(tunnel, stored, now)
    ready = {one.tls_port: one for one in wanted if clock.over(one.since)}
    dials = {
        key: found
        for key, client in places.items()
        if (found := _dials(tunnel, client, host, stored, key, ready, clock))
    }
    # Until a write is confirmed by what is stored, both versions may be in use.
    dialed = {dial for version in (dials, stored.clients) for listed in version.values() for dial in listed}
    served = (*wanted, *_retained(tunnel, wanted, dialed, stored, clock))
    kept, leaving = _old_services(host, dialed, stored, clock)
    if any(stored.clients.get(key) != listed for key, listed in dials.items() if key in stored.clients):
        clock.over(now, 1.0)
    return Stage(
        served=tuple(sorted(served, key=lambda one: one.tls_port)),
        dials=dials,
        service=_service(host, served, wanted, ready, dialed) if tunnel.service_name else (),
        kept=kept,
        leaving=leaving,
        wake_at=clock.next,
    )


def _wanted(tunnel: Tunnel, stored: Stored, now: float) -> tuple[Served, ...]:
    """The ports of the resource, each since when every server's configuration has had it."""
    wanted = everything_served(tunnel)
    if not stored.servers and not stored.clients:
        return wanted
    found = []
    for one in wanted:
        before = [server[one.tls_port] for server in stored.servers if one.tls_port in server]
        complete = bool(before) and len(before) == len(stored.servers)
        grants = [dict(each.clients) for each in before] if complete else [{}]
        since = {name: max(min(grant.get(name, now), now) for grant in grants) for name, _ in one.clients}
        opened = max(min(each.since, now) for each in before) if complete else now
        found.append(replace(one, since=opened, clients=tuple(since.items())))
    return tuple(found)


def _dials(
    tunnel: Tunnel,
    client: Client,
    host: str,
    stored: Stored,
    key: Key,
    ready: Mapping[int, Served],
    clock: _Clock,
) -> tuple[Dial, ...]:
    """Where the sidecars of one place are to dial now; what cannot be opened yet stays where it was."""
    wanted, before = everything_dialed(tunnel, client, host), stored.clients.get(key)
    if before is None:
        return tuple(dial for dial in wanted if dial.tls_port in ready)
    known = {dial.target for dial in before}
    by_port, by_local = {dial.port: dial for dial in before}, {dial.local_port: dial for dial in before}
    found = []
    for dial in wanted:
        prior = by_port.get(dial.port) or by_local.get(dial.local_port)
        if dial.target in known or _can_open(tunnel, client, dial, stored, ready, clock):
            found.append(dial)
        elif prior is not None:
            found.append(replace(dial, host=prior.host, tls_port=prior.tls_port))
    return tuple(found) or before


def _can_open(
    tunnel: Tunnel, client: Client, dial: Dial, stored: Stored, ready: Mapping[int, Served], clock: _Clock
) -> bool:
    if dial.tls_port not in ready:
        return False
    allowed = clock.over(dict(ready[dial.tls_port].clients)[client.name])
    if not tunnel.service_name:
        return allowed
    # A Service that has just got its name may be unknown to DNS; one that is not there yet is written now.
    made = stored.services.get(dial.host, clock.now)
    if made > clock.now:  # by another clock: nobody knows since when, but it is there
        made = ALWAYS
    return clock.over(made, SERVICE_SECONDS) and allowed


def _retained(
    tunnel: Tunnel, wanted: tuple[Served, ...], dialed: Iterable[Dial], stored: Stored, clock: _Clock
) -> tuple[Served, ...]:
    """Ports that the resource no longer names and that some sidecar may still dial."""
    known = {number: one for server in stored.servers for number, one in server.items()}
    needed = {dial.tls_port: dial for dial in dialed}
    taken = {one.tls_port for one in wanted} | {one.target_port for one in wanted}
    taken.add(tunnel.observability.admin_port)
    found = []
    for number in sorted((known.keys() | needed.keys()) - taken):
        one = _as_asked_now(tunnel, number, known.get(number), needed.get(number), clock.now)
        if one is None:
            continue
        closing = None if number in needed else min(clock.now, clock.now if one.closing is None else one.closing)
        if closing is None or not clock.over(closing):
            found.append(replace(one, closing=closing))
    # Of too many, those go first that nobody has needed for the longest time.
    found.sort(key=lambda one: math.inf if one.closing is None else one.closing, reverse=True)
    return tuple(found[:MOST_RETAINED])


def _as_asked_now(tunnel: Tunnel, number: int, one: Served | None, dial: Dial | None, now: float) -> Served | None:
    """A retained port with the target and the clients that the resource gives its name now.

    Where even the name has gone, those clients that had it and are still there keep it.
    """
    name = one.port if one else dial.port if dial else ""
    port = tunnel.port(name)
    if port is not None and port.target_port:
        names = sorted(acl.clients_of_port(tunnel, name))
        since = min(one.since, now) if one else now
        closing = one.closing if one else None
        return Served(number, port.target_port, name, since, tuple((each, since) for each in names), closing)
    if one is None:
        return None
    there = {client.name for client in tunnel.clients}
    return replace(one, clients=tuple((each, since) for each, since in one.clients if each in there))


def _service(
    host: str,
    served: tuple[Served, ...],
    wanted: tuple[Served, ...],
    ready: Mapping[int, Served],
    dialed: Iterable[Dial],
) -> tuple[Served, ...]:
    """The ports of the Service: those that every server has, and those that may still be dialed."""
    waiting = {one.tls_port for one in wanted} - ready.keys() - {dial.tls_port for dial in dialed if dial.host == host}
    return tuple(one for one in served if one.tls_port not in waiting)


def _old_services(
    host: str, dialed: Iterable[Dial], stored: Stored, clock: _Clock
) -> tuple[frozenset[str], dict[str, float]]:
    """Services under another name that have to stay, and since when those that nobody needs do."""
    needed = {dial.host for dial in dialed}
    kept, leaving = set(), {}
    for other in stored.services.keys() - {host}:
        since = min(stored.leaving.get(other, clock.now), clock.now)
        if other in needed:
            kept.add(other)
        elif not clock.over(since):
            kept.add(other)
            leaving[other] = since
    return frozenset(kept), leaving
