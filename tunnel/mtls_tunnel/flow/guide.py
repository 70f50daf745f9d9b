"""Who says where each connection goes, where there is not one target for all of a tunnel: the door of the router."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.trust.identity import Identity


@dataclass(frozen=True, slots=True)
class Way:
    """Where one connection goes, and `why` it may: what its guide will want to know when it judges it again."""

    target: Address
    dial: Callable[[], Awaitable[socket.socket]]  # raises UpstreamError
    why: Any


class Guide(Protocol):
    """Leads each connection by the name it asks for, where there is not one target for all.

    Refusals are logged and counted here, under their reasons; outside they all look the same.
    """

    def hears(self, remote: str, server_name: str | None) -> str | None:
        """The *server_name* of a ClientHello (lower case, no dot at its end) if it is one of ours, else None."""
        ...

    def unheard(self, remote: str, refusal: PeerRejected) -> None:
        """There was no ClientHello, or none with a name that can be read: no_sni does not come here, bad_sni does."""
        ...

    async def way(self, remote: str, identity: Identity | None, server_name: str) -> Way | None:
        """Where a peer that has proved itself goes, or None: refused.

        Runs inside `flow.steps.Steps`: what needs a task must be one that is awaited.
        """
        ...
