"""The Lease: taken, kept, lost and given back; and whatever happens, never two who may write."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.cluster.lease import Lease
from mtls_tunnel_operator.model.kinds import Ref
from support.clock import run
from support.kube_api import MemoryApi, Trouble, cluster
from support.kube_store import Store

SPACE = "mtls-tunnel-system"
REF = Ref("leases", SPACE, "op")


def lease_of(store: Store, who: str, latency: Callable[[], float] | None = None) -> tuple[Lease, MemoryApi]:
    """A candidate on the virtual loop's time."""
    api = MemoryApi(store, user_agent=who, latency=latency)
    clock = asyncio.get_running_loop().time
    return Lease(api, SPACE, "op", who, clock=clock, now=lambda: 1e9 + clock()), api


def holder(store: Store) -> str:
    return str(store.objects[REF]["spec"]["holderIdentity"])


def test_the_first_takes_it_and_the_second_waits_until_the_first_gives_it_back() -> None:
    async def story() -> tuple[str, bool, float]:
        store = cluster()
        first, _ = lease_of(store, "first")
        second, _ = lease_of(store, "second")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(60)
        assert (holder(store), first.held(), second.held(), waiting.done()) == ("first", True, False, False)
        keeping.cancel()
        began = asyncio.get_running_loop().time()
        await first.release()
        await waiting
        return holder(store), first.held(), asyncio.get_running_loop().time() - began

    name, still, seconds = run(story())
    assert (name, still) == ("second", False)
    assert seconds < 3


def test_a_holder_that_died_is_followed_after_fifteen_seconds() -> None:
    async def story() -> float:
        store = cluster()
        first, _ = lease_of(store, "first")
        await first.acquire()
        second, _ = lease_of(store, "second")
        await second.acquire()
        return asyncio.get_running_loop().time()

    assert 15 <= run(story()) < 20


@pytest.mark.parametrize(
    ("promised", "wait"),
    [
        pytest.param(15, 15.0, id="as promised"),
        pytest.param(40, 40.0, id="a longer promise"),
        pytest.param(1, 15.0, id="a promise too short"),
    ],
)
@settings(max_examples=20)
@given(began=st.floats(0, 30), seed=st.integers(0, 10**6))
def test_a_standby_takes_the_lease_of_a_dead_holder_at_the_very_moment_at_which_it_may(
    promised: int, wait: float, began: float, seed: int
) -> None:
    """Not at its next look, which may be two seconds and more later: for that long nobody would write."""
    random.seed(seed)  # the pauses between looks

    async def story() -> float:
        store = cluster()
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": promised}
        metadata = {"namespace": SPACE, "name": "op"}
        store.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
        await asyncio.sleep(began)
        standby, _ = lease_of(store, "standby")
        await standby.acquire()
        return asyncio.get_running_loop().time() - began

    assert run(story()) == pytest.approx(wait)


def test_a_holder_that_cannot_renew_may_not_write_after_ten_seconds_and_gives_up() -> None:
    async def story() -> tuple[str, float]:
        store = cluster()
        first, api = lease_of(store, "first")
        await first.acquire()
        loop = asyncio.get_running_loop()
        api.away = lambda: True
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(9.9)
        assert first.held()
        await asyncio.sleep(0.2)
        assert not first.held()
        return await keeping, loop.time()

    reason, seconds = run(story())
    assert reason == "not renewed for 10 s"
    assert seconds < 15


def test_errors_in_between_do_not_cost_the_lease() -> None:
    async def story() -> bool:
        store = cluster()
        first, api = lease_of(store, "first")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        for status in (500, 409, 429, 0, 503, 422, 404):
            api.trouble(Trouble(method="PATCH", status=status))
            api.trouble(Trouble(method="PATCH", status=0, after=True))  # carried out, its answer lost
            await asyncio.sleep(8)
            assert not keeping.done()
        keeping.cancel()
        return holder(store) == "first" and first.held()

    assert run(story())


def test_a_lease_deleted_by_hand_is_made_anew_by_its_holder() -> None:
    async def story() -> str:
        store = cluster()
        first, _ = lease_of(store, "first")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(5)
        store.remove(REF)
        await asyncio.sleep(8)
        assert not keeping.done()
        keeping.cancel()
        return holder(store)

    assert run(story()) == "first"


