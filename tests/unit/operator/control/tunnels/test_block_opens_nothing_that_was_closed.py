"""plaintextPolicy Block beside policies of others, whatever pods are there: policies add up, and ours opens no port."""

import asyncio
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired.network import closes
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Key
from support.operator_stage import ORDERS, Stage
from support.tunnel_resources import pod_raw, space_raw, tunnel_raw

TLS_ONLY = [{"protocol": "TCP", "port": 15432}]


def policy_of_others(selector: dict[str, Any], name: str = "default-deny") -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"]},
    }


def blocking(name: str = "orders-db", target: int = 5432, app: str = "postgres", **spec: Any) -> dict[str, Any]:
    server = {
        "workload": {"selector": {"matchLabels": {"app": app}}},
        "ports": [{"name": "pg", "targetPort": target, "tlsPort": 10_000 + target}],
        "plaintextPolicy": "Block",
    }
    return tunnel_raw(name, server=server, **{"clients": [], **spec})


def policy(stage: Stage, name: str = "orders-db") -> dict[str, Any]:
    return stage.store.objects.get(Ref("networkpolicies", "shop", f"{name}-mtls"), {})


def opened(stage: Stage, name: str = "orders-db") -> list[dict[str, Any]]:
    return list(policy(stage, name)["spec"]["ingress"][0]["ports"])


def look(stage: Stage, *keys: Key) -> None:
    for key in keys or (ORDERS,):
        asyncio.run(stage.look(key))


def opted_out() -> dict[str, Any]:
    raw = pod_raw("postgres-0")
    raw["metadata"]["labels"][names.INJECT_LABEL] = "false"
    return raw


PODS: dict[str, list[dict[str, Any]]] = {
    "an ordinary pod": [pod_raw("postgres-0")],
    "no pod yet": [],
    "a pod that opted out": [opted_out()],
}


@pytest.mark.parametrize("pods", PODS.values(), ids=PODS)
def test_a_default_deny_stays_one_whatever_pods_there_are(pods: list[dict[str, Any]]) -> None:
    stage = Stage()
    stage.store.put(policy_of_others({}))
    for raw in pods:
        stage.store.put(raw)
    stage.tunnel(blocking())
    look(stage)
    assert opened(stage) == TLS_ONLY
    status, reason, message = stage.condition("PlaintextBlocked")
    assert (status, reason) == ("Unknown", "ForeignPolicy")
    assert "NetworkPolicy default-deny may select the same pods" in message
    assert "ours allows only the TLS ports" in message


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({"matchLabels": {"app": "redis"}}, "NetworkPolicyApplied", id="apart"),
        pytest.param({"matchLabels": {"tier": "back"}}, "ForeignPolicy", id="another label"),
        pytest.param({"matchExpressions": [{"key": "a", "operator": "Near"}]}, "ForeignPolicy", id="unreadable"),
    ],
)
def test_a_policy_of_others_counts_unless_it_is_certainly_about_other_pods(
    selector: dict[str, Any], expected: str
) -> None:
    stage = Stage()
    stage.store.put(policy_of_others(selector))
    stage.tunnel(blocking())
    look(stage)
    assert stage.condition("PlaintextBlocked")[1] == expected
    assert (opened(stage) == TLS_ONLY) == (expected == "ForeignPolicy")


def test_where_nothing_is_injected_no_policy_is_made_and_that_is_said() -> None:
    stage = Stage()
    stage.store.put(space_raw("shop", enabled=False))
    stage.store.put(pod_raw("postgres-0"))
    stage.store.put(policy_of_others({}))
    stage.tunnel(blocking())
    look(stage)
    assert policy(stage) == {}
    status, reason, message = stage.condition("PlaintextBlocked")
    assert (status, reason) == ("False", "NamespaceNotEnabled")
    assert "default-deny" in message
    with stage.quiet():
        look(stage)


def test_a_policy_that_is_there_outlives_the_label_and_is_kept_up() -> None:
    """Pods go on with their sidecar, and their plaintext port must not open behind them."""
    stage = Stage()
    stage.tunnel(blocking())
    look(stage)
    stage.store.put(space_raw("shop", enabled=False))
    look(stage)
    assert closes(policy(stage), [5432])
    assert stage.condition("PlaintextBlocked")[:2] == ("True", "NetworkPolicyApplied")

    stage.store.put(policy_of_others({}))
    look(stage)
    assert opened(stage) == TLS_ONLY

    stage.tunnel(tunnel_raw(clients=[]))
    look(stage)
    assert policy(stage) == {}


@pytest.mark.parametrize("pods", PODS.values(), ids=PODS)
def test_two_tunnels_whose_selectors_may_meet_leave_each_others_port_closed(pods: list[dict[str, Any]]) -> None:
    stage = Stage()
    for raw in pods:
        stage.store.put(raw)
    one, two = stage.tunnel(blocking("one", 5432)), stage.tunnel(blocking("two", 9000))
    apart = stage.tunnel(blocking("apart", 7000, app="redis"))
    permitting = blocking("permitting", 8000)
    permitting["spec"]["server"]["plaintextPolicy"] = "Permit"
    stage.tunnel(permitting)
    look(stage, one, two, apart)
    for name in ("one", "two"):
        assert closes(policy(stage, name), [5432, 9000])
        assert not closes(policy(stage, name), [7000])
        assert not closes(policy(stage, name), [8000])
    assert not closes(policy(stage, "apart"), [5432])


def test_a_suspended_tunnel_says_what_is_true_of_its_policy() -> None:
    stage = Stage()
    stage.tunnel(blocking(suspend=True))
    look(stage)
    assert stage.condition("PlaintextBlocked")[:2] == ("Unknown", "Unverified")

    stage.tunnel(blocking())
    look(stage)
    stage.tunnel(blocking(suspend=True))
    look(stage)
    assert stage.condition("PlaintextBlocked")[:2] == ("True", "NetworkPolicyApplied")

    stage.store.put(policy_of_others({}))
    look(stage)
    status, reason, message = stage.condition("PlaintextBlocked")
    assert (status, reason) == ("Unknown", "ForeignPolicy")
    assert "may open what theirs close" in message

    stage.tunnel(blocking(target=5433, suspend=True))
    look(stage)
    assert stage.condition("PlaintextBlocked")[:2] == ("Unknown", "Unverified")
