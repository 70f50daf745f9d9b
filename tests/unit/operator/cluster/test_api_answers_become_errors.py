"""What the API server answers, and what `Api` makes of it: values, errors, or another try."""

import asyncio

import pytest

from mtls_tunnel_operator.cluster.api import MERGE, Api, Ref, error_of
from mtls_tunnel_operator.errors import ApiError, Conflict, Gone, NotFound, NotLeader
from support.kube_api import MemoryApi, Trouble, cluster

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"namespace": "shop", "name": "one", "labels": {"a": "b"}},
    "stringData": {"k": "v"},
}
REF = Ref("secrets", "shop", "one")


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def test_an_applied_object_is_read_back_and_applied_again_changes_nothing() -> None:
    async def story(api: Api) -> tuple[object, ...]:
        first = await api.apply(SECRET)
        again = await api.apply(SECRET)
        read = await api.get(REF)
        return first["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"], read["data"]

    first, again, data = asyncio.run(story(MemoryApi(cluster("shop"))))
    assert first == again
    assert data == {"k": "dg=="}


def test_a_field_that_is_not_applied_any_more_goes_and_others_fields_stay() -> None:
    async def story(api: Api) -> object:
        await api.apply(SECRET)
        await api.patch(REF, {"metadata": {"annotations": {"by": "somebody"}}}, content=MERGE, manager="kubectl")
        slim = {**SECRET, "metadata": {"namespace": "shop", "name": "one"}}
        return (await api.apply(slim))["metadata"]

    metadata = asyncio.run(story(MemoryApi(cluster("shop"))))
    assert isinstance(metadata, dict)
    assert "labels" not in metadata
    assert metadata["annotations"] == {"by": "somebody"}


def test_lists_come_in_pages_and_every_object_says_its_kind() -> None:
    store = cluster("shop")
    for number in range(7):
        store.put({**SECRET, "metadata": {"namespace": "shop", "name": f"s{number}"}})

    async def story(api: Api) -> list[list[tuple[str, str]]]:
        return [
            [(raw["kind"], raw["metadata"]["name"]) for raw in page.items]
            async for page in api.list("secrets", limit=3)
        ]

    pages = asyncio.run(story(MemoryApi(store)))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {kind for page in pages for kind, _ in page} == {"Secret"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_what_passes_by_itself_is_tried_again(status: int) -> None:
    api = MemoryApi(cluster("shop"), sleep=no_pause)
    api.trouble(Trouble(status=status, times=2))
    assert asyncio.run(api.apply(SECRET))["metadata"]["name"] == "one"


def test_after_three_tries_the_caller_hears_of_it() -> None:
    api = MemoryApi(cluster("shop"), sleep=no_pause)
    api.trouble(Trouble(status=503, times=9))
    with pytest.raises(ApiError, match="ordered trouble 503"):
        asyncio.run(api.apply(SECRET))
    assert api.troubles[0].times == 6


def test_retry_after_is_waited_for_when_short_and_handed_on_when_long() -> None:
    waited = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    api = MemoryApi(cluster("shop"), sleep=note)
    api.trouble(Trouble(status=429, retry_after="3"))
    asyncio.run(api.apply(SECRET))
    assert waited == [3.0]
    api.trouble(Trouble(status=429, retry_after="30", times=9))
    with pytest.raises(ApiError) as caught:
        asyncio.run(api.apply(SECRET))
    assert (caught.value.retry_after, waited) == (30.0, [3.0])


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (410, Gone), (403, ApiError)])
def test_answers_that_will_not_change_are_not_tried_again(status: int, kind: type[ApiError]) -> None:
    api = MemoryApi(cluster("shop"), sleep=no_pause)
    api.trouble(Trouble(status=status, times=9, reason="Word"))
    with pytest.raises(kind) as caught:
        asyncio.run(api.get(REF))
    assert (caught.value.status, caught.value.reason, api.troubles[0].times) == (status, "Word", 8)


def test_no_write_leaves_a_process_that_may_have_lost_its_lease() -> None:
    store = cluster("shop")
    api = MemoryApi(store, may_write=lambda: False)
    for write in (api.apply(SECRET), api.create(SECRET), api.patch(REF, {}), api.delete(REF), api.evict("shop", "p")):
        with pytest.raises(NotLeader):
            asyncio.run(write)
    assert store.writes() == []


def test_leadership_is_asked_again_before_each_try() -> None:
    answers = [True, False]
    api = MemoryApi(cluster("shop"), may_write=lambda: answers.pop(0), sleep=no_pause)
    api.trouble(Trouble(status=500))
    with pytest.raises(NotLeader):
        asyncio.run(api.apply(SECRET))


def test_writes_and_deletions_are_told_to_whoever_keeps_a_view() -> None:
    seen: list[object] = []
    api = MemoryApi(cluster("shop"), observe=lambda raw: seen.append(raw["metadata"]["name"]), forget=seen.append)

    async def story() -> tuple[bool, bool]:
        await api.apply(SECRET)
        return await api.delete(REF), await api.delete(REF)

    assert asyncio.run(story()) == (True, False)
    assert seen == ["one", REF, REF]


def test_a_deletion_meant_for_another_object_of_that_name_is_refused() -> None:
    api = MemoryApi(cluster("shop"))

    async def story() -> None:
        await api.apply(SECRET)
        await api.delete(REF, uid="somebody-else")

    with pytest.raises(Conflict, match="precondition"):
        asyncio.run(story())


def test_an_object_with_an_old_resource_version_is_not_overwritten() -> None:
    api = MemoryApi(cluster("shop"))

    async def story() -> None:
        old = await api.apply(SECRET)
        await api.patch(REF, {"data": {"x": "eA=="}}, manager="other")
        metadata = {**SECRET["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}  # type: ignore[dict-item]
        await api.apply({**SECRET, "metadata": metadata})

    with pytest.raises(Conflict):
        asyncio.run(story())


def test_an_eviction_that_a_budget_forbids_is_not_repeated() -> None:
    store = cluster("shop")
    store.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "p"}})
    store.budget = lambda _: False
    with pytest.raises(ApiError) as caught:
        asyncio.run(MemoryApi(store).evict("shop", "p"))
    assert (caught.value.status, caught.value.retry_after) == (429, 10.0)
    assert [one.verb for one in store.asked] == ["evict"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [(b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"), (b"", ""), (b"[1]", "[1]"), (b"\xff", "\ufffd")],
    ids=["a proxy's page", "nothing", "no object", "no text"],
)
def test_answers_that_are_no_status_object_still_make_an_error(payload: bytes, said: str) -> None:
    error = error_of(502, "Bad Gateway", payload, "Wed, 21 Oct 2026 07:28:00 GMT")
    assert (error.status, error.reason, error.message, error.retry_after) == (502, "BadGateway", said, None)
