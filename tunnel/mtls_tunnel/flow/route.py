"""Where the connections of one tunnel go, and what is asked on the way.

Values that never change and callables that are asked late: at each accept, at each dial.  That is the whole hot
reload: whoever changes what the callables return has changed the tunnel.  The session owns nothing here.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mtls_tunnel.config.schema import Address, Mode, Proxy
from mtls_tunnel.flow.guide import Guide
from mtls_tunnel.flow.registry import Registry
from mtls_tunnel.observe.metrics import TunnelMeters
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.trust.policy import Policy


def _no() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Server and bridge have a `server_context`, client and bridge a `client_context`."""

    name: str  # "" for the only tunnel of a file without `tunnels:`
    mode: Mode
    target: Callable[[], Address]
    registry: Registry
    meters: TunnelMeters
    dial: Callable[[], Awaitable[socket.socket]]  # raises UpstreamError
    proxy: Callable[[], Proxy]
    access: Callable[[], str]  # all, denied or none: which connections are logged
    policy: Callable[[], Policy]  # server, bridge: judges who comes in
    server_context: Callable[[], ServerContext] | None = None
    client_context: Callable[[], ClientContext] | None = None
    require_close_notify: Callable[[], bool] = _no
    guide: Guide | None = None  # server mode only; then `target` and `dial` are not asked
