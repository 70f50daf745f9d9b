"""RestartWorkloads stamps pod templates, EvictPods evicts: a few at a time, never against a budget, never a Job."""

import asyncio
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import rfc3339
from support.kube_api import Trouble
from support.operator_stage import Stage
from support.tunnel_resources import NOON, pod_raw, space_raw, tunnel_raw

WANTED = "wanted"


def owner(name: str = "postgres", kind: str = "StatefulSet") -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name}


def put_pod(stage: Stage, pod: str, *, revision: str = "", made: float = NOON - 3600, **owned: Any) -> None:
    """A pod; the revision `WANTED` is the current one."""
    raw = pod_raw(pod, revision=current(stage) if revision == WANTED else revision, owner=owner(**owned))
    raw["metadata"]["creationTimestamp"] = rfc3339(made)
    stage.store.put(raw)


def current(stage: Stage) -> str:
    """The revision that a server pod should have now."""
    stage.see()
    stage.reconciler._expectations.refresh()
    view_pod = next(iter(stage.view.pods["shop"].values()), None)
    assert view_pod is not None
    return stage.reconciler._expectations.of(view_pod).revision


def put_workload(stage: Stage, name: str = "postgres", kind: str = "StatefulSet", namespace: str = "shop") -> None:
    template = {"metadata": {"labels": {"app": "postgres"}}, "spec": {"containers": [{"name": "app"}]}}
    metadata = {"name": name, "namespace": namespace}
    stage.store.put({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}})


def stamp(stage: Stage, name: str = "postgres", plural: str = "statefulsets") -> str:
    template = stage.store.objects[Ref(plural, "shop", name)]["spec"]["template"]["metadata"]
    return str((template.get("annotations") or {}).get(names.RESTART_ANNOTATION, ""))


def staged(strategy: str, **rollout: Any) -> Stage:
    stage = Stage()
    stage.tunnel(tunnel_raw(clients=[], rollout={"strategy": strategy, **rollout}))
    put_workload(stage)
    return stage


def look(stage: Stage) -> float | None:
    return asyncio.run(stage.look())


def test_on_pod_start_touches_nothing() -> None:
    stage = staged("OnPodStart")
    put_pod(stage, "postgres-0")
    look(stage)
    assert stamp(stage) == ""
    assert stage.has("pods", "postgres-0")


def test_a_workload_is_stamped_with_the_wanted_revision_and_only_there() -> None:
    stage = staged("RestartWorkloads")
    put_pod(stage, "postgres-0")
    before = stage.store.objects[Ref("statefulsets", "shop", "postgres")]["spec"]["template"]["spec"]
    look(stage)
    assert stamp(stage) == current(stage)
    assert stage.store.objects[Ref("statefulsets", "shop", "postgres")]["spec"]["template"]["spec"] == before
    assert "statefulset/postgres under way" in stage.condition("PodsReady")[2]


def test_pain_12_the_stamp_has_a_key_and_a_manager_of_its_own() -> None:
    """So that whoever applies the workload from a repository does not take it away with fields of theirs."""
    stage = staged("RestartWorkloads")
    put_pod(stage, "postgres-0")
    look(stage)
    assert names.RESTART_ANNOTATION == "mtlstunnel.dev/restart"
    managers = {
        entry["manager"]
        for entry in stage.store.objects[Ref("statefulsets", "shop", "postgres")]["metadata"]["managedFields"]
    }
    assert names.ROLLOUT_MANAGER in managers


def test_pain_12_eviction_changes_no_pod_template() -> None:
    stage = staged("EvictPods")
    put_pod(stage, "postgres-0")
    before = stage.store.objects[Ref("statefulsets", "shop", "postgres")]
    look(stage)
    assert not stage.has("pods", "postgres-0")
    assert stage.store.objects[Ref("statefulsets", "shop", "postgres")] == before


def test_a_workload_that_was_stamped_is_not_stamped_again() -> None:
    stage = staged("RestartWorkloads")
    put_pod(stage, "postgres-0")
    look(stage)
    with stage.quiet():
        look(stage)
        stage.restart()
        look(stage)


def test_the_next_workload_waits_for_the_first() -> None:
    stage = staged("RestartWorkloads")
    put_workload(stage, "zeta")
    put_pod(stage, "postgres-0")
    put_pod(stage, "zeta-0", name="zeta")
    look(stage)
    assert (bool(stamp(stage)), bool(stamp(stage, "zeta"))) == (True, False)
    put_pod(stage, "postgres-0", revision=WANTED, made=NOON + 30)
    look(stage)
    assert stamp(stage, "zeta")


def test_a_new_pod_that_is_outdated_itself_stops_the_rollout_and_is_said() -> None:
    stage = staged("RestartWorkloads")
    put_workload(stage, "zeta")
    put_pod(stage, "zeta-0", name="zeta")
    put_pod(stage, "postgres-0")
    look(stage)
    stage.clock.now += 60
    put_pod(stage, "postgres-1", made=NOON + 45)
    look(stage)
    status, reason, message = stage.condition("PodsReady")
    assert (status, reason) == ("False", "RolloutStuck")
    assert "statefulset/postgres" in message
    assert stamp(stage, "zeta") == ""


