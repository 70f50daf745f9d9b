"""Lookups share, are given up one by one, and keep nobody waiting: not the loop's own threads, and not the end."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import UpstreamError
from mtls_tunnel.upstream import lookup
from mtls_tunnel.upstream.dial import dial

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class Resolver:
    """Answers when `release` is set; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        self.release.wait()
        return ANSWER


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.release.set()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a thread tells no event
        await asyncio.sleep(0)


def test_those_who_ask_for_one_name_share_a_lookup_and_giving_up_leaves_it_to_the_rest(slow: Resolver) -> None:
    async def story() -> list[Any]:
        waiting = [asyncio.create_task(lookup.look_up(Address("db", 80))) for _ in range(20)]
        await until(lambda: slow.asked == ["db"])
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        slow.release.set()
        return await asyncio.gather(*waiting[1:])

    assert asyncio.run(story()) == [ANSWER] * 19
    assert slow.asked == ["db"]


def test_the_next_dial_asks_anew(slow: Resolver) -> None:
    slow.release.set()

    async def story() -> None:
        await lookup.look_up(Address("db", 80))
        await asyncio.sleep(0)
        await lookup.look_up(Address("db", 80))

    asyncio.run(story())
    assert slow.asked == ["db", "db"]


def test_a_resolver_that_hangs_holds_up_neither_threads_nor_the_end(slow: Resolver) -> None:
    async def story() -> str:
        for number in range(lookup.MAX_LOOKUPS):
            asyncio.create_task(lookup.look_up(Address(f"host-{number}", 80)))  # noqa: RUF006 - cancelled at the end
        late = asyncio.create_task(lookup.look_up(Address("one-more", 80)))
        await until(lambda: len(slow.asked) == lookup.MAX_LOOKUPS)
        said = await asyncio.to_thread(lambda: "a thread is free")
        assert not late.done()
        return said

    assert asyncio.run(story()) == "a thread is free"
    assert "one-more" not in slow.asked


def test_a_further_name_waits_for_its_turn(slow: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MAX_LOOKUPS", 1)

    async def story() -> list[Any]:
        both = [asyncio.create_task(lookup.look_up(Address(host, 80))) for host in ("a", "b")]
        await until(lambda: slow.asked == ["a"])
        slow.release.set()
        return await asyncio.gather(*both)

    assert asyncio.run(story()) == [ANSWER, ANSWER]
    assert slow.asked == ["a", "b"]


@pytest.mark.parametrize("host", ["no-such-name.invalid", "x" * 64 + ".example"])
def test_a_name_that_does_not_resolve_is_a_failed_dial(host: str) -> None:
    with pytest.raises(UpstreamError, match="the name does not resolve"):
        asyncio.run(dial(Address(host, 80), timeout=20))


def test_an_address_with_its_interface_is_dialled_through_it() -> None:
    """The loopback has a link-local scope as well: nobody listens, and that is what is said."""
    with pytest.raises(UpstreamError) as caught:
        asyncio.run(dial(Address("fe80::1%lo", 9), timeout=5))
    assert "invalid argument" not in str(caught.value)
