"""`Watch` against a server that ends, cuts, forgets and hides: every change is told, every disappearance too."""

import asyncio
from collections.abc import Awaitable, Callable

from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.watch import Watch
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import FakeServer, Trouble, cluster
from support.kube_store import Object

Told = list[tuple[str, str]]


def config_map(name: str, space: str = "shop", **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": space, "name": name, "labels": labels}}


def ref(name: str) -> Ref:
    return Ref("configmaps", "shop", name)


def watching(
    story: Callable[[FakeServer, Watch, Callable[..., Awaitable[None]]], Awaitable[None]],
    *,
    namespace: str = "",
    labels: str = "",
    inactive: float = 30.0,
) -> Told:
    """Run *story* beside a watch of ConfigMaps; what was told.  The third argument waits until that was told."""

    async def main() -> Told:
        told: Told = []
        moved = asyncio.Condition()
        async with FakeServer(cluster("shop", "other"), bookmark_seconds=0.2) as server:
            server.store.put(config_map("first"))
            async with Api(server.connection()) as api:
                watch = Watch(api, "configmaps", namespace, labels, inactive_seconds=inactive, limit=2)

                async def follow() -> None:
                    async for event in watch:
                        async with moved:
                            told.append((event.type, event.raw.get("metadata", {}).get("name", "")))
                            moved.notify_all()

                async def until(*event: str) -> None:
                    async with asyncio.timeout(60), moved:
                        await moved.wait_for(lambda: tuple(event) in told)

                task = asyncio.create_task(follow())
                await until("SYNCED", "")
                await story(server, watch, until)
                task.cancel()
                await asyncio.wait({task})
        return told

    return asyncio.run(main())


def test_first_the_list_then_each_change_in_order() -> None:
    async def story(server: FakeServer, watch: Watch, until: Callable[..., Awaitable[None]]) -> None:
        server.store.put(config_map("second"))
        server.store.put(config_map("second", colour="red"))
        server.store.remove(ref("first"))
        await until("DELETED", "first")
        assert watch.synced

    assert watching(story) == [
        ("ADDED", "first"),
        ("SYNCED", ""),
        ("ADDED", "second"),
        ("MODIFIED", "second"),
        ("DELETED", "first"),
    ]


def test_a_stream_that_ends_goes_on_where_it_stood() -> None:
    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        server.cut_watches()
        server.store.put(config_map("second"))
        await until("ADDED", "second")

    assert watching(story).count(("ADDED", "first")) == 1


def test_after_410_everything_is_listed_and_what_went_in_between_is_told() -> None:
    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        await server.stop()
        server.store.remove(ref("first"))
        server.store.put(config_map("second"))
        server.store.compact()
        await server.start()
        await until("DELETED", "first")
        await until("ADDED", "second")

    told = watching(story)
    assert told.count(("SYNCED", "")) == 2


def test_an_object_made_anew_in_the_gap_is_told_as_gone_and_there() -> None:
    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        await server.stop()
        server.store.remove(ref("first"))
        server.store.put(config_map("first"))
        server.store.compact()
        await server.start()
        await until("DELETED", "first")

    assert watching(story).count(("ADDED", "first")) == 2


def test_a_list_that_breaks_off_calls_nothing_gone() -> None:
    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        for number in range(5):
            server.store.put(config_map(f"more-{number}"))
        await until("ADDED", "more-4")
        await server.stop()
        server.store.compact()
        await server.start()
        server.trouble(*[Trouble(path=".*/configmaps", status=410, reason="Expired") for _ in range(3)])
        server.store.put(config_map("last"))
        await until("ADDED", "last")

    assert "DELETED" not in {kind for kind, _ in watching(story)}


def test_pain_30_a_stream_that_falls_silent_is_given_up() -> None:
    """No bookmark, no change, no end: as behind a balancer that has forgotten the connection."""

    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        server.bookmark_seconds = 3600
        await asyncio.sleep(0.5)  # the last bookmark has passed
        before = server.watches_begun
        async with asyncio.timeout(60):
            while server.watches_begun < before + 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        server.store.put(config_map("second"))
        await until("ADDED", "second")

    watching(story, inactive=0.5)


def test_bookmarks_keep_it_fresh_and_are_not_told() -> None:
    async def story(server: FakeServer, watch: Watch, _: Callable[..., Awaitable[None]]) -> None:
        seen = watch.last_seen
        async with asyncio.timeout(60):
            while watch.last_seen == seen:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)

    assert watching(story) == [("ADDED", "first"), ("SYNCED", "")]


def test_labels_and_namespace_limit_what_is_told_and_losing_the_label_is_going_away() -> None:
    async def story(server: FakeServer, _: Watch, until: Callable[..., Awaitable[None]]) -> None:
        server.store.put(config_map("elsewhere", "other", mine="yes"))
        server.store.put(config_map("second", mine="yes"))
        server.store.put(config_map("third"))
        server.store.put(config_map("second"))
        await until("DELETED", "second")

    assert watching(story, namespace="shop", labels="mine=yes") == [
        ("SYNCED", ""),
        ("ADDED", "second"),
        ("DELETED", "second"),
    ]


def test_a_kind_that_is_not_served_is_waited_for_and_may_go_and_come_back() -> None:
    async def story(server: FakeServer, watch: Watch, until: Callable[..., Awaitable[None]]) -> None:
        server.store.served.remove("configmaps")
        server.cut_watches()
        async with asyncio.timeout(60):
            while not watch.trouble:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        server.store.served.add("configmaps")
        server.store.put(config_map("second"))
        await until("ADDED", "second")
        assert watch.trouble == ""

    watching(story)