def test_a_stuck_rollout_stays_stuck_for_the_next_process() -> None:
    stage = staged("EvictPods")
    put_pod(stage, "postgres-0")
    put_pod(stage, "postgres-1")
    look(stage)
    stage.clock.now += 60
    put_pod(stage, "postgres-0", made=NOON + 45)
    look(stage)
    assert stage.condition("PodsReady")[1] == "RolloutStuck"
    stage.restart()
    stage.clock.now += 600
    with stage.quiet():
        look(stage)
    assert stage.has("pods", "postgres-1")


def test_pods_are_evicted_one_after_the_other() -> None:
    stage = staged("EvictPods")
    for number in range(3):
        put_pod(stage, f"postgres-{number}")
    look(stage)
    look(stage)
    left = [f"postgres-{n}" for n in range(3) if stage.has("pods", f"postgres-{n}")]
    assert len(left) == 2, "the successor of the first is not there yet"
    put_pod(stage, "postgres-0", revision=WANTED, made=NOON + 5)
    look(stage)
    assert len([name for name in left if stage.has("pods", name)]) == 1


def test_a_budget_that_forbids_it_now_is_said_and_asked_again() -> None:
    stage = staged("EvictPods")
    put_pod(stage, "postgres-0")
    stage.store.budget = lambda _: False
    again = look(stage)
    status, reason, message = stage.condition("PodsReady")
    assert (status, reason) == ("False", "PodsNotInjected")
    assert "`kubectl -n shop get poddisruptionbudget`" in message
    assert again is not None
    assert again <= NOON + 15
    stage.store.budget = lambda _: True
    look(stage)
    assert not stage.has("pods", "postgres-0")


@pytest.mark.parametrize("strategy", ["RestartWorkloads", "EvictPods"])
def test_bare_pods_and_jobs_are_left_to_people(strategy: str) -> None:
    stage = staged(strategy)
    bare = pod_raw("bare")
    job = pod_raw("job", owner={"apiVersion": "batch/v1", "kind": "Job", "name": "nightly"})
    stage.store.put(bare)
    stage.store.put(job)
    look(stage)
    assert stage.has("pods", "bare")
    assert stage.has("pods", "job")
    message = stage.condition("PodsReady")[2]
    assert "delete and create pod shop/bare" in message
    assert "job shop/nightly" in message


def test_rights_that_are_missing_are_said() -> None:
    stage = staged("RestartWorkloads")
    put_pod(stage, "postgres-0")
    stage.api.trouble(Trouble(method="PATCH", path=".*/statefulsets/.*", status=403, reason="Forbidden"))
    look(stage)
    assert "may not move statefulset/postgres" in stage.condition("PodsReady")[2]


def test_a_suspended_tunnel_moves_nothing() -> None:
    stage = staged("EvictPods")
    put_pod(stage, "postgres-0")
    raw = tunnel_raw(clients=[], rollout={"strategy": "EvictPods"}, suspend=True)
    stage.tunnel(raw)
    look(stage)
    assert stage.has("pods", "postgres-0")
    assert "the rollout is suspended" in stage.condition("PodsReady")[2]


def test_pain_07_pods_that_came_up_without_sidecar_are_told_and_by_policy_evicted() -> None:
    """While the webhook was away and failurePolicy said Ignore, nobody would notice."""
    stage = staged("OnPodStart")
    put_pod(stage, "postgres-0")
    look(stage)
    assert stage.condition("PodsReady")[:2] == ("False", "PodsNotInjected")
    assert [said.reason for said in stage.said if said.type == "Warning"] == ["PodsNotInjected"]
    stage.tunnel(tunnel_raw(clients=[], rollout={"strategy": "EvictPods"}))
    look(stage)
    assert not stage.has("pods", "postgres-0")


@pytest.mark.parametrize("strategy", ["RestartWorkloads", "EvictPods"])
def test_nothing_is_moved_in_a_namespace_that_has_consented_and_its_owner_is_told(strategy: str) -> None:
    stage = Stage("shop", "bi")
    stage.store.put(space_raw("bi", accepts="shop"))
    client = {
        "name": "reports",
        "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        "namespaces": {"from": "Names", "names": ["bi"]},
        "listeners": [{"port": "pg", "localPort": 5432}],
    }
    stage.tunnel(tunnel_raw(clients=[client], rollout={"strategy": strategy}))
    put_workload(stage)
    put_workload(stage, "payroll", namespace="bi")
    put_pod(stage, "postgres-0")
    stage.store.put(pod_raw("payroll-0", "bi", "payroll", owner=owner("payroll")))
    workload = Ref("statefulsets", "bi", "payroll")
    before = stage.store.objects[workload]
    look(stage)
    assert stage.has("pods", "payroll-0", "bi")
    assert stage.store.objects[workload] == before
    if strategy == "EvictPods":
        assert not stage.has("pods", "postgres-0")
    else:
        assert stamp(stage)
    message = stage.condition("PodsReady")[2]
    assert "statefulset/postgres under way." in message
    assert "their owners type `kubectl -n bi rollout restart statefulset/payroll`" in message


def test_pods_that_a_strategy_does_not_move_are_named_with_their_command() -> None:
    stage = staged("RestartWorkloads")
    put_pod(stage, "postgres-0")
    put_pod(stage, "set-0", name="set", kind="CloneSet")
    look(stage)
    message = stage.condition("PodsReady")[2]
    assert "statefulset/postgres under way. `kubectl -n shop delete pod set-0`." in message
