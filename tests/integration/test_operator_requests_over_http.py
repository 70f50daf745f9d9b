"""`Api` over real connections: refused, silent, cut, slow; and a body that must not leave any more."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mtls_tunnel_operator.cluster.api import Api, Ref
from mtls_tunnel_operator.errors import ApiError, NotLeader
from support.kube_api import FakeServer, Trouble, cluster

REF = Ref("configmaps", "shop", "one")
MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "one"}}


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def with_server(story: Callable[[FakeServer, Api], Awaitable[object]]) -> object:
    async def main() -> object:
        async with FakeServer(cluster("shop")) as server, Api(server.connection(), sleep=no_pause) as api:
            return await story(server, api)

    return asyncio.run(main())


def test_objects_are_written_and_read() -> None:
    async def story(_: FakeServer, api: Api) -> object:
        await api.apply({**MANIFEST, "data": {"umlaut": "ä\n"}})
        return (await api.get(REF))["data"]

    assert with_server(story) == {"umlaut": "ä\n"}


def test_a_refused_connection_is_an_error_of_ours_and_says_where() -> None:
    async def story(server: FakeServer, api: Api) -> None:
        await server.stop()
        await api.get(REF)

    with pytest.raises(ApiError, match="Unreachable: GET /api/v1/namespaces/shop/configmaps/one") as caught:
        with_server(story)
    assert caught.value.status == 0


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def story(server: FakeServer, api: Api) -> None:
        server.trouble(Trouble(hang=True, status=0))
        await api.request("GET", "/version", seconds=0.2, tries=1)

    with pytest.raises(ApiError, match=r"Timeout: GET /version: no answer within 0.2 s"):
        with_server(story)


def test_connections_that_are_reset_are_made_anew() -> None:
    async def story(server: FakeServer, api: Api) -> object:
        server.trouble(Trouble(status=0), Trouble(status=0, after=True))
        return (await api.apply(MANIFEST))["metadata"]["name"]

    assert with_server(story) == "one"


def test_a_proxys_page_is_an_error_with_its_text() -> None:
    async def story(server: FakeServer, api: Api) -> None:
        server.trouble(Trouble(status=404, raw=b"<html>nothing here</html>"))
        await api.get(REF)

    with pytest.raises(ApiError, match="nothing here"):
        with_server(story)


def test_nothing_is_written_when_the_lease_is_lost_between_the_question_and_the_sending() -> None:
    """As when the process is stopped in between: the first answer is yes, the one at the socket is no."""

    async def story(server: FakeServer, _: Api) -> object:
        answers = [True, False, False]
        async with Api(server.connection(), may_write=lambda: answers.pop(0), sleep=no_pause) as api:
            with pytest.raises(NotLeader):
                await api.apply(MANIFEST)
        return server.store.writes()

    assert with_server(story) == []


def test_lists_of_many_pages_arrive_whole() -> None:
    async def story(server: FakeServer, api: Api) -> int:
        for number in range(450):
            server.store.put({**MANIFEST, "metadata": {"namespace": "shop", "name": f"c{number}"}})
        return sum([len(page.items) async for page in api.list("configmaps", "shop")])

    assert with_server(story) == 450


def test_whether_a_kind_is_served_is_asked_each_time() -> None:
    async def story(server: FakeServer, api: Api) -> list[bool]:
        answers = [await api.serves("certificates")]
        server.store.served -= {"certificates", "issuers", "clusterissuers"}
        return [*answers, await api.serves("certificates"), await api.serves("configmaps")]

    assert with_server(story) == [True, False, True]
