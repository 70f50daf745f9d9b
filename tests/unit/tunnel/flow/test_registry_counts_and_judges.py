"""The registry over fake sessions: totals, slots, draining, slices; what each fault leads to."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from mtls_tunnel.config.schema import Acl, Address
from mtls_tunnel.errors import UpstreamError
from mtls_tunnel.flow.guide import Way
from mtls_tunnel.flow.registry import Registry, action_for
from mtls_tunnel.tls.engine import Peer
from support.clock import Clock

PEER = Peer(None, (), "inbound", "TLSv1.3")


class FakeSession:
    def __init__(self, registry: Registry, up: int = 0, down: int = 0) -> None:
        self.remote = "192.0.2.1:4711"
        self.registry = registry
        self.bytes = up, down
        self.cuts: list[str] = []
        self.mentioned: set[str] = set()
        self.way: Way | None = None
        registry.add(self)

    def peers(self) -> Iterable[Peer]:
        return [PEER]

    def moved(self) -> tuple[int, int]:
        return self.bytes

    def describe(self) -> dict[str, Any]:
        return {"remote": self.remote, "bytes_in": self.bytes[0]}

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)
        self.registry.remove(self)

    def mention(self, reason: str) -> bool:
        fresh = reason not in self.mentioned
        self.mentioned.add(reason)
        return fresh


def make(acl: Acl = Acl(), clock: Clock | None = None) -> Registry:  # noqa: B008  # frozen
    return Registry("web", acl=lambda: acl, clock=clock or Clock())


def test_totals_are_those_of_the_live() -> None:
    registry = make()
    FakeSession(registry, 1, 2)
    gone = FakeSession(registry, 10, 20)
    assert registry.totals() == (2, 11, 22)
    registry.remove(gone)
    registry.remove(gone)
    assert registry.totals() == (1, 1, 2)


def test_a_snapshot_names_the_tunnel_and_is_bounded() -> None:
    registry = make()
    for number in range(5):
        FakeSession(registry, number)
    assert registry.snapshot(limit=2) == [
        {"tunnel": "web", "remote": "192.0.2.1:4711", "bytes_in": 0},
        {"tunnel": "web", "remote": "192.0.2.1:4711", "bytes_in": 1},
    ]


def test_each_leave_is_told_once() -> None:
    registry, told = make(), []
    forget = registry.on_leave(lambda: told.append(len(registry)))
    first, second = FakeSession(registry), FakeSession(registry)
    registry.remove(first)
    registry.remove(first)
    forget()
    registry.remove(second)
    assert told == [1]


def test_drained_waits_for_the_last_and_cut_ends_all() -> None:
    async def story() -> None:
        registry = make()
        FakeSession(registry)
        FakeSession(registry)
        waiting = asyncio.ensure_future(registry.drained())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert registry.cut() == 2
        await waiting
        await registry.drained()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("reason", "acl", "action"),
    [
        ("denied", Acl(), "close"),
        ("revoked", Acl(reauthorize="log"), "log"),
        ("revoked", Acl(reauthorize="off"), "off"),
        ("expired", Acl(), "log"),
        ("expired", Acl(on_expiry="close", reauthorize="off"), "close"),
        ("ca_removed", Acl(), "close"),
        ("ca_removed", Acl(on_ca_removed="log"), "log"),
        ("ca_removed", Acl(on_ca_removed="close", reauthorize="log"), "log"),
    ],
)
def test_what_follows_from_a_fault_is_what_the_acl_says(reason: str, acl: Acl, action: str) -> None:
    assert action_for(reason, acl) == action


def test_the_loop_gets_its_turn_after_each_slice() -> None:
    clock = Clock()
    registry = make(clock=clock)
    for _ in range(10):
        FakeSession(registry)
    turns = 0

    def judge(_: Peer) -> None:
        clock.advance(0.003)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def story() -> dict[str, int]:
        counting = asyncio.ensure_future(count())
        found = await registry.rejudge(judge)
        counting.cancel()
        return found

    assert asyncio.run(story()) == {}
    assert turns >= 5


def test_a_session_that_ended_meanwhile_is_not_judged() -> None:
    registry = make()
    sessions = [FakeSession(registry) for _ in range(3)]

    def judge(_: Peer) -> tuple[str, str]:
        registry.remove(sessions[2])
        return "denied", "deny_cn"

    assert asyncio.run(registry.rejudge(judge)) == {"denied": 2}
    assert [one.cuts for one in sessions] == [["reauthorized"], ["reauthorized"], []]


async def nowhere() -> socket.socket:
    raise UpstreamError("dial_failed", "there is nobody")


def test_only_those_whose_way_is_no_longer_allowed_are_recalled() -> None:
    registry = make()
    kept, ended, elsewhere = (FakeSession(registry) for _ in range(3))
    kept.way = Way(Address("kept", 1), nowhere, "kept")
    ended.way = Way(Address("ended", 1), nowhere, "ended")

    found = asyncio.run(registry.recall(lambda way: ("denied", "not_allowed") if way.why == "ended" else None))

    assert found == 1
    assert [one.cuts for one in (kept, ended, elsewhere)] == [[], ["reauthorized"], []]