def test_a_lease_deleted_by_hand_does_not_go_to_the_one_that_waits() -> None:
    """Its holder may go on writing for ten seconds: whoever saw it waits as long as for a dead one."""

    async def story(alive: bool) -> tuple[str, float]:
        store = cluster()
        loop = asyncio.get_running_loop()
        first, _ = lease_of(store, "first")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        second, _ = lease_of(store, "second")
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(4.9)  # just before both look again
        if not alive:
            keeping.cancel()
        store.remove(REF)
        for _ in range(400):
            await asyncio.sleep(0.1)
            assert not (first.held() and second.held())
            if waiting.done():
                break
        keeping.cancel()
        waiting.cancel()
        return holder(store), loop.time()

    assert run(story(True))[0] == "first"
    name, when = run(story(False))
    assert name == "second"
    assert 19 < when < 25


def test_a_lease_that_somebody_else_has_taken_ends_the_holder_at_once() -> None:
    async def story() -> tuple[str, bool]:
        store = cluster()
        first, _ = lease_of(store, "first")
        await first.acquire()
        taken = {**store.objects[REF], "spec": {**store.objects[REF]["spec"], "holderIdentity": "thief"}}
        store.put(taken)
        return await first.keep(), first.held()

    assert run(story()) == ("taken by thief", False)


def test_times_in_the_record_mean_nothing() -> None:
    """A clock that is years off, there or here, neither takes a Lease that is renewed nor waits for a dead one."""

    async def story(stamp: str) -> float:
        store = cluster()
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": stamp, "acquireTime": stamp}
        metadata = {"namespace": SPACE, "name": "op"}
        store.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
        second, _ = lease_of(store, "second")
        await second.acquire()
        return asyncio.get_running_loop().time()

    assert 15 <= run(story("2001-01-01T00:00:00.000000Z")) < 20
    assert 15 <= run(story("2101-01-01T00:00:00.000000Z")) < 20


def test_transitions_count_changes_of_the_holder() -> None:
    async def story() -> tuple[int, str]:
        store = cluster()
        for name in ("first", "second", "third"):
            candidate, _ = lease_of(store, name)
            await candidate.acquire()
            await candidate.release()
        spec = store.objects[REF]["spec"]
        return spec["leaseTransitions"], spec["holderIdentity"]

    assert run(story()) == (2, "")


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    slowness=st.sampled_from([0.0, 0.01, 0.5, 1.9, 3.9, 5.0]),
    outages=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 90), st.floats(0, 30)), max_size=8),
    losses=st.integers(0, 30),
)
def test_there_are_never_two_who_may_write(
    seed: int, slowness: float, outages: list[tuple[int, float, float]], losses: int
) -> None:
    """Three replicas, answers that are slow or lost, an API server that comes and goes for each of them."""
    dice = random.Random(seed)

    async def replica(store: Store, number: int, holders: dict[int, Callable[[], bool]]) -> None:
        loop = asyncio.get_running_loop()
        for life in range(100):
            lease, api = lease_of(store, f"r{number}-{life}", latency=lambda: dice.random() * slowness)
            api.away = lambda: any(b <= loop.time() < b + length for who, b, length in outages if who == number)
            for _ in range(losses):
                api.trouble(Trouble(method="PATCH", status=0, after=dice.random() < 0.5, times=1))
            holders[number] = lease.held
            await lease.acquire()
            await lease.keep()

    async def story() -> None:
        store = cluster()
        holders: dict[int, Callable[[], bool]] = {}
        tasks = [asyncio.create_task(replica(store, number, holders)) for number in range(3)]
        for _ in range(1200):
            await asyncio.sleep(0.1)
            assert sum(held() for held in holders.values()) <= 1
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)

    run(story())


def test_when_all_is_well_again_there_is_one() -> None:
    async def story() -> int:
        store = cluster()
        loop = asyncio.get_running_loop()
        leases = []
        for number in range(3):
            lease, api = lease_of(store, f"r{number}")
            api.away = lambda: loop.time() < 40
            leases.append(lease)

        async def take_and_keep(lease: Lease) -> None:
            await lease.acquire()
            await lease.keep()

        tasks = [asyncio.create_task(take_and_keep(lease)) for lease in leases]
        await asyncio.sleep(90)
        for task in tasks:
            task.cancel()
        return sum(lease.held() for lease in leases)

    assert run(story()) == 1
