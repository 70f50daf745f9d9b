"""One connection as a story: handshake, identity, policy, dial, pump, close; in this order, each told once.

Nothing is dialled for a peer that has not proved itself and passed the policy, and in client mode not one byte is
read from the application before the server has.  The first half of the story is a coroutine that goes on where its
events happen; the pump needs none.  The session owns both sockets and closes them, whatever happens.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mtls_tunnel.config.schema import Address, Proxy
from mtls_tunnel.errors import PeerRejected, UpstreamError
from mtls_tunnel.flow import story
from mtls_tunnel.flow.greeting import UNRECOGNIZED_NAME, greet, refuse, same_name
from mtls_tunnel.flow.ground import Ground
from mtls_tunnel.flow.guide import Guide, Way
from mtls_tunnel.flow.handshake import farewell, shake
from mtls_tunnel.flow.overdue import overdue, run_out
from mtls_tunnel.flow.progress import progress
from mtls_tunnel.flow.pump import Pump, Side, Stream
from mtls_tunnel.flow.route import Route
from mtls_tunnel.flow.steps import Later, Steps
from mtls_tunnel.flow.stream import PlainStream, reset
from mtls_tunnel.flow.timers import NEVER
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.tls.engine import Engine, Peer
from mtls_tunnel.trust.policy import Decision


class Session:
    """From accept to close.  `start` begins the story; from the pump on it lives in the pump, wheel and registry."""

    __slots__ = (
        "_active_at",
        "_deadline",
        "_far",
        "_ground",
        "_inbound",
        "_mentioned",
        "_near",
        "_outbound",
        "_over",
        "_owed",
        "_proxy",
        "_pump",
        "_roles",
        "_route",
        "_seen",
        "_shaking",
        "_since",
        "_started",
        "_steps",
        "bucket",
        "remote",
        "way",
    )

    def __init__(self, sock: socket.socket, remote: str, route: Route, ground: Ground) -> None:
        """Takes over the accepted, non-blocking *sock*."""
        self._near = sock
        self._far: socket.socket | None = None
        self.remote = remote
        self._route = route
        self._ground = ground
        self._proxy: Proxy = route.proxy()
        self._pump: Pump | None = None
        self._inbound: Peer | None = None
        self._outbound: Peer | None = None
        self._roles: tuple[str, ...] = ()
        self._started = ground.clock()
        self._since = ground.wall()
        self._active_at = self._started
        self._seen = -1
        self._owed = 0
        self._mentioned = ""
        self._over = False
        self._steps: Steps | None = None
        self._shaking: Later | None = None
        self._deadline = NEVER
        self.bucket = 0
        self.way: Way | None = None

    # The registry's side

    def peers(self) -> Iterable[Peer]:
        return [peer for peer in (self._inbound, self._outbound) if peer is not None]

    def moved(self) -> tuple[int, int]:
        pump = self._pump
        return (0, 0) if pump is None else (pump.up.moved, pump.down.moved)

    def mention(self, reason: str) -> bool:
        if reason in self._mentioned:
            return False
        self._mentioned += f" {reason}"
        return True

    def describe(self) -> dict[str, Any]:
        """What `tunnel status` shows."""
        peer = self._inbound or self._outbound
        identity = None if peer is None else peer.identity
        up, down = self.moved()
        return {
            "remote": self.remote,
            "peer_cn": identity and identity.cn,
            "peer_uri": identity and identity.uri,
            "roles": list(self._roles),
            "since": self._since,
            "age_seconds": round(self._ground.clock() - self._started, 3),
            "bytes_in": up,
            "bytes_out": down,
            "tls": peer and peer.version,
            "state": self._state(),
        }

    def cut(self, reason: str) -> None:
        if self._pump is not None:
            self._pump.abort(reason)
        elif self._steps is not None:
            self._steps.cancel(reason)

    # The first half: a coroutine

    def start(self) -> None:
        """Begin; what has to be waited for goes on from the poll.  Never raises."""
        self._steps = Steps(self._run())
        self._steps.go()

    async def _run(self) -> None:
        try:
            if await self._prove_and_dial():
                return
        except asyncio.CancelledError as cancelled:
            self._end(str(cancelled.args[0]) if cancelled.args else "drain")
        except UpstreamError as error:
            self._route.meters.dial_failed()
            story.dial_failed(self._route, self._target(), self.remote, error)
            self._end("dial_failed")
        except OSError as error:
            self._end("reset", error)
        except Exception as error:  # a root: one connection's failure touches no other
            self._end("error", error)
        finally:
            self._steps = None

    async def _prove_and_dial(self) -> bool:
        near: Stream
        if self._route.server_context is None:
            near = PlainStream(self._near, self._ground.scratch)
        else:
            engine = self._route.server_context().engine(self._near)
            if not await self._admit(engine):
                return False
            near = engine
        self._far = await (self._route.dial() if self.way is None else self.way.dial())
        far: Stream
        if self._route.client_context is None:
            far = PlainStream(self._far, self._ground.scratch)
        else:
            outward = self._route.client_context().engine(self._far)
            if not await self._reach(outward):
                return False
            far = outward
        self._carry(near, far)
        return True

    async def _admit(self, engine: Engine) -> bool:
        """The inbound handshake and the policy; where it goes, if that is not the same for all."""
        assert self._route.server_context is not None
        guide = self._route.guide
        name = None if guide is None else await self._hear(guide)
        if guide is not None and name is None:
            return False
        peer = await self._shake(engine, self._near, self.remote, self._route.server_context)
        if peer is None:
            return False
        decision = self._ground.decisions.decide(self._route.policy(), peer.identity)
        self._decided(decision)
        if not decision.allowed:
            story.denied(self._route, self.remote, peer.identity, decision)
            await self._part(self._near)
            return False
        self._inbound = peer
        self._roles = decision.roles
        if decision.audit:
            story.audited(self._route, self.remote, peer.identity, decision)
        story.accepted(self._route, self.remote, peer.identity)
        return guide is None or await self._find(guide, name or "", engine)

    async def _hear(self, guide: Guide) -> str | None:
        """The name that the client asks for, read before a handshake is begun; None if there is no such name here."""
        try:
            with self._in_time(self._started) as over:
                hello = await greet(self._ground.poll, self._near, over)
        except PeerRejected as refusal:
            guide.unheard(self.remote, refusal)
            if refusal.reason != "bad_sni":
                self._route.meters.handshake_failed(refusal.reason)
                story.handshake_failed(self._route, self.remote, refusal, None)
                await self._part(self._near, speechless=True)
                return None
            name = None
        else:
            name = guide.hears(self.remote, hello.server_name)
        if name is None:
            refuse(self._near, UNRECOGNIZED_NAME)
            await self._part(self._near)
        return name

    async def _find(self, guide: Guide, name: str, engine: Engine) -> bool:
        """Ask where this peer may go under that name; the answer to a refusal is the same whatever its reason."""
        assert self._inbound is not None
        if same_name(engine, self._inbound, name):
            self.way = await guide.way(self.remote, self._inbound.identity, name)
        else:
            guide.unheard(self.remote, PeerRejected("bad_sni", "the server name has changed during the handshake"))
        if self.way is None:
            await self._part(self._near)
        return self.way is not None

    async def _reach(self, engine: Engine) -> bool:
        """The outbound handshake, in which the server's name and the ACL are judged."""
        assert self._far is not None
        assert self._route.client_context is not None
        server = str(self._route.target())
        peer = await self._shake(engine, self._far, server, self._route.client_context)
        decision = engine.decision
        if peer is None:
            return False
        if decision is not None:
            self._decided(decision)
            self._roles = decision.roles
            if decision.audit:
                story.audited(self._route, server, peer.identity, decision)
        self._outbound = peer
        story.connected(self._route, server)
        return True

    async def _shake(
        self,
        engine: Engine,
        sock: socket.socket,
        remote: str,
        context: Callable[[], ServerContext] | Callable[[], ClientContext],
    ) -> Peer | None:
        """A handshake on either leg under its deadline; None after it failed, was told and cleaned up."""
        began = self._ground.clock()
        begun_with = context()
        try:
            with self._in_time(began) as over:
                at_once = sock is self._far or self._route.guide is not None
                await shake(self._ground.poll, sock.fileno(), engine, over, at_once=at_once)
            if context() is not begun_with:
                engine.confirm(context())
        except PeerRejected as refusal:
            if refusal.reason == "denied" and engine.decision is not None:
                self._decided(engine.decision)
                story.denied(self._route, remote, engine.refused(), engine.decision)
            else:
                self._route.meters.handshake_failed(refusal.reason)
                story.handshake_failed(self._route, remote, refusal, engine.presented())
            await self._part(sock, speechless=refusal.reason in ("closed", "timeout"))
            return None
        self._route.meters.handshake(self._ground.clock() - began)
        return engine.peer

    @contextmanager
    def _in_time(self, began: float) -> Iterator[Later]:
        """What ends the waiting inside when the handshake's deadline has come."""
        over = self._shaking = Later()
        self._deadline = began + (self._proxy.handshake_timeout_seconds or NEVER)
        self._ground.wheel.add(self, self._deadline)
        try:
            yield over
        finally:
            self._ground.wheel.remove(self)
            self._shaking = None

    def _target(self) -> Address:
        return self._route.target() if self.way is None else self.way.target

    def _decided(self, decision: Decision) -> None:
        if decision.audit:
            self._route.meters.decided("audit_deny")
        else:
            self._route.meters.decided("allow" if decision.allowed else "deny")

    # The second half: the pump and the wheel

    def _carry(self, near: Stream, far: Stream) -> None:
        assert self._far is not None
        ground = self._ground
        self._pump = Pump(
            ground.poll,
            Side(self._near, near),
            Side(self._far, far),
            self._pumped,
            strict=self._route.require_close_notify(),
        )
        self._pump.start()
        self._active_at = ground.clock()
        ground.wheel.add(self, self.look(self._active_at))

    def look(self, now: float) -> float:
        """Called by the wheel: cut what is overdue, else say when to look again."""
        pump = self._pump
        if self._shaking is not None:
            return self._look_at_handshake(now)
        if pump is not None:
            pump.urge()  # which may be the end of it
        if self._over or pump is None:
            return NEVER
        seen, owed = progress(pump, self._seen, self._owed)
        if seen != self._seen or owed != self._owed:
            self._seen, self._owed, self._active_at = seen, owed, now
        reason, next_look = overdue(pump, self._proxy, self._started, self._active_at, now)
        if reason:
            pump.abort(reason)
            return NEVER
        return min(next_look, self._look_at_dates(now))

    def _look_at_handshake(self, now: float) -> float:
        if now < self._deadline or self._shaking is None:
            return self._deadline
        seconds = self._proxy.handshake_timeout_seconds
        self._shaking.finish(PeerRejected("timeout", f"the handshake was not over within {seconds:g} s"))
        return NEVER

    def _look_at_dates(self, now: float) -> float:
        """When the first certificate of a live peer expires; the registry decides what that means."""
        expired, seconds = run_out(self.peers(), self._ground.wall())
        for peer in expired:
            self._route.registry.sentence(self, peer, ("expired", ""))
            if self._over:
                return NEVER
        return now + seconds

    def _pumped(self, reason: str, error: BaseException | None) -> None:
        """The pump is over and has closed both sockets."""
        self._ground.wheel.remove(self)
        pump = self._pump
        assert pump is not None
        by_server = self._outbound is not None and pump.broke is pump.far.stream and not pump.down.moved
        if by_server and isinstance(error, ConnectionAbortedError):
            # In TLS 1.3 a server judges our certificate after our handshake is over.
            refusal = PeerRejected("other", f"the server broke off after the handshake: {error.strerror}")
            self._route.meters.handshake_failed("other")
            story.handshake_failed(self._route, str(self._route.target()), refusal, None)
            error = None
        self._close(reason, error)
        self._pump = None

    def _end(self, reason: str, error: BaseException | None = None) -> None:
        """End it before there was a pump."""
        if self._over:
            return
        self._ground.poll.forget(self._near.fileno())
        reset(self._near)
        if self._far is not None:
            self._ground.poll.forget(self._far.fileno())
            reset(self._far)
        self._close(reason, error)

    async def _part(self, refused: socket.socket, *, speechless: bool = False) -> None:
        """After a refusal: let the alert arrive, then close; whoever waits on the other side sees a reset."""
        if refused is not self._near:
            reset(self._near)
        try:
            if not speechless:
                await farewell(self._ground.poll, refused)
        finally:
            refused.close()
            self._gone()

    def _gone(self) -> None:
        self._over = True
        self._route.registry.remove(self)

    def _close(self, reason: str, error: BaseException | None) -> None:
        self._over = True
        up, down = self.moved()
        seconds = self._ground.clock() - self._started
        self._route.meters.closed(reason, seconds, up, down)
        self._route.registry.remove(self)
        if reason == "error" and error is not None:
            story.broke(self._route, self.remote, error)
        peer = self._inbound or self._outbound
        story.closed(self._route, self.remote, peer, self._roles, seconds, (up, down), reason)

    def _state(self) -> str:
        if self._pump is None:
            return "handshake"
        return "half-closed" if self._pump.halfway else "open"
