"""Clients in other namespaces: with consent they get copies, without it the copies go, and nothing is left behind."""

import asyncio
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import leaf
from mtls_tunnel_operator.errors import ApiError
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import Trouble
from support.operator_stage import ORDERS, Stage
from support.tunnel_resources import space_raw, tunnel_raw

REPORTS = {
    "name": "reports",
    "namespaces": {"from": "Names", "names": ["bi"]},
    "selector": {"matchLabels": {"app": "report"}},
    "listeners": [{"port": "pg", "localPort": 5432}],
}


def copies(stage: Stage) -> list[tuple[str, str]]:
    return sorted((ref.plural, ref.name) for ref in stage.store.objects if ref.namespace == "bi")


@pytest.fixture
def stage() -> Stage:
    made = Stage("shop", "bi")
    made.store.put(space_raw("bi", accepts="shop"))
    made.tunnel(tunnel_raw(uid="u1", clients=[REPORTS]))
    asyncio.run(made.look())
    return made


def test_a_consenting_namespace_gets_a_secret_and_a_config_map_without_an_owner_reference(stage: Stage) -> None:
    assert [plural for plural, _ in copies(stage)] == ["configmaps", "secrets"]
    for plural, name in copies(stage):
        metadata = stage.store.objects[Ref(plural, "bi", name)]["metadata"]
        assert metadata.get("ownerReferences") is None
        assert metadata["labels"][names.OWNER_LABEL] == "u1"
    facts = leaf.read(stage.secret(copies(stage)[1][1], "bi")["tls.crt"])
    assert facts.names.uri.startswith("spiffe://cluster.local/ns/bi/")


def test_consent_that_is_taken_back_takes_the_copies_away(stage: Stage) -> None:
    stage.store.put(space_raw("bi"))
    asyncio.run(stage.look())
    assert copies(stage) == []
    assert stage.condition("Accepted")[1] == "ReferenceNotPermitted"


def test_a_namespace_that_is_not_labelled_any_more_loses_them_as_well(stage: Stage) -> None:
    stage.store.put(space_raw("bi", enabled=False, accepts="shop"))
    asyncio.run(stage.look())
    assert copies(stage) == []


def test_a_client_that_is_removed_loses_its_copies(stage: Stage) -> None:
    stage.tunnel(tunnel_raw(uid="u1", clients=[]))
    asyncio.run(stage.look())
    assert copies(stage) == []


def test_a_deleted_tunnel_takes_its_copies_along(stage: Stage) -> None:
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    asyncio.run(stage.look())
    assert copies(stage) == []


def test_pain_29_what_a_stopped_operator_missed_is_found_at_its_next_start(stage: Stage) -> None:
    """No finalizer holds the tunnel or its namespace while the operator is away."""
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    assert not stage.has(names.TUNNELS, "orders-db")
    assert copies(stage) != []
    stage.restart()
    stage.see()
    assert asyncio.run(stage.reconciler.sweep()) == 2
    assert copies(stage) == []


def test_a_tunnel_that_the_view_lacks_by_mistake_keeps_its_copies(stage: Stage) -> None:
    stage.see()
    stage.view.drop(Ref(names.TUNNELS, *ORDERS))
    assert asyncio.run(stage.reconciler.sweep()) == 0
    assert len(copies(stage)) == 2


def test_an_api_server_that_does_not_answer_is_no_proof_either(stage: Stage) -> None:
    stage.see()
    stage.view.drop(Ref(names.TUNNELS, *ORDERS))
    stage.api.trouble(Trouble(method="GET", path=".*/mtlstunnels/.*", status=500, times=9))
    assert asyncio.run(stage.reconciler.sweep()) == 0
    assert len(copies(stage)) == 2


def test_a_tunnel_made_anew_under_the_same_name_replaces_the_copies_of_the_old_one(stage: Stage) -> None:
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    stage.tunnel(tunnel_raw(uid="u2", clients=[REPORTS]))
    asyncio.run(stage.look())
    owners = {
        stage.store.objects[Ref(plural, "bi", name)]["metadata"]["labels"][names.OWNER_LABEL]
        for plural, name in copies(stage)
    }
    assert owners == {"u2"}
    assert stage.condition("Accepted")[1] == "Accepted"


def test_copies_that_cannot_be_deleted_now_are_tried_again(stage: Stage) -> None:
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    stage.api.trouble(Trouble(method="DELETE", status=500, times=3))
    with pytest.raises(ApiError):
        asyncio.run(stage.look())
    asyncio.run(stage.look())
    assert copies(stage) == []


def test_with_secrets_read_by_name_only_the_secret_goes_with_its_config_map() -> None:
    stage = Stage("shop", "bi", unwatched=("secrets",))
    stage.store.put(space_raw("bi", accepts="shop"))
    stage.tunnel(tunnel_raw(uid="u1", clients=[REPORTS]))
    asyncio.run(stage.look())
    assert len(copies(stage)) == 2
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    stage.restart()
    asyncio.run(stage.look())
    assert copies(stage) == []


def test_a_secret_of_somebody_else_in_that_namespace_stays(stage: Stage) -> None:
    foreign: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": "bi"}}
    stage.store.put(foreign)
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    asyncio.run(stage.look())
    assert copies(stage) == [("secrets", "own")]


def test_a_name_that_is_taken_over_there_keeps_nothing_here_from_being_changed() -> None:
    """Else whoever may write in a client's namespace could keep the owner from narrowing the ACL."""
    stage = Stage("shop", "bi")
    stage.store.put(space_raw("bi", accepts="shop"))
    stage.tunnel(tunnel_raw(uid="u1", clients=[REPORTS]))
    asyncio.run(stage.look())
    for plural, name in copies(stage):
        raw = stage.store.objects[Ref(plural, "bi", name)]
        stage.store.put({**raw, "metadata": {**raw["metadata"], "labels": {"team": "bi"}}})
    allow = [{"name": "ops", "spiffeIDs": ["spiffe://cluster.local/ns/ops/sa/ops"]}]
    stage.tunnel(tunnel_raw(uid="u1", clients=[REPORTS], authorization={"allow": allow}))
    asyncio.run(stage.look())
    assert stage.condition("Accepted")[:2] == ("False", "NameConflict")
    config = stage.store.objects[Ref("configmaps", "shop", "orders-db-mtls-server")]["data"]["tunnel.yaml"]
    assert "spiffe://cluster.local/ns/ops/sa/ops" in config
