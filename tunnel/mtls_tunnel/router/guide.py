"""What a session of a router asks: is this one of our names, and where may this peer go.

A question that the cache can answer is answered without a wait.  Others are looked up once, however many
connections ask at the same time.  Refusals are told here, in one line each, and are the same outside: the reason
stays in the log and in a metric.  Live sessions are judged again when a row that they depend on has changed, and,
where the store tells of no changes, each time their answer has expired.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from mtls_tunnel.config.schema import Address, Router
from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.flow.guide import Way
from mtls_tunnel.flow.registry import Registry, Verdict
from mtls_tunnel.observe.logs import DEBUG, ERROR, INFO, WARN, emit
from mtls_tunnel.observe.router_meters import RouterMeters
from mtls_tunnel.router.cache import Cache, Change, Question, may_concern
from mtls_tunnel.router.decision import Claim, Refused, address_of, claim_of, connect_id_of, decide
from mtls_tunnel.router.rows import Found
from mtls_tunnel.router.store import Store, StoreError
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.upstream.dial import dial

MOST_TRIES = 3  # of a lookup during which a row has changed
SHORTEST_SWEEP_SECONDS = 0.5
JUDGED_AT_ONCE = 8  # lookups for live sessions, beside those for new ones


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the guide of one tunnel is given; the callables are asked late, so that a reload counts at once."""

    name: str
    router: Callable[[], Router]
    dial_timeout: Callable[[], float]
    registry: Registry
    meters: RouterMeters
    clock: Callable[[], float] = time.monotonic


