"""Lists are compared with the view: what no watch told is found, what is newer than the list is kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mtls_tunnel_operator.cluster.api import Page
from mtls_tunnel_operator.control.view import Change, View
from mtls_tunnel_operator.control.watching.resync import Resync, Selection
from mtls_tunnel_operator.errors import ApiError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Key
from support.kube_api import MemoryApi, Trouble, namespace
from support.kube_store import Store
from support.operators import NAME, SPACE, installed, tunnel


def pod(space: str, name: str) -> dict[str, Any]:
    metadata = {"namespace": space, "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}


def comparing(store: Store, api: MemoryApi | None = None, **selection: Any) -> tuple[Resync, View, list[Change]]:
    view = View(namespaces=selection.get("namespaces", ()), unwatched=selection.get("unwatched", ()))
    changes: list[Change] = []
    chosen = Selection(webhook=NAME, **selection)
    return Resync(api or MemoryApi(store), view, chosen, changes.append), view, changes


def test_the_first_comparison_fills_the_view() -> None:
    store = installed("shop")
    store.put(namespace("closed"))
    store.put(tunnel())
    for space in ("shop", "closed"):
        store.put(pod(space, "p"))
    resync, view, changes = comparing(store)
    found = asyncio.run(resync.everything())
    assert found == len(changes) > 0
    assert list(view.tunnels) == [Key("shop", "orders-db")]
    assert {space: len(pods) for space, pods in view.pods.items()} == {"shop": 1}
    assert view.webhook is not None


def test_a_second_comparison_finds_nothing_where_nothing_happened() -> None:
    store = installed("shop")
    store.put(tunnel())
    resync, _, _ = comparing(store)

    async def twice() -> list[int]:
        return [await resync.everything(), await resync.everything()]

    assert asyncio.run(twice())[1] == 0


def test_what_went_away_unnoticed_is_dropped_and_told() -> None:
    store = installed("shop")
    store.put(tunnel())
    store.put(pod("shop", "p"))
    resync, view, changes = comparing(store)

    async def story() -> int:
        await resync.everything()
        changes.clear()
        store.remove(Ref("mtlstunnels", "shop", "orders-db"))
        store.remove(Ref("pods", "shop", "p"))
        return await resync.everything()

    assert asyncio.run(story()) == 2
    assert {change.ref.plural for change in changes} == {"mtlstunnels", "pods"}
    assert (view.tunnels, view.pods) == ({}, {})


class _Late(MemoryApi):
    """While it lists, something is made of which the list cannot know."""

    meanwhile: Any = None

    async def list(self, plural: str, *args: Any, **more: Any) -> AsyncIterator[Page]:
        async for page in super().list(plural, *args, **more):
            if plural == "mtlstunnels" and self.meanwhile is not None:
                self.meanwhile()
            yield page


def test_what_was_made_while_the_list_was_read_is_kept() -> None:
    store = installed("shop")
    store.put(tunnel())
    api = _Late(store)
    resync, view, _ = comparing(store, api)
    api.meanwhile = lambda: view.put("mtlstunnels", store.put(tunnel(name="young")))
    asyncio.run(resync.everything())
    assert sorted(key.name for key in view.tunnels) == ["orders-db", "young"]


def test_a_list_that_took_too_long_begins_anew() -> None:
    store = installed("shop")
    for number in range(450):
        store.put(pod("shop", f"p{number}"))
    api = MemoryApi(store)
    resync, view, _ = comparing(store, api)
    api.trouble(Trouble(path=".*/pods", status=410, reason="Expired"))
    asyncio.run(resync.everything())
    assert len(view.pods["shop"]) == 450


def test_kinds_of_others_that_are_not_there_or_not_ours_to_read_are_left_out() -> None:
    store = installed("shop")
    store.served -= {"podmonitors"}
    api = MemoryApi(store)
    api.trouble(Trouble(path=".*/certificates", status=403))
    resync, _, _ = comparing(store, api)
    asyncio.run(resync.everything())


def test_a_kind_that_must_be_readable_and_is_not_is_an_error() -> None:
    store = installed("shop")
    api = MemoryApi(store)
    api.trouble(Trouble(path=".*/secrets", status=403, times=9))
    resync, _, _ = comparing(store, api)
    with pytest.raises(ApiError, match="403"):
        asyncio.run(resync.everything())


def test_a_namespace_that_opts_in_brings_its_pods_and_takes_them_when_it_opts_out() -> None:
    store = installed()
    store.put(namespace("late"))
    store.put(pod("late", "p"))
    resync, view, _ = comparing(store)

    async def story() -> list[int]:
        await resync.everything()
        view.put("namespaces", store.put(namespace("late", {"mtlstunnel.dev/injection": "enabled"})))
        await resync.space("late")
        counts = [len(view.pods.get("late", {}))]
        view.put("namespaces", store.put(namespace("late")))
        await resync.space("late")
        return [*counts, len(view.pods.get("late", {}))]

    assert asyncio.run(story()) == [1, 0]


def test_with_namespaces_in_scope_only_those_are_listed_and_secrets_by_label() -> None:
    store = installed("shop", "other")
    store.put(tunnel("other", "hidden"))
    resync, view, _ = comparing(store, namespaces=("shop",), unwatched=("secrets",))
    asyncio.run(resync.everything())
    assert view.tunnels == {}
    lists = {(one.ref.plural, one.ref.namespace, one.query.get("labelSelector", "")) for one in store.asked}
    assert not {plural for plural, _, _ in lists} & {"secrets"}
    assert ("configmaps", "shop", "app.kubernetes.io/managed-by=mtls-tunnel") in lists
    assert ("pods", "shop", "") in lists
    assert SPACE not in {space for _, space, _ in lists}
