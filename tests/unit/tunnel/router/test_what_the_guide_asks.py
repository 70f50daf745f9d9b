"""The guide between a session and a store: one lookup for many, nothing outdated, and live sessions judged again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtls_tunnel.config import schema
from mtls_tunnel.flow.guide import Way
from mtls_tunnel.flow.registry import Registry
from mtls_tunnel.observe.router_meters import RouterMeters
from mtls_tunnel.router.cache import Change, Question
from mtls_tunnel.router.guide import Guide, Surroundings
from mtls_tunnel.router.rows import Found, Host, User
from mtls_tunnel.router.store import Changed, StoreError
from mtls_tunnel.tls.engine import Peer
from support.leaves import someone

NAME = "host-1.connect.tinyscale.com"
ALLOWED = Found((Host("host-1", "10.0.0.1:22", "o", frozenset({"u"})),), (), User("u", "o"))
WITHDRAWN = Found((Host("host-1", "10.0.0.1:22", "o"),), (), User("u", "o"))
PERSON = someone("person", uris=["spiffe://tinyscale.com/orgs/o/users/u"])


class FakeStore:
    """Answers when it is let go; what it says and whether it can is set from outside."""

    tells = True

    def __init__(self, found: Found = ALLOWED) -> None:
        self.found = found
        self.fault = ""
        self.asked = 0
        self.stopped = False
        self.during: Callable[[], None] = lambda: None
        self.changed: Changed = lambda change: None
        self.lost: Callable[[], None] = lambda: None

    def start(self, changed: Changed, lost: Callable[[], None]) -> None:
        self.changed, self.lost = changed, lost

    async def find(self, question: Question) -> Found:
        self.asked += 1
        await asyncio.sleep(0)
        found = self.found
        self.during()
        if self.fault:
            raise StoreError(self.fault)
        return found

    async def stop(self) -> None:
        self.stopped = True


@dataclass(eq=False)
class FakeSession:
    """A live session that notes why it was cut."""

    way: Way | None
    remote: str = "192.0.2.1:1"
    cuts: list[str] = field(default_factory=list)

    def peers(self) -> Iterable[Peer]:
        return [Peer(PERSON, (), "inbound", "TLSv1.3")]

    def moved(self) -> tuple[int, int]:
        return 0, 0

    def describe(self) -> dict[str, Any]:
        return {}

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)

    def mention(self, reason: str) -> bool:
        return True


class Stage:
    """A guide over a fake store, with a clock that is moved by hand."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.router = schema.Router()
        self.now = 100.0
        self.registry = Registry("", acl=schema.Acl)
        self.meters = RouterMeters()
        self.guide = Guide(
            self.store,
            Surroundings(
                name="",
                router=lambda: self.router,
                dial_timeout=lambda: 1.0,
                registry=self.registry,
                meters=self.meters,
                clock=lambda: self.now,
            ),
        )

    async def ask(self) -> Way | None:
        return await self.guide.way("192.0.2.1:1", PERSON, NAME)

    async def live(self) -> FakeSession:
        session = FakeSession(await self.ask())
        assert session.way is not None
        self.registry.add(session)
        return session

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def staged(story: Callable[[Stage], Awaitable[None]]) -> Stage:
    """Run *story* with a guide that is started and stopped around it."""
    stage = Stage()

    async def main() -> None:
        stage.guide.start()
        try:
            await story(stage)
        finally:
            await stage.guide.stop()

    asyncio.run(main())
    assert stage.store.stopped
    return stage


def test_equal_questions_at_once_are_one_lookup() -> None:
    async def story(stage: Stage) -> None:
        ways = await asyncio.gather(*(stage.ask() for _ in range(5)))
        assert [way and str(way.target) for way in ways] == ["10.0.0.1:22"] * 5

    stage = staged(story)
    assert stage.store.asked == 1
    assert stage.meters.cache == {"hit": 0, "miss": 5, "stale": 0}


def test_a_row_that_changes_during_the_lookup_is_read_again() -> None:
    async def story(stage: Stage) -> None:
        def withdraw() -> None:
            stage.store.during = lambda: None
            stage.store.found = WITHDRAWN
            stage.store.changed(Change("backend_hosts", "host-1"))

        stage.store.during = withdraw
        assert await stage.ask() is None

    stage = staged(story)
    assert stage.store.asked == 2
    assert stage.meters.authorization_failures["not_allowed"] == 1


def test_rows_that_change_all_the_time_refuse_rather_than_guess() -> None:
    async def story(stage: Stage) -> None:
        stage.store.during = lambda: stage.store.changed(Change("users", "u"))
        assert await stage.ask() is None

    assert staged(story).meters.authorization_failures["store_unavailable"] == 1


def test_with_the_store_away_an_answer_serves_until_it_is_stale() -> None:
    async def story(stage: Stage) -> None:
        assert await stage.ask() is not None
        stage.store.fault = "gone"
        stage.store.lost()
        assert (stage.meters.store_up, stage.guide.fault) == (0, "")
        stage.now += 59
        assert await stage.ask() is not None
        stage.now += 2
        assert await stage.ask() is None
        assert stage.guide.fault == "the store is away: gone"

    assert staged(story).meters.cache == {"hit": 0, "miss": 2, "stale": 1}


@pytest.mark.parametrize(
    "change", [Change("users", "u"), Change("backend_hosts", "HOST-1"), Change("teams", "any"), None], ids=str
)
def test_a_change_that_withdraws_cuts_the_live_session(change: Change | None) -> None:
    async def story(stage: Stage) -> None:
        session = await stage.live()
        stage.store.found = WITHDRAWN
        stage.store.changed(change)
        await stage.settle()
        assert session.cuts == ["reauthorized"]

    staged(story)


def test_a_change_elsewhere_asks_nothing() -> None:
    async def story(stage: Stage) -> None:
        session = await stage.live()
        stage.store.found = WITHDRAWN
        stage.store.changed(Change("users", "somebody else"))
        await stage.settle()
        assert (session.cuts, stage.store.asked) == ([], 1)

    staged(story)


def test_a_store_that_is_away_withdraws_nothing_but_another_issuer_does() -> None:
    async def story(stage: Stage) -> None:
        session = await stage.live()
        stage.store.fault = "gone"
        await stage.guide.recheck()
        assert session.cuts == []
        stage.router = schema.Router(issuer="example.org")
        await stage.guide.recheck()
        assert session.cuts == ["reauthorized"]

    staged(story)


def test_what_nobody_foresaw_in_one_change_does_not_stop_the_hearing_of_the_next() -> None:
    async def story(stage: Stage) -> None:
        session = await stage.live()

        def broken() -> None:
            raise RuntimeError("nobody foresaw this")

        stage.store.during = broken
        stage.store.changed(None)
        await stage.settle()
        assert session.cuts == []
        stage.store.during = lambda: None
        stage.store.found = WITHDRAWN
        stage.store.changed(None)
        await stage.settle()
        assert session.cuts == ["reauthorized"]

    staged(story)


def test_another_store_is_asked_at_once_and_the_one_before_is_ended() -> None:
    other = FakeStore(WITHDRAWN)

    async def story(stage: Stage) -> None:
        session = await stage.live()
        stage.guide.adopt(other)
        await stage.settle()
        assert session.cuts == ["reauthorized"]
        assert stage.store.stopped
        assert await stage.ask() is None

    staged(story)
    assert other.stopped