class Guide:
    """A `flow.guide.Guide` over a store, which it starts and stops."""

    def __init__(self, store: Store, surroundings: Surroundings) -> None:
        self._store = store
        self._of = surroundings
        self._cache = Cache(seconds=0, stale_seconds=0)
        self._sweep_seconds = SHORTEST_SWEEP_SECONDS
        self._settle()
        self._under_way: dict[Question, asyncio.Task[Found]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._touched: set[Question] | None = set()  # None: all

    # The session's side

    def hears(self, remote: str, server_name: str | None) -> str | None:
        try:
            connect_id_of(server_name, self._of.router().domain)
        except Refused as refused:
            self._refuse(remote, None, refused, server_name)
            return None
        return server_name

    def unheard(self, remote: str, refusal: PeerRejected) -> None:
        if refusal.reason == "bad_sni":
            self._refuse(remote, None, Refused("bad_sni", refusal.detail), None)

    async def way(self, remote: str, identity: Identity | None, server_name: str) -> Way | None:
        router = self._of.router()
        claim: Claim | None = None
        try:
            claim = claim_of(identity, router.issuer, connect_id_of(server_name, router.domain))
            self._tell(DEBUG, "router: user authenticated", claim, remote=remote)
            found, how = await self._found(_question(claim))
            target = address_of(decide(claim, found), router.default_port)
        except Refused as refused:
            self._refuse(remote, claim, refused, server_name)
            return None
        self._tell(INFO, "router: routed", claim, backend_addr=str(target), cached=how, remote=remote)
        return Way(target, lambda: self._dial(target), claim)

    @property
    def fault(self) -> str:
        """Why nobody can be led anywhere, or ""."""
        fault = self._store.fault
        return "" if not fault or self._cache.may_serve(self._of.clock()) else f"the store is away: {fault}"

    # The owner's side

    def start(self) -> None:
        """Begin to follow the store, in the running loop."""
        self._store.start(self._change, self._lost)
        self._note_state()
        self._do(self._judge_changes())
        self._do(self._sweep())

    def adopt(self, store: Store) -> None:
        """Ask *store* from now on; live sessions are judged by it as soon as it answers."""
        old, self._store = self._store, store
        self._settle()
        self._change(None)
        store.start(self._change, self._lost)
        self._do(old.stop())

    async def stop(self) -> None:
        """End the store and everything that is under way."""
        tasks = [*self._chores, *self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._chores.clear()
        await self._store.stop()

    async def recheck(self) -> None:
        """Judge every live session again: the configuration has changed."""
        await self._judge(None)

    def _settle(self) -> None:
        told = self._of.router().store
        self._cache.keep_for(told.cache_seconds, told.stale_seconds)
        self._sweep_seconds = max(told.cache_seconds, SHORTEST_SWEEP_SECONDS)

    def _do(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # Answers

    async def _found(self, question: Question) -> tuple[Found, bool]:
        answer = self._cache.answer(question, self._of.clock())
        if answer is not None and answer.fresh:
            self._of.meters.cached("hit")
            return answer.found, True
        try:
            found = await self._looked_up(question)
        except StoreError as error:
            answer = self._cache.answer(question, self._of.clock())
            if answer is None:
                self._of.meters.cached("miss")
                raise Refused("store_unavailable", str(error)) from error
            self._of.meters.cached("stale")
            return answer.found, True
        self._of.meters.cached("miss")
        return found, False

    async def _looked_up(self, question: Question) -> Found:
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look_up(question))
            self._under_way[question] = task
            task.add_done_callback(lambda done: self._looked_up_at_last(question, done))
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled():
                raise StoreError("the router is being stopped") from None
            raise

    def _looked_up_at_last(self, question: Question, task: asyncio.Task[Found]) -> None:
        self._under_way.pop(question, None)
        if not task.cancelled():
            task.exception()  # known to those who wait; and if nobody does, nobody has to be told

    async def _look_up(self, question: Question) -> Found:
        """What the store says; again if a row has changed meanwhile, because it may have been read before that."""
        meters, clock = self._of.meters, self._of.clock
        for _ in range(MOST_TRIES):
            lookup, began = self._cache.begin(question), clock()
            try:
                found = await self._store.find(question)
            finally:
                self._cache.give_up(lookup)
                meters.looked_up(clock() - began)
            if self._cache.keep(lookup, found, clock()):
                return found
        raise StoreError("its rows change faster than they can be read")

    # Changes

    def _change(self, change: Change | None) -> None:
        self._note_state()
        if change is None:
            self._cache.flush()
            self._touched = None
        else:
            hit = self._cache.forget(change)
            if self._touched is not None:
                self._touched |= hit | self._live(change)
        self._changed.set()

    def _lost(self) -> None:
        """Changes may go by unseen from now on: what is kept may serve only as long as nothing newer can be had."""
        self._note_state()
        self._cache.expire(self._of.clock())

    def _note_state(self) -> None:
        self._of.meters.store_up = 0 if self._store.fault else 1

    def _live(self, change: Change) -> set[Question]:
        """The questions of live sessions that the row may concern, whether or not their answers were still kept."""
        asked = {Question(way.why.connect_id, way.why.user_id) for way in self._of.registry.ways()}
        return {question for question in asked if may_concern(change, question)}

    async def _judge_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            touched, self._touched = self._touched, set()
            await self._judge_anyhow(touched)

    async def _sweep(self) -> None:
        """Without notifications an expired answer is the moment to look again, for those who live by it."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            if not self._store.tells and not self._store.fault:
                await self._judge_anyhow(None)

    async def _judge_anyhow(self, questions: Iterable[Question] | None) -> None:
        try:
            await self._judge(questions)
        except Exception as error:  # a root: after what nobody foresaw the next change must still be heard of
            emit(ERROR, "router: live sessions could not be judged", error=f"{type(error).__name__}: {error}")

    async def _judge(self, questions: Iterable[Question] | None) -> None:
        wanted = None if questions is None else set(questions)
        claims = {way.why for way in self._of.registry.ways() if wanted is None or _question(way.why) in wanted}
        waiting = list(claims)
        while waiting:
            some, waiting = waiting[:JUDGED_AT_ONCE], waiting[JUDGED_AT_ONCE:]
            refusals = await asyncio.gather(*map(self._refusal, some))
            verdicts: dict[Claim, Verdict] = {
                claim: ("denied", refused.reason)
                for claim, refused in zip(some, refusals, strict=True)
                if refused is not None
            }
            if verdicts:
                await self._of.registry.recall(lambda way, found=verdicts: found.get(way.why))  # type: ignore[misc]

    async def _refusal(self, claim: Claim) -> Refused | None:
        if claim.issuer != self._of.router().issuer:
            return Refused("wrong_issuer", "the issuer is another one now")
        try:
            decide(claim, await self._looked_up(_question(claim)))
        except StoreError:
            return None  # nobody has withdrawn anything
        except Refused as refused:
            return refused
        return None

    # Words

    async def _dial(self, target: Address) -> socket.socket:
        return await dial(target, timeout=self._of.dial_timeout())

    def _refuse(self, remote: str, claim: Claim | None, refused: Refused, server_name: str | None) -> None:
        self._of.meters.refused(refused.reason)
        self._tell(
            WARN,
            "router: refused",
            claim,
            server_name=server_name if claim is None else None,
            remote=remote,
            reason=refused.reason,
            error=refused.detail,
        )

    def _tell(self, level: int, msg: str, claim: Claim | None, **attributes: object) -> None:
        emit(
            level,
            msg,
            user_id=claim and claim.user_id,
            org_id=claim and claim.org_id,
            connect_id=claim and claim.connect_id,
            tunnel=self._of.name or None,
            **attributes,
        )


def _question(claim: Claim) -> Question:
    return Question(claim.connect_id, claim.user_id)
