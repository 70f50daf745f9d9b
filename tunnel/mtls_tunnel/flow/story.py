"""What a connection's story says in the log: one function for each line of the contract, with its attributes in order.

Levels, messages and names of attributes are an interface: people alert on them.  Access lines obey ``logging.access``
(`all`, `denied`, `none`); warnings and errors are never silenced here.
"""

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import PeerRejected, UpstreamError
from mtls_tunnel.flow.route import Route
from mtls_tunnel.observe.logs import DEBUG, ERROR, INFO, WARN, emit
from mtls_tunnel.tls.engine import Peer, Presented
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.policy import Decision


def accepted(route: Route, remote: str, identity: Identity | None) -> None:
    if route.access() != "none":
        emit(
            # A router says who went where, or was refused, in a line of its own: one at INFO for each connection.
            INFO if route.guide is None else DEBUG,
            "listener: accepted connection",
            peer_cn=identity and identity.cn,
            remote=remote,
            peer_uri=identity and identity.uri,
            tunnel=route.name or None,
        )


def connected(route: Route, server: str) -> None:
    if route.access() != "none":
        emit(INFO, "dialer: connected", server=server, tunnel=route.name or None)


def denied(route: Route, remote: str, identity: Identity | None, decision: Decision) -> None:
    _judged(route, "acl: connection denied", remote, identity, decision)


def audited(route: Route, remote: str, identity: Identity | None, decision: Decision) -> None:
    _judged(route, "acl: connection would be denied (audit)", remote, identity, decision)


def handshake_failed(route: Route, remote: str, refusal: PeerRejected, presented: Presented | None) -> None:
    emit(
        WARN,
        "tls handshake failed",
        remote=remote,
        reason=refusal.reason,
        error=refusal.detail,
        peer_subject=presented and presented.subject,
        peer_sha256=presented and presented.sha256,
        tunnel=route.name or None,
    )


def dial_failed(route: Route, target: Address, remote: str, error: UpstreamError) -> None:
    tunnel = route.name or None
    emit(WARN, "proxy: dial failed", target=target, remote=remote, error=error.detail, tunnel=tunnel)


def broke(route: Route, remote: str, error: BaseException | None) -> None:
    """A connection ended in a way that nobody foresaw, or broke inside TLS."""
    level = WARN if isinstance(error, OSError) else ERROR
    text = None if error is None else f"{type(error).__name__}: {error}"
    emit(level, "proxy: connection broke", remote=remote, error=text, tunnel=route.name or None)


def closed(
    route: Route,
    remote: str,
    peer: Peer | None,
    roles: tuple[str, ...],
    seconds: float,
    moved: tuple[int, int],
    reason: str,
) -> None:
    if route.access() == "all":
        emit(
            INFO,
            "connection closed",
            remote=remote,
            peer_cn=peer and peer.identity and peer.identity.cn,
            roles=",".join(roles) or None,
            tunnel=route.name or None,
            duration_ms=round(seconds * 1000),
            bytes_in=moved[0],
            bytes_out=moved[1],
            tls=peer and peer.version,
            reason=reason,
        )


def _judged(route: Route, msg: str, remote: str, identity: Identity | None, decision: Decision) -> None:
    emit(
        WARN,
        msg,
        peer_cn=identity and identity.cn,
        peer_org=(identity and ",".join(identity.orgs)) or None,
        peer_uri=identity and identity.uri,
        peer_sha256=identity and identity.fingerprint,
        rule=decision.rule,
        remote=remote,
        tunnel=route.name or None,
    )
