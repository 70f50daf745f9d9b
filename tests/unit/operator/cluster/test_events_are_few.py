"""Events: one for a transition, counted when it repeats, never a flood, never waited for."""

import asyncio
from typing import Any

from mtls_tunnel_operator.cluster.events import BURST, LONGEST_MESSAGE, SAME_SECONDS, WAITING, Events
from mtls_tunnel_operator.model.kinds import Ref
from support.clock import Clock, settle
from support.kube_api import MemoryApi, Trouble, cluster
from support.kube_store import Store

DB = Ref("mtlstunnels", "shop", "orders-db")
DOMAIN = Ref("mtlstrustdomains", "", "default")


def events_of(store: Store, clock: Clock | None = None, api: MemoryApi | None = None) -> Events:
    return Events(api or MemoryApi(store), "operator-1", now=clock or Clock())


def posted(store: Store, space: str = "shop") -> list[tuple[str, str, int]]:
    return [(one["reason"], one["message"], one["count"]) for one in store.of("events", space)]


def test_an_event_names_the_object_the_reason_and_who_says_it() -> None:
    store = cluster("shop")
    events = events_of(store)
    events.post(DB, "Normal", "Issued", "two certificates", uid="u1")
    asyncio.run(events.drain())
    (event,) = store.of("events")
    assert event["involvedObject"] == {
        "apiVersion": "mtlstunnel.dev/v1alpha1",
        "kind": "MtlsTunnel",
        "namespace": "shop",
        "name": "orders-db",
        "uid": "u1",
    }
    assert (event["type"], event["source"]) == ("Normal", {"component": "mtls-tunnel-operator"})
    assert event["lastTimestamp"] == "2026-11-21T12:00:00Z"


def test_events_about_the_cluster_stand_in_default() -> None:
    store = cluster()
    events = events_of(store)
    events.post(DOMAIN, "Warning", "CAExpired", "renew it")
    asyncio.run(events.drain())
    assert posted(store, "default") == [("CAExpired", "renew it", 1)]


def test_the_same_again_is_counted_and_after_a_while_said_anew() -> None:
    store, clock = cluster("shop"), Clock()
    events = events_of(store, clock)

    async def story() -> None:
        for seconds in (0, 60, 60, SAME_SECONDS + 1):
            clock.advance(seconds)
            events.post(DB, "Warning", "RenewalFailing", "no answer")
            await events.drain()

    asyncio.run(story())
    assert sorted(count for _, _, count in posted(store)) == [1, 3]


def test_one_object_cannot_make_a_flood_and_does_not_silence_others() -> None:
    store = cluster("shop")
    events = events_of(store)
    for number in range(200):
        events.post(DB, "Normal", "Changed", f"number {number}")
    events.post(Ref("mtlstunnels", "shop", "quiet"), "Normal", "Changed", "once")
    asyncio.run(events.drain())
    assert len(posted(store)) == BURST + 1
    assert events.dropped == 200 - BURST


def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    store = cluster("shop")
    events = events_of(store)
    events.post(DB, "Normal", "Long", "x" * 5000)
    asyncio.run(events.drain())
    assert len(posted(store)[0][1]) == LONGEST_MESSAGE


def test_what_cannot_be_posted_is_dropped_and_disturbs_nothing() -> None:
    store = cluster("shop")
    api = MemoryApi(store)
    events = events_of(store, api=api)
    for trouble in (Trouble(status=403), Trouble(status=422), Trouble(status=404)):
        api.trouble(trouble)
        events.post(DB, "Normal", "Lost", str(trouble.status))
    events.post(DB, "Normal", "Kept", "this one")
    asyncio.run(events.drain())
    assert posted(store) == [("Kept", "this one", 1)]


def test_an_event_that_expired_is_not_counted_on() -> None:
    store, clock = cluster("shop"), Clock()
    events = events_of(store, clock)

    async def story() -> None:
        for _ in range(3):
            events.post(DB, "Normal", "Same", "again")
            await events.drain()
            for each in store.of("events"):
                store.remove(Ref("events", "shop", each["metadata"]["name"]))

    asyncio.run(story())
    assert [one.verb for one in store.asked] == ["create", "patch", "create"]


def test_posting_never_waits_even_when_nothing_can_be_sent() -> None:
    events = events_of(cluster())
    for number in range(WAITING + 50):
        events.post(Ref("mtlstunnels", "shop", f"t{number}"), "Normal", "Any", "thing")
    assert events.dropped == 50


def test_without_the_lease_nothing_is_posted() -> None:
    store = cluster("shop")
    events = events_of(store, api=MemoryApi(store, may_write=lambda: False))
    events.post(DB, "Normal", "Any", "thing")
    asyncio.run(events.drain())
    assert store.asked == []


def test_events_that_wait_are_sent_by_the_task() -> None:
    store = cluster("shop")

    async def story() -> list[Any]:
        events = events_of(store)
        task = asyncio.create_task(events.run())
        events.post(DB, "Normal", "Issued", "one")
        await settle()
        task.cancel()
        return posted(store)

    assert asyncio.run(story()) == [("Issued", "one", 1)]
