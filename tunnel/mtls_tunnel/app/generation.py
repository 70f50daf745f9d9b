"""A configuration becomes everything needed to serve it: built whole, or not at all.

`prepare` reads and verifies the certificates of every tunnel before any of them is used, so that a
reload either has a complete new state or changes nothing.  What did not change is taken over from the
generation before: its TLS context, and with it the session tickets that peers hold, stays valid.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mtls_tunnel.config.schema import Config, Tls, Tunnel
from mtls_tunnel.errors import MaterialError, Problem
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.trust import store
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.policy import Policy


@dataclass(frozen=True, slots=True)
class Prepared:
    """One tunnel with its verified certificates.  `inbound` accepts TLS, `outbound` dials it."""

    tunnel: Tunnel
    policy: Policy
    inbound: Material | None
    outbound: Material | None
    server_context: ServerContext | None
    client_context: ClientContext | None

    def materials(self) -> Iterator[Material]:
        """The certificate sets in use, the accepting side first."""
        yield from (material for material in (self.inbound, self.outbound) if material is not None)

    def sets(self) -> Iterator[Tls]:
        """The configured certificate sets, without one that is there twice."""
        yield self.tunnel.tls
        if self.tunnel.outbound is not None and _files(self.tunnel.outbound) != _files(self.tunnel.tls):
            yield self.tunnel.outbound


@dataclass(frozen=True, slots=True)
class Generation:
    """All tunnels of a process as of one load, by name."""

    config: Config
    prepared: Mapping[str, Prepared]


def prepare(config: Config, *, now: Callable[[], float], previous: Mapping[str, Prepared] | None = None) -> Generation:
    """Read and verify what *config* names; *now* is the clock (epoch seconds) by which peers are judged too.

    Raises:
        MaterialError: with the problems of all tunnels, in their order.
    """
    before = previous or {}
    made: dict[str, Prepared] = {}
    problems: list[Problem] = []
    for tunnel in config.tunnels:
        try:
            made[tunnel.name] = _prepare(tunnel, before.get(tunnel.name), now, strict=config.strict)
        except MaterialError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise MaterialError(*problems)
    return Generation(config, made)


def renewed(last: Prepared, *, now: Callable[[], float]) -> Prepared:
    """*last* by what its files hold now; as it was where they are gone or cannot be used."""
    try:
        return _prepare(last.tunnel, last, now, strict=False)
    except Exception:  # a root, as for a reload: nothing in a file may end a process that serves
        return last


def _prepare(tunnel: Tunnel, before: Prepared | None, now: Callable[[], float], *, strict: bool) -> Prepared:
    label = f"{tunnel.name}: " if tunnel.name else ""
    inbound = outbound = None
    if tunnel.mode != "client":
        inbound = store.load(tunnel.tls, now=now(), strict=strict, place=f"{label}tls", serves=True)
    if tunnel.mode in ("client", "bridge"):
        place = f"{label}{'outbound' if tunnel.outbound else 'tls'}"
        outbound = store.load(tunnel.outbound or tunnel.tls, now=now(), strict=strict, place=place)
    if before is not None and _same(before, tunnel, inbound, outbound):
        return Prepared(
            tunnel, before.policy, before.inbound, before.outbound, before.server_context, before.client_context
        )
    if before is not None:
        _keep_the_valid(before.inbound, inbound, now())
        _keep_the_valid(before.outbound, outbound, now())
    policy = Policy.of(tunnel.acl, tunnel.roles)
    return Prepared(
        tunnel,
        policy,
        inbound,
        outbound,
        ServerContext(inbound, tunnel.tls, now=now) if inbound is not None else None,
        _client_context(tunnel, outbound, policy, now) if outbound is not None else None,
    )


def _client_context(tunnel: Tunnel, material: Material, policy: Policy, now: Callable[[], float]) -> ClientContext:
    # In a bridge the ACL is about who comes in; the server that it dials is judged by its names alone.
    judged = None if tunnel.mode == "bridge" else lambda: policy
    tls = tunnel.outbound or tunnel.tls
    return ClientContext(material, tls, host=tunnel.target.host, policy=judged, now=now, name=tunnel.name)


def _keep_the_valid(old: Material | None, new: Material | None, now: float) -> None:
    """Raise MaterialError where a leaf that is valid would give way to one that is not."""
    if old is None or new is None or _unfit(old, now) or not (fault := _unfit(new, now)):
        return
    remedy = "the one in use is valid: compare the clocks of this machine and of the CA, or renew"
    raise MaterialError(Problem("", "tls.cert", f"{new.cert_path}: the new certificate {fault}", remedy))


def _unfit(material: Material, now: float) -> str:
    if material.expired(now):
        return "has expired"
    return "is not valid yet" if material.not_yet_valid(now) else ""


def _same(before: Prepared, tunnel: Tunnel, inbound: Material | None, outbound: Material | None) -> bool:
    was = before.tunnel
    return (
        (was.mode, was.target, was.tls, was.outbound, was.acl, was.roles)
        == (tunnel.mode, tunnel.target, tunnel.tls, tunnel.outbound, tunnel.acl, tunnel.roles)
        and _digest(before.inbound) == _digest(inbound)
        and _digest(before.outbound) == _digest(outbound)
    )


def _digest(material: Material | None) -> str:
    return material.digest if material is not None else ""


def _files(tls: Tls) -> tuple[str, str, tuple[str, ...]]:
    return tls.cert, tls.key, tls.ca
