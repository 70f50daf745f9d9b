"""rollout.strategy: what happens to running pods when what is injected changes; and what Block adds to a tunnel."""

from collections.abc import Callable
from typing import Any

import pytest

from mtls_tunnel_operator import names
from support.kube import Kube
from support.shop import Shop, annotations


def uids(shop: Shop) -> set[str]:
    return {pod["metadata"]["uid"] for app in ("orders-db", "orders-api") for pod in shop.pods(app)}


def revisions(shop: Shop) -> set[str]:
    pods = [pod for app in ("orders-db", "orders-api") for pod in shop.pods(app)]
    return {annotations(pod).get(names.REVISION_ANNOTATION, "") for pod in pods}


def with_memory(amount: str, strategy: str) -> Callable[[dict[str, Any]], None]:
    def change(spec: dict[str, Any]) -> None:
        requests = {"cpu": "10m", "memory": amount}
        spec["proxy"] = {"resources": {"requests": requests, "limits": {"memory": "256Mi"}}}
        spec["rollout"] = {"strategy": strategy, "maxConcurrentWorkloads": 2}

    return change


@pytest.mark.parametrize("strategy", ["RestartWorkloads", "EvictPods"])
def test_outdated_pods_are_replaced_as_the_strategy_says(
    cluster: Kube, new_shop: Callable[[], Shop], strategy: str
) -> None:
    shop = new_shop()
    shop.open(with_memory("40Mi", strategy))
    old_pods, old_revisions = uids(shop), revisions(shop)

    cluster.apply(shop.tunnel(with_memory("48Mi", strategy)), namespace=shop.name)

    cluster.wait(lambda: uids(shop).isdisjoint(old_pods), "all pods are new", shop.name, seconds=300)
    cluster.wait(lambda: revisions(shop).isdisjoint(old_revisions), "all pods have the new revision", shop.name)
    cluster.wait_condition("mtt", "orders-db", "PodsReady", shop.name)
    template = cluster.get("deployment", "orders-db", shop.name)["spec"]["template"]
    stamped = names.RESTART_ANNOTATION in template["metadata"].get("annotations", {})
    assert stamped == (strategy == "RestartWorkloads")  # pain 12: EvictPods leaves the template alone


def test_stateful_sets_and_daemon_sets_are_restarted_too(cluster: Kube, new_shop: Callable[[], Shop]) -> None:
    shop = new_shop()
    shop.open(with_memory("40Mi", "RestartWorkloads"))
    kinds = ("StatefulSet", "DaemonSet")
    cluster.apply(*(shop.client_as(kind) for kind in kinds), namespace=shop.name)
    for kind in kinds:
        cluster.wait_ready(shop.name, f"kind={kind}")
    old_pods = {pod["metadata"]["uid"] for pod in cluster.items("pods", shop.name, "kind")}

    cluster.apply(shop.tunnel(with_memory("48Mi", "RestartWorkloads")), namespace=shop.name)

    def all_new() -> bool:
        pods = cluster.items("pods", shop.name, "kind")
        return len(pods) == len(kinds) and all(pod["metadata"]["uid"] not in old_pods for pod in pods)

    cluster.wait(all_new, "their pods are new", shop.name, seconds=300)
    cluster.wait_condition("mtt", "orders-db", "PodsReady", shop.name)


def test_what_a_changed_resource_no_longer_wants_is_removed(cluster: Kube, new_shop: Callable[[], Shop]) -> None:
    shop = new_shop()
    shop.open()

    def others_dial(spec: dict[str, Any]) -> None:
        spec["server"]["workload"]["service"] = {"policy": "None", "address": "orders-db.example"}
        del spec["clients"]

    cluster.apply(shop.tunnel(others_dial), namespace=shop.name)

    unwanted = (
        ("service", "orders-db"),
        ("configmap", "orders-db-mtls-client-api"),
        ("secret", "orders-db-mtls-client-api"),
    )

    def gone() -> bool:
        return not any(cluster.get(kind, name, shop.name) for kind, name in unwanted)

    cluster.wait(gone, "what nobody wants is gone", shop.name)


def test_pain_27_by_default_nothing_that_runs_is_touched(cluster: Kube, new_shop: Callable[[], Shop]) -> None:
    shop = new_shop()
    shop.open(with_memory("40Mi", "OnPodStart"))
    before = uids(shop)

    cluster.apply(shop.tunnel(with_memory("48Mi", "OnPodStart")), namespace=shop.name)
    cluster.wait_condition("mtt", "orders-db", "PodsReady", shop.name, status="False")

    conditions = cluster.get("mtt", "orders-db", shop.name)["status"]["conditions"]
    (ready,) = (one for one in conditions if one["type"] == "PodsReady")
    assert ready["reason"] == "PodsOutdated"
    assert uids(shop) == before


def test_pain_23_block_adds_a_network_policy_and_permit_takes_it_away(
    cluster: Kube, new_shop: Callable[[], Shop]
) -> None:
    """Whether it is enforced is up to the network plugin; that it says the right thing is up to us."""
    shop = new_shop()
    shop.open(lambda spec: spec["server"].update(plaintextPolicy="Block"))

    (policy,) = cluster.wait(lambda: cluster.items("networkpolicies", shop.name), "a NetworkPolicy", shop.name)
    ranges = [
        (port["port"], port.get("endPort", port["port"]))
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
        if port["protocol"] == "TCP" and "port" in port
    ]
    assert not any(low <= 5432 <= high for low, high in ranges)
    assert all(any(low <= port <= high for low, high in ranges) for port in (1, 5431, 5433, 15432, 65535))

    cluster.apply(shop.tunnel(), namespace=shop.name)
    cluster.wait(lambda: not cluster.items("networkpolicies", shop.name), "no NetworkPolicy", shop.name)
