"""Whoever writes ConfigMaps where clients of another namespace's tunnel run decides nothing about its servers."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired import stamps
from mtls_tunnel_operator.desired.plan import Plan, plan
from mtls_tunnel_operator.desired.staging import MOST_RETAINED, Dial, Served, believed
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import rfc3339
from mtls_tunnel_operator.model.resources import Port
from support.staged_cluster import PROPAGATION, Cluster
from support.tunnel_resources import NOON, tunnel

HOST = "orders-db.shop.svc.cluster.local"
FORGED: dict[str, Any] = {
    "another port": [["pg", 5432, HOST, 80]],
    "many ports": [["pg", number, HOST, number] for number in range(20_000, 20_400)],
    "a huge text": [["pg", 5432, "a", number] for number in range(20_000, 26_000)],
    "nonsense": {"ports": 1},
    "nothing": [],
    "one listener twice": [["pg", 5432, HOST, 15432], ["pg", 5432, HOST, 15432]],
}


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(tunnel(), spaces=("bi", "shop"))
    made.settle()
    return made


def forge(cluster: Cluster, text: str) -> None:
    (there,) = (ref for ref in cluster.objects if ref.namespace == "bi" and ref.plural == "configmaps")
    forged = cluster.objects[there] = deepcopy(cluster.objects[there])  # the sidecars there are the forger's to break
    forged["metadata"]["annotations"][names.DIALED_ANNOTATION] = text


def text_of(made: Plan) -> str:
    return json.dumps([one for one in made.desired if one["metadata"]["namespace"] == "shop"], sort_keys=True)


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_is_claimed_there_changes_nothing_here(cluster: Cluster, forged: object) -> None:
    before = text_of(cluster.reconcile())
    forge(cluster, json.dumps(forged))

    made = cluster.reconcile()

    assert text_of(made) == before
    assert (cluster.served(), cluster.service_ports(HOST)) == ({15432}, {15432})
    cluster.settle()
    assert [(dial.local_port, dial.tls_port) for dial in cluster.dials("api")] == [(5432, 15432)]


@given(st.lists(st.tuples(st.sampled_from(("pg", "x")), st.integers(1, 65535), st.just(HOST), st.integers(1, 65535))))
def test_no_claim_makes_a_port(forged: list[tuple[str, int, str, int]]) -> None:
    cluster = Cluster(tunnel(), spaces=("bi",))
    cluster.settle()
    forge(cluster, json.dumps(forged))
    cluster.change(ports=(Port("pg", 15433, 5432),))

    cluster.reconcile()

    assert cluster.served() <= {15432, 15433}


def test_a_port_that_is_still_dialed_there_is_kept_open_and_closed_afterwards() -> None:
    cluster = Cluster(tunnel(), spaces=("bi",))
    cluster.settle()
    cluster.change(ports=(Port("pg", 15433, 5432),))

    cluster.reconcile()
    assert (cluster.served(), cluster.dials("api")[0].tls_port) == ({15432, 15433}, 15432)

    cluster.settle()
    assert (cluster.served(), cluster.dials("api")[0].tls_port) == ({15433}, 15433)


def test_a_service_there_that_looks_like_ours_holds_up_no_change(cluster: Cluster) -> None:
    """Else one that is made anew every few seconds would count as a Service that DNS does not know yet."""
    lookalike = deepcopy(cluster.objects[Ref("services", "shop", "orders-db")])
    lookalike["metadata"]["namespace"] = "bi"
    cluster.change(ports=(Port("pg", 15433, 5432),))
    began = cluster.now

    while cluster.dials("api")[0].tls_port != 15433:
        lookalike["metadata"]["creationTimestamp"] = rfc3339(cluster.now)
        cluster.objects[Ref("services", "bi", "orders-db")] = lookalike
        cluster.now += 5
        cluster.reconcile()
        assert cluster.now - began < 2 * PROPAGATION


def served(number: int, closing: float | None = None) -> Served:
    return Served(number, 5432, "old", NOON - 1000, (), closing)


def test_ports_that_are_about_to_go_are_counted_and_those_unneeded_for_longest_go_first() -> None:
    cluster = Cluster(tunnel())
    cluster.settle()
    dialed, old = 30_000, [served(20_000 + number, NOON - number / 10) for number in range(200)]
    open_now = (Served(15432, 5432, "pg", clients=(("api", 0.0),)), served(dialed), *old)
    annotate(cluster, "orders-db-mtls-server", names.SERVED_ANNOTATION, stamps.served_text(open_now, {}))
    older = stamps.dialed_text((Dial("pg", 5432, HOST, dialed),))
    annotate(cluster, "orders-db-mtls-client-api", names.DIALED_ANNOTATION, older)

    made = plan(cluster.tunnel, cluster.world, cluster.now)

    (server,) = (one for one in made.desired if one["metadata"]["name"] == "orders-db-mtls-server")
    left = set(stamps.served_of(server["metadata"]["annotations"][names.SERVED_ANNOTATION]))
    assert left == {15432, dialed, *range(20_000, 20_000 + MOST_RETAINED - 1)}


def annotate(cluster: Cluster, name: str, key: str, text: str) -> None:
    cluster.objects[Ref("configmaps", "shop", name)]["metadata"]["annotations"][key] = text


def test_claims_are_believed_for_ports_of_the_resource_and_for_open_ones() -> None:
    dials = [Dial("pg", local, HOST, number) for local, number in ((1, 15432), (2, 16000), (3, 80), (1, 16000))]

    found = believed(tunnel(), dials, [{16000: served(16000)}])

    assert {(dial.local_port, dial.tls_port) for dial in found} == {(1, 16000), (2, 16000)}
