"""The live sessions of one tunnel: counted, shown, judged again after a reload, cut when it must be.

A session is here from its accept to its end; the registry outlives reloads and listeners.  What a fault leads to
(close, log, nothing) is read from the ACL that is current then.  Judging goes in slices of a few milliseconds, so
that traffic goes on between them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from mtls_tunnel.config.schema import Acl
from mtls_tunnel.flow.guide import Way
from mtls_tunnel.observe.logs import ERROR, WARN, emit
from mtls_tunnel.tls.engine import Peer

SLICE_SECONDS = 0.004
Action = Literal["close", "log", "off"]
Verdict = tuple[str, str]  # reason, rule
Judge = Callable[[Peer], Verdict | None]
WayJudge = Callable[[Way], Verdict | None]


class Live(Protocol):
    """What a registry knows of a session."""

    remote: str
    way: Way | None

    def peers(self) -> Iterable[Peer]:
        """Those who have proved who they are, inbound first."""
        ...

    def moved(self) -> tuple[int, int]:
        """Bytes client to target, target to client."""
        ...

    def describe(self) -> dict[str, Any]: ...

    def cut(self, reason: str) -> None:
        """End it at once."""
        ...

    def mention(self, reason: str) -> bool:
        """Note that *reason* is being logged; False if it was already the last time."""
        ...


def action_for(reason: str, acl: Acl) -> Action:
    """What the ACL says about a live session that would be refused today."""
    if reason == "expired":
        return acl.on_expiry
    if reason == "ca_removed" and acl.reauthorize == "close":
        return acl.on_ca_removed
    return acl.reauthorize


class Registry:
    """One per tunnel.  Belongs to the loop's thread."""

    def __init__(self, name: str, *, acl: Callable[[], Acl], clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._acl = acl
        self._clock = clock
        self._live: dict[Live, None] = {}  # a set that keeps the order of arrival
        self._empty: asyncio.Event | None = None
        self._left: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._live)

    def add(self, session: Live) -> None:
        """A connection was accepted."""
        self._live[session] = None

    def remove(self, session: Live) -> None:
        """A session is over; a listener that waits for a slot is told."""
        if self._live.pop(session, self) is self:
            return
        for tell in self._left:
            tell()
        if self._empty is not None and not self._live:
            self._empty.set()

    def on_leave(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call *tell* each time a session has ended, until the returned function is called."""
        self._left.append(tell)
        return lambda: self._left.remove(tell)

    def totals(self) -> tuple[int, int, int]:
        """(sessions, bytes client to target, bytes target to client) of those that are live."""
        into = out = 0
        for session in self._live:
            up, down = session.moved()
            into += up
            out += down
        return len(self._live), into, out

    def snapshot(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The oldest *limit* sessions, for people."""
        shown: list[dict[str, Any]] = []
        for session in self._live:
            if len(shown) >= limit:
                break
            shown.append({"tunnel": self.name, **session.describe()})
        return shown

    async def drained(self) -> None:
        """Wait until no session is live."""
        while self._live:
            if self._empty is None or self._empty.is_set():
                self._empty = asyncio.Event()  # one for all who wait
            await self._empty.wait()

    def cut(self, reason: str = "drain") -> int:
        """End all sessions at once and return how many there were."""
        sessions = list(self._live)
        for session in sessions:
            session.cut(reason)
        return len(sessions)

    async def rejudge(self, judge: Judge) -> dict[str, int]:
        """Ask *judge* about everybody who is connected; returns how many would no longer be let in, by reason."""
        found: Counter[str] = Counter()
        await self._each(lambda session: self._judge(session, judge, found))
        return dict(found)

    def ways(self) -> Iterable[Way]:
        """The ways that are in use."""
        return [session.way for session in self._live if session.way is not None]

    async def recall(self, judge: WayJudge) -> int:
        """Ask *judge* about every way that is in use; returns how many would not be allowed again."""
        found = 0

        def one(session: Live) -> None:
            nonlocal found
            verdict = None if session.way is None else judge(session.way)
            if verdict is not None:
                found += 1
                self.sentence(session, next(iter(session.peers())), verdict)

        await self._each(one)
        return found

    async def _each(self, look: Callable[[Live], None]) -> None:
        until = self._clock() + SLICE_SECONDS
        for session in list(self._live):
            if session in self._live:
                look(session)
            if self._clock() >= until:
                await asyncio.sleep(0)
                until = self._clock() + SLICE_SECONDS

    def sentence(self, session: Live, peer: Peer, verdict: Verdict) -> None:
        """Close or mention *session*, whose *peer* would be refused today."""
        reason, rule = verdict
        action = action_for(reason, self._acl())
        if action == "off":
            return
        if action == "close":
            self._say("session closed: no longer authorized", session, peer, reason, rule)
            session.cut("expired" if reason == "expired" else "reauthorized")
        elif session.mention(reason):
            self._say("session kept: no longer authorized", session, peer, reason, rule)

    def _judge(self, session: Live, judge: Judge, found: Counter[str]) -> None:
        try:
            worst = self._worst(session, judge)
        except Exception as error:  # a peer that cannot be judged is not let in, and keeps nobody else from it
            text = f"{type(error).__name__}: {error}"
            emit(ERROR, "session closed: cannot be judged", remote=session.remote, error=text, tunnel=self.name or None)
            return session.cut("reauthorized")
        if worst is None:
            return None
        found[worst[1][0]] += 1
        return self.sentence(session, *worst)

    def _worst(self, session: Live, judge: Judge) -> tuple[Peer, Verdict] | None:
        """Of both legs the one that is to be closed, before one that is only to be mentioned."""
        acl = self._acl()
        verdicts = [(peer, verdict) for peer in session.peers() if (verdict := judge(peer)) is not None]
        return min(verdicts, key=lambda one: action_for(one[1][0], acl) != "close", default=None)

    def _say(self, msg: str, session: Live, peer: Peer, reason: str, rule: str) -> None:
        identity = peer.identity
        emit(
            WARN,
            msg,
            peer_cn=identity and identity.cn,
            remote=session.remote,
            reason=reason,
            rule=rule or None,
            peer_uri=identity and identity.uri,
            tunnel=self.name or None,
        )
