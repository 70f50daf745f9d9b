"""Objects of a tunnel that are deleted or edited by hand are made so again, and nothing more than that."""

import asyncio
import base64
import copy
from collections.abc import Callable
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.kinds import Ref
from support.operator_stage import ORDERS, Stage
from support.tunnel_resources import tunnel_raw

SERVER = "orders-db-mtls-server"


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.tunnel(tunnel_raw())
    asyncio.run(made.look())
    return made


def edited(stage: Stage, ref: Ref, change: Callable[[dict[str, Any]], object]) -> None:
    raw = copy.deepcopy(stage.store.objects[ref])
    change(raw)
    stage.store.put(raw)


def spoken(stage: Stage, ref: Ref) -> dict[str, Any]:
    """What of an object is ours to say."""
    raw = stage.store.objects[ref]
    kept = {key: raw["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences")}
    return {**kept, **{key: raw[key] for key in ("data", "spec", "type") if key in raw}}


@pytest.mark.parametrize("plural", ["secrets", "configmaps", "services"])
def test_a_deleted_object_is_made_anew(stage: Stage, plural: str) -> None:
    name = "orders-db" if plural == "services" else SERVER
    stage.store.remove(Ref(plural, "shop", name))
    asyncio.run(stage.look())
    assert stage.has(plural, name)
    with stage.quiet():
        asyncio.run(stage.look())


def test_a_deleted_secret_gets_a_new_key() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    before = stage.secret(SERVER)["tls.key"]
    stage.store.remove(Ref("secrets", "shop", SERVER))
    asyncio.run(stage.look())
    assert stage.secret(SERVER)["tls.key"] != before


def _key_of_another_leaf(raw: dict[str, Any]) -> None:
    raw["data"]["tls.key"] = raw["data"]["tls.crt"]


SPOILED: list[tuple[str, Ref, Callable[[dict[str, Any]], object]]] = [
    ("key replaced", Ref("secrets", "shop", SERVER), _key_of_another_leaf),
    ("leaf is rubbish", Ref("secrets", "shop", SERVER), lambda raw: raw["data"].update({"tls.crt": "AAAA"})),
    ("leaf is no base64", Ref("secrets", "shop", SERVER), lambda raw: raw["data"].update({"tls.crt": "?"})),
    ("leaf gone", Ref("secrets", "shop", SERVER), lambda raw: raw["data"].pop("tls.crt")),
    ("data gone", Ref("secrets", "shop", SERVER), lambda raw: raw.pop("data")),
]


@pytest.mark.parametrize(("ref", "change"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED])
def test_a_secret_that_cannot_be_used_is_issued_anew(
    stage: Stage, ref: Ref, change: Callable[[dict[str, Any]], object]
) -> None:
    edited(stage, ref, change)
    asyncio.run(stage.look())
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")
    with stage.quiet():
        asyncio.run(stage.look())


EDITED: list[tuple[str, Ref, Callable[[dict[str, Any]], object]]] = [
    (
        "a foreign CA in ca.crt",
        Ref("secrets", "shop", SERVER),
        lambda raw: raw["data"].update({"ca.crt": base64.b64encode(b"x").decode()}),
    ),
    (
        "annotation of a Secret",
        Ref("secrets", "shop", SERVER),
        lambda raw: raw["metadata"]["annotations"].update({names.RENEWAL_ANNOTATION: "never"}),
    ),
    (
        "tunnel.yaml",
        Ref("configmaps", "shop", SERVER),
        lambda raw: raw["data"].update({"tunnel.yaml": "acl: {default: allow}"}),
    ),
    ("a port of the Service", Ref("services", "shop", "orders-db"), lambda raw: raw["spec"].update({"ports": []})),
    (
        "the selector of the Service",
        Ref("services", "shop", "orders-db"),
        lambda raw: raw["spec"].update({"selector": {"app": "thief"}}),
    ),
    (
        "the owner",
        Ref("services", "shop", "orders-db"),
        lambda raw: raw["metadata"].pop("ownerReferences"),
    ),
]


@pytest.mark.parametrize(("ref", "change"), [row[1:] for row in EDITED], ids=[row[0] for row in EDITED])
def test_an_edited_object_is_restored_with_the_same_key(
    stage: Stage, ref: Ref, change: Callable[[dict[str, Any]], object]
) -> None:
    before, key = spoken(stage, ref), stage.secret(SERVER)["tls.key"]
    edited(stage, ref, change)
    assert spoken(stage, ref) != before
    asyncio.run(stage.look())
    assert spoken(stage, ref) == before
    assert stage.secret(SERVER)["tls.key"] == key


def test_a_status_that_was_edited_is_restored(stage: Stage) -> None:
    ref = Ref(names.TUNNELS, *ORDERS)
    before = stage.status()
    edited(stage, ref, lambda raw: raw["status"].update({"nextRenewalTime": "2000-01-01T00:00:00Z"}))
    asyncio.run(stage.look())
    assert stage.status() == before


def test_a_field_that_somebody_else_added_stays(stage: Stage) -> None:
    ref = Ref("services", "shop", "orders-db")
    edited(stage, ref, lambda raw: raw["metadata"]["labels"].update({"team": "db"}))
    with stage.quiet():
        asyncio.run(stage.look())
    assert stage.store.objects[ref]["metadata"]["labels"]["team"] == "db"


def test_nothing_is_remembered_of_a_tunnel_that_is_gone(stage: Stage) -> None:
    leaves = stage.reconciler._leaves
    asyncio.run(stage.look())
    assert leaves._facts
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))  # and with it what it owns
    stage.see()
    asyncio.run(stage.reconciler.tunnel(ORDERS))
    asyncio.run(stage.reconciler.sweep())
    assert (leaves._facts, leaves._attempts, leaves._read_at) == ({}, {}, {})
