"""One tunnel while it serves: what is current, its listener, its live sessions.

A lane outlives reloads: `take` swaps one reference, and everything else asks for the current state
when it needs it.  Sessions that are under way keep what they started with, but are re-judged.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from mtls_tunnel.app.generation import Prepared
from mtls_tunnel.app.routing import guide_for, open_store
from mtls_tunnel.config.schema import Acl, Address, Config, Proxy, Tunnel
from mtls_tunnel.flow.listener import Listener, Offers
from mtls_tunnel.flow.registry import Registry
from mtls_tunnel.flow.route import Route
from mtls_tunnel.observe.metrics import TunnelMeters
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.tls.engine import Peer
from mtls_tunnel.trust.judge import Fault, Judge, sentence
from mtls_tunnel.trust.judge import Peer as Known
from mtls_tunnel.trust.policy import Policy
from mtls_tunnel.upstream.dial import dial

if TYPE_CHECKING:
    from mtls_tunnel.router.store import Store


class Lane:
    """Owns its listener and, through the registry, its sessions.  `stop` and `drain` end both."""

    def __init__(self, prepared: Prepared, config: Config, meters: TunnelMeters, now: Callable[[], float]) -> None:
        """Raises ConfigError where a router's store cannot be used."""
        self.name = prepared.tunnel.name
        self.current = prepared
        self._config = config
        self._now = now
        self.registry = Registry(self.name, acl=lambda: self.current.tunnel.acl)
        self.meters = meters
        self._forget = self.meters.watch_live(self.registry.totals)
        self._listener: Listener | None = None
        self._asked: Address | None = None
        self._pending: tuple[Address, Listener] | None = None
        self._next_store: Store | None = None
        tunnel = prepared.tunnel
        self._guide = None if tunnel.router is None else guide_for(tunnel, self._tunnel, self.registry, meters)
        self._route = self._make_route()

    @property
    def listening(self) -> bool:
        """Whether new connections are being accepted."""
        return self._listener is not None

    @property
    def address(self) -> Address | None:
        """Where it accepts, with the port that the kernel picked; None while it does not."""
        return self._listener.address if self._listener is not None else None

    @property
    def live(self) -> int:
        """How many sessions are under way."""
        return len(self.registry)

    def can_take(self, prepared: Prepared) -> bool:
        """Whether *prepared* is the same tunnel in a newer state, and not another one of the same name."""
        return self.current.tunnel.mode == prepared.tunnel.mode

    @property
    def fault(self) -> str:
        """Why nobody can be served now although it listens, or ""."""
        return "" if self._guide is None else self._guide.fault

    def make_ready(self, prepared: Prepared) -> None:
        """Open what *prepared* needs beyond certificates, a router's store if it is another one, for `take`.

        Raises:
            ConfigError: it cannot be used; nothing changed.
        """
        mine, other = self.current.tunnel.router, prepared.tunnel.router
        if mine is not None and other is not None and mine.store != other.store:
            self._next_store = open_store(other)

    def offers(self, address: Address | None) -> Offers:
        """The sockets that it will close, if it goes on with *address*; None if it does not go on."""
        return {} if self._listener is None or address == self._asked else self._listener.offers()

    async def bind(self, address: Address, offers: Offers) -> None:
        """Bind *address* unless it is the one in use; it takes effect with `start`.  *offers* as in `Listener.bind`.

        Raises:
            ListenError: the address cannot be bound; nothing changed.
        """
        if address == self._asked:
            return
        listener = Listener(address, self._route)
        await listener.resolve()
        listener.bind(offers)
        self._pending = (address, listener)

    def give_back(self) -> None:
        """Give back what `make_ready` and `bind` took, and `take` and `start` have not used."""
        self._next_store = None
        if self._pending is not None:
            self._pending[1].stop()
            self._pending = None

    def start(self) -> bool:
        """Accept on what was bound last, and say whether there was any; the socket before it closes after that."""
        if self._pending is None:
            return False
        old = self._listener
        if old is None and self._guide is not None:
            self._guide.start()
        self._asked, self._listener = self._pending
        self._pending = None
        self._listener.start()
        if old is not None:
            old.stop()
        return True

    def take(self, prepared: Prepared, config: Config) -> None:
        """Serve new connections by *prepared* from now on."""
        self.current = prepared
        self._config = config
        if self._guide is not None and self._next_store is not None:
            self._guide.adopt(self._next_store)
            self._next_store = None

    async def rejudge(self) -> None:
        """Close or report the live sessions that the current state would no longer accept."""
        # Indexing a large CRL takes a while, and traffic goes on meanwhile.
        verdict = await asyncio.to_thread(self._verdict, self.current)
        await self.registry.rejudge(verdict)
        if self._guide is not None:
            await self._guide.recheck()

    def _verdict(self, current: Prepared) -> Callable[[Peer], tuple[str, str] | None]:
        tunnel = current.tunnel
        # In a bridge the ACL is about who comes in; the outbound server is judged by its names alone.
        outbound_policy = Policy.of(Acl(), ()) if tunnel.mode == "bridge" else current.policy
        judges = {
            leg: Judge(material, policy, crl_check=tls.crl_check)
            for leg, material, policy, tls in (
                ("inbound", current.inbound, current.policy, tunnel.tls),
                ("outbound", current.outbound, outbound_policy, tunnel.outbound or tunnel.tls),
            )
            if material is not None
        }
        for judge in judges.values():
            judge.warm()

        def verdict(peer: Peer) -> tuple[str, str] | None:
            faults = judges[peer.leg].faults(Known(peer.identity, peer.chain), self._now())
            worst = sentence((*faults, *_demanded(tunnel, peer)), tunnel.acl)
            return None if worst is None else (worst.fault.reason, worst.fault.rule)

        return verdict

    def stop(self) -> None:
        """Stop accepting.  Live sessions go on, and are still judged when their access is withdrawn."""
        self.give_back()
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
            self._asked = None

    def retire(self) -> None:
        """Its last session is over and it will not serve again: its figures are final."""
        self._forget()

    async def close(self) -> None:
        """Its last session is over: give back what it holds beside them.  May be called again."""
        if self._guide is not None:
            await self._guide.stop()

    async def drain(self) -> int:
        """Wait for the live sessions, at most `shutdown_timeout`; returns how many had to be cut then."""
        try:
            async with asyncio.timeout(self._proxy().shutdown_timeout_seconds or None):
                await self.registry.drained()
        except TimeoutError:
            return self.registry.cut("drain")
        return 0

    def _tunnel(self) -> Tunnel:
        return self.current.tunnel

    def _proxy(self) -> Proxy:
        return self.current.tunnel.proxy

    def _make_route(self) -> Route:
        mode = self.current.tunnel.mode
        return Route(
            name=self.name,
            mode=mode,
            target=lambda: self.current.tunnel.target,
            registry=self.registry,
            meters=self.meters,
            dial=self._dial,
            proxy=self._proxy,
            access=lambda: self._config.logging.access,
            policy=lambda: self.current.policy,
            server_context=self._server_context if mode != "client" else None,
            client_context=self._client_context if mode in ("client", "bridge") else None,
            require_close_notify=lambda: self.current.tunnel.tls.require_close_notify,
            guide=self._guide,
        )

    async def _dial(self) -> socket.socket:
        return await dial(self.current.tunnel.target, timeout=self._proxy().dial_timeout_seconds)

    def _server_context(self) -> ServerContext:
        assert self.current.server_context is not None
        return self.current.server_context

    def _client_context(self) -> ClientContext:
        assert self.current.client_context is not None
        return self.current.client_context


def _demanded(tunnel: Tunnel, peer: Peer) -> tuple[Fault, ...]:
    """What else is held against a live peer: that a certificate is required now, and it has shown none."""
    missing = peer.leg == "inbound" and peer.identity is None and tunnel.tls.client_auth == "required"
    return (Fault("denied", "client_auth"),) if missing else ()
