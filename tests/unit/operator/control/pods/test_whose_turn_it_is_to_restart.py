"""Which workloads get new pods now, which wait, and when nothing more is tried."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.control.pods.census import Member, Standing
from mtls_tunnel_operator.control.pods.turns import Flight, Group, Limits, Moving, decide, groups_of, is_stuck
from mtls_tunnel_operator.control.remedies import restart, workload_of
from mtls_tunnel_operator.model.pods import Owner
from support.tunnel_resources import NOON, pod

LIMITS = Limits(tunnel=1, cluster=5, deadline_seconds=600)
TUNNEL = "shop/orders-db"


def member(name: str, standing: Standing = "Outdated", app: str = "postgres", **fields: Any) -> Member:
    return Member(pod(name, app, **fields), standing, "r2")


def group(*members: Member) -> Group:
    (found,) = groups_of(members)
    return found


def test_one_workload_moves_at_a_time() -> None:
    groups = groups_of([member("a", app="a"), member("b", app="b")])
    turns = decide(TUNNEL, groups, {}, {}, LIMITS, NOON)
    assert [one.name for one in turns.start] == ["statefulset/a"]
    assert turns.moving == Moving(("statefulset/a",), waiting=1)


def test_the_next_one_moves_when_the_first_has_landed() -> None:
    groups = groups_of([member("a", "UpToDate", app="a"), member("b", app="b")])
    flights = {("shop", "statefulset/a"): Flight(TUNNEL, "r2", NOON - 60)}
    turns = decide(TUNNEL, groups, flights, {}, LIMITS, NOON)
    assert turns.ended == (("shop", "statefulset/a"),)
    assert [one.name for one in turns.start] == ["statefulset/b"]


def test_nothing_moves_beyond_the_cap_of_the_cluster() -> None:
    flights = {("other", f"deployment/{n}"): Flight(f"other/{n}", "r", NOON) for n in range(5)}
    assert decide(TUNNEL, groups_of([member("a")]), flights, {}, LIMITS, NOON).start == ()


def test_a_newest_pod_that_is_outdated_itself_stops_everything() -> None:
    broken = [member("a-0", app="a"), member("a-1", app="a", created=NOON + 60)]
    turns = decide(
        TUNNEL, groups_of([*broken, member("b", app="b")]), {}, {("shop", "statefulset/a"): NOON}, LIMITS, NOON + 90
    )
    assert turns.start == ()
    assert turns.moving.stuck == ("statefulset/a",)


def test_a_pod_made_in_the_moment_of_the_change_proves_nothing() -> None:
    assert not is_stuck(group(member("a-0", created=NOON + 5)), NOON)


def test_a_workload_that_does_not_come_up_in_time_is_stuck_and_stays_so() -> None:
    flights = {("shop", "statefulset/postgres"): Flight(TUNNEL, "r2", NOON - 601)}
    turns = decide(TUNNEL, groups_of([member("a")]), flights, {}, LIMITS, NOON)
    assert (turns.start, turns.ended, turns.moving.stuck) == ((), (), ("statefulset/postgres",))


def test_a_new_change_gives_a_stuck_workload_another_try() -> None:
    flights = {("shop", "statefulset/postgres"): Flight(TUNNEL, "r1", NOON - 601)}
    turns = decide(TUNNEL, groups_of([member("a")]), flights, {}, LIMITS, NOON)
    assert [one.name for one in turns.start] == ["statefulset/postgres"]


def test_an_eviction_has_landed_when_its_successor_is_ready() -> None:
    flight = {("shop", "statefulset/postgres"): Flight(TUNNEL, "r2", NOON - 20, pod_uid="uid-a-0", size=2)}
    waiting = groups_of([member("a-1"), member("a-2", "UpToDate", ready=False)])
    assert decide(TUNNEL, waiting, flight, {}, LIMITS, NOON).ended == ()
    done = groups_of([member("a-1"), member("a-2", "UpToDate")])
    turns = decide(TUNNEL, done, flight, {}, LIMITS, NOON)
    assert turns.ended
    assert [one.name for one in turns.start] == ["statefulset/postgres"]


def test_bare_pods_and_pods_of_jobs_never_move() -> None:
    bare = member("bare", owner=None)
    job = member("job", owner=Owner("batch/v1", "Job", "nightly", "u"))
    assert groups_of([bare, job]) == ()


def test_pain_33_any_kind_of_owner_counts_as_a_workload() -> None:
    rollout = pod(owner=Owner("apps/v1", "ReplicaSet", "canary-7f9", "u"), labels={"rollouts-pod-template-hash": "7f9"})
    clone = pod(owner=Owner("apps.kruise.io/v1alpha1", "CloneSet", "workers", "u"))
    assert [workload_of(one) for one in (rollout, clone)] == ["replicaset/canary-7f9", "cloneset/workers"]


def test_a_deployment_is_known_by_the_hash_of_its_pods() -> None:
    one = pod(owner=Owner("apps/v1", "ReplicaSet", "api-5d4f", "u"), labels={"pod-template-hash": "5d4f"})
    assert workload_of(one) == "deployment/api"
    assert restart([one]) == "`kubectl -n shop rollout restart deployment/api`"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["UpToDate", "Outdated", "NotInjected", "Clash"])),
        max_size=12,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_no_more_than_the_limits_ever_move(
    pods: list[tuple[str, Standing]], mine: int, cluster: int, others: int
) -> None:
    members = [member(f"{app}-{n}", standing, app=app) for n, (app, standing) in enumerate(pods)]
    flights = {("other", f"deployment/{n}"): Flight("other/x", "r", NOON) for n in range(others)}
    turns = decide(TUNNEL, groups_of(members), flights, {}, Limits(mine, cluster, 600), NOON)
    assert len(turns.start) <= max(0, min(mine, cluster - others))
    assert all(one.strays for one in turns.start)


def test_a_workload_that_is_deleted_on_its_way_gives_its_turn_back() -> None:
    flights = {("shop", "statefulset/gone"): Flight(TUNNEL, "r2", NOON - 5)}
    turns = decide(TUNNEL, groups_of([member("a")]), flights, {}, LIMITS, NOON)
    assert turns.ended == (("shop", "statefulset/gone"),)
    assert [one.name for one in turns.start] == ["statefulset/postgres"]
