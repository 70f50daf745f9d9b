"""plaintextPolicy Block: every port but the application's stays open, and no default-deny is undone."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_tunnel_operator.desired import network
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.model.kinds import ref_of
from mtls_tunnel_operator.model.selectors import selector_of
from support.tunnel_resources import NOON, tunnel, tunnel_raw

LAST = 65535


def opened(policies: Iterable[dict[str, Any]], port: int, protocol: str = "TCP") -> bool:
    """What the API says of policies that select one pod: whatever any of them allows."""
    return any(
        rule["protocol"] == protocol
        and ("port" not in rule or rule["port"] <= port <= rule.get("endPort", rule["port"]))
        for policy in policies
        for ingress in policy["spec"]["ingress"]
        for rule in ingress["ports"]
    )


@given(st.sets(st.integers(1, LAST), min_size=1, max_size=20))
@example({1})
@example({LAST})
@example({1, 2, LAST - 1, LAST})
@example({5432, 5433, 5435})
def test_pain_23_the_application_cannot_be_reached_around_the_tunnel(closed: set[int]) -> None:
    policy = network.network_policy(tunnel(), closed)

    for port in {edge for one in closed for edge in (one - 1, one, one + 1)} - {0, LAST + 1}:
        assert opened([policy], port) == (port not in closed) != network.closes(policy, [port])
    for rule in policy["spec"]["ingress"][0]["ports"]:
        assert rule.get("port", 1) <= rule.get("endPort", rule.get("port", 1))
    assert opened([policy], min(closed), "UDP")
    assert opened([policy], min(closed), "SCTP")
    assert policy["spec"]["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize(
    "rule",
    [{}, {"ports": []}, {"ports": [{"port": "http"}]}, {"ports": [{"port": 5000, "endPort": 6000}]}],
    ids=["all", "no ports", "by name", "range"],
)
def test_a_policy_that_somebody_has_changed_counts_as_open_where_it_may_be(rule: dict[str, Any]) -> None:
    policy = network.network_policy(tunnel(), [5432])
    assert not network.closes({**policy, "spec": {**policy["spec"], "ingress": [rule]}}, [5432])


def blocking(name: str, target: int, **world: Any) -> dict[str, Any]:
    raw = tunnel_raw()["spec"]["server"]
    server = {**raw, "plaintextPolicy": "Block", "ports": [{"name": "p", "targetPort": target, "tlsPort": 15432}]}
    made = plan(tunnel(name, server=server, clients=[]), World(Peers("cluster.local"), **world), NOON)
    return next(one for one in made.desired if one["kind"] == "NetworkPolicy")


def test_two_tunnels_that_share_a_pod_do_not_open_each_others_port() -> None:
    shared = frozenset({5432, 6379})

    both = [blocking("one", 5432, blocked_ports=shared), blocking("two", 6379, blocked_ports=shared)]

    assert [opened(both, port) for port in (5432, 6379, 15432, 80)] == [False, False, True, True]


def test_where_somebody_elses_policy_closes_pods_only_the_tls_ports_are_opened() -> None:
    policy = blocking("one", 5432, foreign_policies=("default-deny",))

    assert policy["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 15432}]}]


def test_permit_makes_no_policy_and_block_turned_off_removes_it() -> None:
    policy = blocking("one", 5432)
    there = World(Peers("cluster.local"), objects={ref_of(policy): policy})

    assert [ref.plural for ref in plan(tunnel("one"), there, NOON).delete] == ["networkpolicies"]


@pytest.mark.parametrize(
    "selector",
    [
        {
            "matchLabels": {"app": "redis"},
            "matchExpressions": [{"key": "role", "operator": "NotIn", "values": ["b", "a"]}],
        },
        {"matchExpressions": [{"key": "x", "operator": "Exists"}, {"key": "a", "operator": "DoesNotExist"}]},
    ],
)
def test_a_selector_survives_being_written(selector: dict[str, Any]) -> None:
    compiled = selector_of(selector)

    written = network.label_selector(compiled)

    assert set(selector_of(written).requirements) == set(compiled.requirements)
    assert network.label_selector(selector_of(written)) == written


def test_prometheus_finds_the_sidecars_by_the_name_of_their_port() -> None:
    made = tunnel(observability={"podMonitor": "Managed"})

    with_kind = plan(made, World(Peers("cluster.local"), pod_monitors=True), NOON).apply
    without = plan(made, World(Peers("cluster.local")), NOON).apply

    (monitor,) = (one for one in with_kind if one["kind"] == "PodMonitor")
    assert monitor["spec"] == {
        "selector": {"matchLabels": {"server.mtlstunnel.dev/orders-db": "true"}},
        "podMetricsEndpoints": [{"port": "mtls-admin", "path": "/metrics"}],
    }
    assert "PodMonitor" not in {one["kind"] for one in without}
