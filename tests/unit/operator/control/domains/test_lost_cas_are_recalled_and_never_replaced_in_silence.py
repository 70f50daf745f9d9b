"""CAs whose key or Secret is gone or damaged: recalled from what is left, and no other one comes in silence."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority.rotation import Holders, Origin
from mtls_tunnel_operator.control.domains.sources import Found
from mtls_tunnel_operator.control.domains.steps import Steps
from mtls_tunnel_operator.control.domains.store import DomainStore
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from support.trust_domains import FAST, HOME, World, at_rest, corp, sign, started


def test_a_ca_key_that_is_gone_leads_to_a_rotation_and_never_to_a_silent_new_root() -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        world.delete("secrets", "default-ca-1")
        await world.look()

        signer = world.domains.signer("")
        assert signer.fingerprints[0] == old
        assert len(signer.bundle) == 2
        assert world.condition("CAReady")[:2] == ("False", "CAKeyMissing")
        assert world.condition("Ready")[:2] == ("False", "CAKeyMissing")
        with pytest.raises(AuthorityError, match="is gone"):
            sign(world)
        assert [issuer for issuer, _ in world.held()] == [old, old]  # leaves stay as they are

        await at_rest(world)
        assert old not in world.cas()
        assert world.condition("Ready")[0] == "True"
        assert ("Warning", "CAKeyMissing") in [one[:2] for one in world.events.said]

    asyncio.run(story())


def test_the_leaves_still_say_whom_they_trust_when_everything_else_is_gone() -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        world.delete("secrets", "default-ca-1")
        world.delete("configmaps", "default-bundle")
        world.start()
        await world.look()

        assert world.domains.signer("").fingerprints[0] == old
        assert world.condition("CAReady")[1] == "CAKeyMissing"
        await at_rest(world)

    asyncio.run(story())


CA_SECRET = ("secrets", "default-ca-1")
BUNDLE = ("configmaps", "default-bundle")


@pytest.mark.parametrize(
    ("lost", "asked"),
    [
        pytest.param([], 0, id="nothing is gone"),
        pytest.param([CA_SECRET], 0, id="the CA is gone"),
        pytest.param([BUNDLE], 0, id="the bundle is gone"),
        pytest.param([CA_SECRET, BUNDLE], 1, id="both are gone"),
    ],
)
def test_the_leaves_are_asked_only_where_everything_else_is_gone(lost: list[tuple[str, str]], asked: int) -> None:
    """To find them is a look at every Secret that the operator knows."""

    async def story() -> int:
        world = await started()
        for plural, name in lost:
            world.delete(plural, name)
        times = 0

        def leaves() -> Sequence[dict[str, Any]]:
            nonlocal times
            times += 1
            return world.store.of("secrets", "shop")

        steps = Steps(DomainStore(world.api, HOME), now=world.clock)
        await steps.settle(world.view.domains["default"], Holders(), Found(Origin()), leaves)
        return times

    assert asyncio.run(story()) == asked


def of_other_cas(world: World, space: str, count: int) -> None:
    """Leaves' Secrets as another installation left them: one CA for each, and nobody has its key."""
    for number in range(count):
        pair = corp()
        metadata = {
            "namespace": space,
            "name": f"left-{number}",
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "annotations": {names.DOMAIN_ANNOTATION: "default", names.ISSUER_ANNOTATION: pair.fingerprint},
        }
        held = {"ca.crt": base64.b64encode(pair.cert_pem).decode()}
        world.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": held})


def test_more_lost_cas_than_there_is_room_for_do_not_keep_a_new_one_from_being_made() -> None:
    async def story() -> None:
        world = World()
        of_other_cas(world, "shop", 5)
        world.domain(**FAST)
        await world.look()

        assert len(world.domains.signer("").bundle) == 4  # what most leaves trust, and the CA that comes next
        assert world.phase() == "Distributing"
        for number in range(5):  # their tunnels, made anew, take other names
            world.delete("secrets", f"left-{number}", "shop")
        world.tunnel("shop", "db")
        await at_rest(world)

    asyncio.run(story())


def test_leaves_of_a_namespace_that_is_being_deleted_say_nothing() -> None:
    async def story() -> None:
        world = World()
        of_other_cas(world, "shop", 1)
        leaving = world.store.objects[Ref("namespaces", "", "shop")]
        stamp = "2026-01-01T00:00:00Z"
        world.put({**leaving, "metadata": {**leaving["metadata"], "deletionTimestamp": stamp}})
        world.domain(**FAST)
        await world.look()

        assert world.condition("Ready")[0] == "True"
        assert len(world.domains.signer("").bundle) == 1

    asyncio.run(story())


def test_what_keeps_a_new_ca_from_being_made_is_said_beside_the_missing_key() -> None:
    async def story() -> None:
        world = await started()
        world.secret("default-ca-2", b"of somebody", b"else")
        world.delete("secrets", "default-ca-1")
        await world.look()

        _, reason, message = world.condition("CAReady")
        assert reason == "CAKeyMissing"
        assert "Secret default-ca-2 in the operator's namespace is in the way of a new CA: delete it" in message

    asyncio.run(story())


def test_a_new_root_where_nothing_at_all_is_left_is_not_silent() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST)
        await world.look()
        world.delete("secrets", "default-ca-1")
        world.delete("configmaps", "default-bundle")
        await world.look()

        assert world.events.said[-1][:2] == ("Warning", "CALost")
        assert len(world.cas()) == 1

    asyncio.run(story())


@pytest.mark.parametrize("damage", ["certificate", "annotations", "key"])
def test_a_ca_secret_that_is_damaged_by_hand_heals_or_is_replaced(damage: str) -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        raw = world.store.objects[Ref("secrets", HOME, "default-ca-1")]
        held, metadata = dict(raw["data"]), dict(raw["metadata"])
        match damage:
            case "certificate":
                held["tls.crt"] = "Z2FyYmFnZQ=="
            case "annotations":
                metadata["annotations"] = {}
            case "key":
                held["tls.key"] = "Z2FyYmFnZQ=="
        world.put({**raw, "data": held, "metadata": metadata})
        await world.look()

        assert world.domains.signer("").pair.fingerprint == old
        if damage == "key":
            assert world.condition("CAReady")[1] == "CAKeyMissing"
            await at_rest(world)
            return
        assert world.condition("CAReady")[1] == "Available"
        assert world.cas() == {old: "Current"}
        assert sign(world).issuer_fingerprint == old

    asyncio.run(story())
