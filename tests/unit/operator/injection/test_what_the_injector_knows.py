"""The cache: what is kept of tunnels, namespaces and defaults, and what is asked live."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.injection.cache import STALE_SECONDS, Cache
from mtls_tunnel_operator.injection.live import NOTHING, Looks
from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.world import World, other_account
from mtls_tunnel_operator.model.parts import parts_of
from support.clock import Clock, run, settle
from support.kube_api import MemoryApi, Trouble, cluster
from support.tunnel_resources import space, space_raw, tunnel_raw


def world_of(*tunnels: Any) -> World:
    world = World("mtls-tunnel-system")
    for raw in tunnels:
        world.put_tunnel(raw)
    return world


def keys(world: World, namespace: str = "shop") -> list[str]:
    accepting = space(namespace, accepts=("shop", "x", "billing"))
    return sorted(str(tunnel.key) for tunnel in world.concerning(accepting))


def reaching(name: str, namespace: str, **more: Any) -> Any:
    """A tunnel with clients in all namespaces."""
    client = {"name": "c", "selector": {"matchLabels": {"a": "b"}}, "listeners": [{"port": "pg", "localPort": 6000}]}
    where = {"from": "Selector", "selector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}
    return tunnel_raw(name, namespace, clients=[{**client, "namespaces": where}], **more)


def changed(raw: Any, generation: int = 2) -> Any:
    """The tunnel after its spec has been changed."""
    return {**raw, "metadata": {**raw["metadata"], "generation": generation}}


def test_a_pod_is_compared_with_tunnels_of_its_namespace_and_those_that_reach_out() -> None:
    world = world_of(tunnel_raw("a"), tunnel_raw("b", "other"), reaching("c", "billing"))
    assert keys(world) == ["billing/c", "shop/a"]
    assert keys(world, "billing") == ["billing/c"]


def test_tunnels_of_a_namespace_that_is_not_accepted_are_not_even_looked_at() -> None:
    world = world_of(reaching("c", "billing"))
    assert list(world.concerning(space("shop", accepts=("ops",)))) == []


def test_a_tunnel_that_reaches_out_no_more_is_forgotten_elsewhere() -> None:
    world = world_of(reaching("c", "billing"))
    world.put_tunnel(changed(tunnel_raw("c", "billing")))
    assert keys(world) == []
    assert world.tunnels == 1


def test_a_deletion_that_comes_late_leaves_the_tunnel_that_was_made_since() -> None:
    world = world_of(tunnel_raw("a", uid="old"))
    world.put_tunnel(tunnel_raw("a", uid="new"))
    world.drop_tunnel(tunnel_raw("a", uid="old"))
    assert keys(world) == ["shop/a"]
    world.drop_tunnel(tunnel_raw("a", uid="new"))
    assert (keys(world), world.tunnels) == ([], 0)


def test_a_tunnel_that_cannot_be_read_selects_nothing_and_is_named() -> None:
    world = world_of(tunnel_raw("a"))
    broken = tunnel_raw("a")
    broken["spec"]["server"]["workload"]["selector"] = {"matchLabels": {"app": 1}}
    world.put_tunnel(changed(broken))

    (sentence,) = world.unread("shop")
    assert keys(world) == []
    assert sentence.startswith("MtlsTunnel shop/a is not used: ")

    world.put_tunnel(changed(tunnel_raw("a"), 3))
    assert world.unread("shop") == ()


def test_a_new_status_is_no_reason_to_read_a_tunnel_again() -> None:
    world = world_of(tunnel_raw("a"))
    (before,) = world.concerning(space())
    world.put_tunnel({**tunnel_raw("a"), "status": {"observedGeneration": 1}})
    (after,) = world.concerning(space())
    assert before is after


def test_the_status_of_a_tunnel_is_not_kept() -> None:
    world = world_of({**tunnel_raw("a"), "status": {"conditions": ["much"]}})
    (kept,) = world.concerning(space())
    assert kept.status == {}


def test_only_namespaces_that_have_opted_in_are_kept() -> None:
    world = world_of()
    world.put_space(space_raw("shop", accepts="billing, ops"))
    assert world.spaces["shop"].accepts == {"billing", "ops"}
    world.put_space(space_raw("shop", enabled=False))
    assert world.spaces == {}


def test_a_default_that_cannot_be_read_keeps_the_last_good_one() -> None:
    world = world_of()
    world.put_defaults({"data": {"sidecarImage": "i:1", "runAsUser": "7"}})
    world.put_defaults({"data": {"sidecarImage": "i:2", "runAsUser": "root"}})
    assert world.defaults
    assert (world.defaults.sidecar_image, world.defaults.run_as_user) == ("i:2", 7)
    world.put_defaults({"data": None})
    assert world.defaults.sidecar_image == "i:2"


def test_a_service_account_that_is_not_listed_is_said() -> None:
    raw = tunnel_raw(certificate={"subject": "PerServiceAccount"}, clients=[])
    raw["spec"]["server"]["workload"]["serviceAccounts"] = ["db"]
    (tunnel,) = world_of(raw).concerning(space())
    labels = {"app": "postgres"}

    listed = parts_of(space(), labels, "db", [tunnel])

    assert other_account(space(), labels, listed, [tunnel]) == ()
    (sentence,) = other_account(space(), labels, (), [tunnel])
    assert "its server does not list the pod's service account" in sentence


def test_pain_26_looks_are_shared_and_at_most_one_for_each_second() -> None:
    async def scenario() -> tuple[int, list[int]]:
        loop = asyncio.get_running_loop()
        api = MemoryApi(cluster("shop"))
        api.store.put(tunnel_raw())
        looks = Looks(api, loop.time)
        found = await asyncio.gather(*(looks.look("shop", with_space=False) for _ in range(50)))
        await asyncio.sleep(0.5)
        await looks.look("shop", with_space=False)
        first = _lists(api)
        await asyncio.sleep(0.6)
        await looks.look("shop", with_space=False)
        assert {len(one.tunnels) for one in found} == {1}
        await looks.close()
        return first, [_lists(api)]

    assert run(scenario()) == (1, [2])


def test_a_look_takes_a_second_at_most_and_then_the_cache_must_do() -> None:
    class Slow(MemoryApi):
        async def _once(self, *args: Any) -> Any:
            await asyncio.sleep(3)
            return await super()._once(*args)

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        counted: list[str] = []
        looks = Looks(Slow(cluster("shop")), loop.time, counted=counted.append)
        assert await looks.look("shop", with_space=True) is NOTHING
        assert counted[0] in ("late", "failed")
        await looks.close()
        return loop.time()

    assert run(scenario()) == 1.0


def test_an_api_server_that_answers_errors_leaves_the_cache() -> None:
    async def scenario() -> Any:
        api = MemoryApi(cluster("shop"), sleep=lambda _: asyncio.sleep(0))
        api.trouble(Trouble(path=".*mtlstunnels", times=99))
        return await Looks(api, asyncio.get_running_loop().time).look("shop", with_space=False)

    assert run(scenario()) is NOTHING


def test_a_look_also_brings_a_namespace_that_is_younger_than_the_watch() -> None:
    async def scenario() -> Any:
        api = MemoryApi(cluster("shop"))
        api.store.put(space_raw("fresh", accepts="billing"))
        return await Looks(api, asyncio.get_running_loop().time).look("fresh", with_space=True)

    found = run(scenario())
    assert (found.space.accepts, found.tunnels) == ({"billing"}, ())


def test_it_is_said_when_the_cache_is_incomplete_and_when_the_api_server_is_silent() -> None:
    """Pain 30: a watch that has gone silent is noticed here, whatever it says itself."""

    async def scenario() -> list[str]:
        clock, world = Clock(0), world_of()
        api = MemoryApi(cluster("shop"))
        cache = Cache(api, world, Meters(), clock, namespace="n", defaults="d", secret="s", serve=lambda _: None)
        said = [cache.trouble()]
        following = asyncio.create_task(cache.run())
        await settle(100)
        said.append(cache.trouble())  # listed, and no defaults among it
        world.put_defaults({"data": {"sidecarImage": "i"}})
        said.append(cache.trouble())
        clock.advance(STALE_SECONDS + 1)
        said.append(cache.trouble())
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await api.close()
        return said

    first, listed, well, silent = asyncio.run(scenario())
    assert first == "the cache is not complete yet"
    assert listed.startswith("the cache is not complete yet")
    assert well == ""
    assert silent == "the API server has not been heard for 301 s"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["shop", "x"]), st.integers(0, 3)), max_size=20))
def test_after_any_history_there_is_what_a_new_start_would_read(history: list[tuple[str, str, int]]) -> None:
    """Nothing stays behind of tunnels that were changed, broken or deleted."""
    old = world_of()
    now: dict[tuple[str, str], Any] = {}
    for generation, (name, namespace, what) in enumerate(history, 1):
        raw = changed([tunnel_raw, reaching][what % 2](name, namespace, uid="u"), generation)
        if what == 3:
            raw["spec"]["server"]["ports"] = []
        if what == 2:
            old.drop_tunnel(raw)
            now.pop((name, namespace), None)
        else:
            old.put_tunnel(raw)
            now[name, namespace] = raw
    fresh = world_of(*now.values())
    for namespace in ("shop", "x", "elsewhere"):
        assert keys(old, namespace) == keys(fresh, namespace)
        assert sorted(old.unread(namespace)) == sorted(fresh.unread(namespace))
    assert old.tunnels == fresh.tunnels


def _lists(api: MemoryApi) -> int:
    return sum(one.verb == "list" for one in api.store.asked)
