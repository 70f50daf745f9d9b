"""Trust domains over an API server: a CA is made, rotated and taken up again by whoever comes next."""

import asyncio
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from support.trust_domains import FAST, HOME, World, leaving, started

PHASES = ("Distributing", "Issuing", "Retiring", "Stable")


async def settled(**options: Any) -> World:
    world = World(**options)
    world.domain(**FAST)
    await world.look()
    world.tunnel("shop", "db")
    world.tunnel("bi", "reports")
    await world.later(200)
    return world


async def until(world: World, phase: str, seconds: float = 2000) -> None:
    for _ in range(int(seconds / 5)):
        if world.phase() == phase:
            return
        await world.later(5)
    raise AssertionError(f"{phase} was not reached: {world.status()}")


def assert_all_verify(world: World) -> None:
    held = world.held()
    assert all(issuer in bundle for issuer, _ in held for _, bundle in held)


def test_the_first_look_makes_a_ca_and_says_so() -> None:
    async def story() -> None:
        world = World()
        world.domain()
        await world.look()

        signer = world.domains.signer("")
        status = world.status()
        assert world.cas() == {signer.pair.fingerprint: "Current"}
        assert status["caFingerprints"] == [signer.pair.fingerprint]
        assert status["rotation"]["phase"] == "Stable"
        assert world.condition("Ready")[:2] == ("True", "Ready")
        assert world.changed == ["default"]
        bundle = world.store.objects[Ref("configmaps", HOME, "default-bundle")]
        assert bundle["data"]["ca.crt"].encode() == signer.bundle_pem

    asyncio.run(story())


def test_a_domain_at_rest_is_looked_at_without_any_write() -> None:
    async def story() -> None:
        world = await settled()
        world.writes()
        world.changed.clear()

        await world.look()
        assert world.changed == []
        world.start()
        await world.look()

        assert world.writes() == []
        assert world.events.said == []

    asyncio.run(story())


def test_ca_secrets_belong_to_nobody_and_carry_our_label() -> None:
    async def story() -> None:
        world = await settled()
        metadata = world.store.objects[Ref("secrets", HOME, "default-ca-1")]["metadata"]

        assert "ownerReferences" not in metadata
        assert "finalizers" not in metadata
        assert metadata["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY

    asyncio.run(story())


def test_a_rotation_goes_through_its_phases_and_ends_with_one_ca() -> None:
    async def story() -> None:
        world = await settled()
        old = world.domains.signer("default").pair.fingerprint

        world.annotate(rotate="2026-11-21")
        await world.look()
        for phase in PHASES:
            await until(world, phase)
            assert_all_verify(world)
        await world.later(30)

        new = world.domains.signer("default").pair.fingerprint
        assert world.cas() == {new: "Current"}
        assert new != old
        assert world.held() == [(new, (new,))] * 2
        assert world.status()["rotation"]["observedRequest"] == "2026-11-21"
        told = ["RotationDistributing", "RotationIssuing", "RotationRetiring", "RotationStable"]
        assert world.events.reasons == told

    asyncio.run(story())


def test_a_secret_that_nobody_will_ever_rewrite_holds_a_rotation_up_no_longer_than_its_leaf_lives() -> None:
    """Left behind by a client that was taken out, a namespace that is not allowed any more, a tunnel suspended."""

    async def story() -> None:
        world = await started(maxLeafDurationSeconds=3600)
        abandoned = Ref("secrets", "bi", "reports-mtls-server")
        del world.leaves[abandoned]
        world.annotate(rotate="1")
        await world.look()

        await world.later(3600 - 300, tick=30)
        assert world.phase() == "Distributing"
        assert "bi/reports-mtls-server" in world.condition("RotationInProgress")[2]
        await world.later(300 + 300, tick=30)
        await until(world, "Stable")
        assert world.held()[0][1] == world.domains.signer("").fingerprints

    asyncio.run(story())


def test_a_secret_that_only_says_that_it_is_of_the_domain_holds_nothing_up() -> None:
    async def story() -> None:
        world = await settled()
        metadata = {
            "namespace": "bi",
            "name": "x",
            "uid": "x",
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.OWNER_LABEL: "x"},
            "annotations": {names.DOMAIN_ANNOTATION: "default"},
        }
        world.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}})
        world.annotate(rotate="1")
        await world.look()
        for phase in PHASES:
            await until(world, phase)

    asyncio.run(story())


def test_a_request_that_was_answered_starts_nothing_and_neither_does_its_removal() -> None:
    async def story() -> None:
        world = World()
        world.domain(annotations={names.ROTATE_ANNOTATION: "1"}, **FAST)
        await world.look()
        await world.look()
        assert world.phase() == "Stable"

        world.annotate()
        await world.look()
        assert world.phase() == "Stable"

    asyncio.run(story())


@pytest.mark.parametrize("phase", ["Distributing", "Issuing", "Retiring"])
def test_an_operator_that_is_killed_in_any_phase_is_succeeded_by_one_that_goes_on(phase: str) -> None:
    async def story() -> None:
        world = await settled()
        world.annotate(rotate="1")
        await world.look()
        await until(world, phase)
        known = set(world.cas())

        world.start()
        await world.look()

        assert world.phase() == phase
        assert set(world.cas()) == known
        await until(world, "Stable")
        assert_all_verify(world)

    asyncio.run(story())


def test_two_processes_that_make_the_same_ca_at_once_keep_one_key() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST)
        first = world.domains
        world.start()
        second = world.domains

        await asyncio.gather(first.reconcile("default"), second.reconcile("default"))
        await asyncio.gather(first.reconcile("default"), second.reconcile("default"))

        assert first.signer("").pair.fingerprint == second.signer("").pair.fingerprint
        assert len(world.cas()) == 1

    asyncio.run(story())


def test_a_secret_that_does_not_follow_holds_up_the_rotation_and_is_named() -> None:
    async def story() -> None:
        world = await settled()
        stuck = Ref("secrets", "bi", "reports-mtls-server")
        del world.leaves[stuck]
        world.annotate(rotate="1")
        await world.look()
        await world.later(1000)

        assert world.phase() == "Distributing"
        assert "bi/reports-mtls-server" in world.condition("RotationInProgress")[2]

        leaving(world, "bi")  # its namespace is being deleted: nobody waits for it any more
        await until(world, "Stable")

    asyncio.run(story())


def test_a_secret_that_is_deleted_by_hand_is_waited_for_until_pods_can_have_the_new_one() -> None:
    async def story() -> None:
        world = await settled()
        world.annotate(rotate="1")
        await world.look()
        await world.later(40)
        ref = Ref("secrets", "bi", "reports-mtls-server")
        world.delete("secrets", ref.name, "bi")
        del world.leaves[ref]
        await world.look()
        world.leaves[ref] = "default"

        await world.later(55)  # 95 s after its begin the phase would be over
        assert world.phase() == "Distributing"
        await until(world, "Stable")

    asyncio.run(story())


def test_a_ca_is_rotated_by_itself_before_it_ends() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, ca={"durationSeconds": 20000, "renewBeforeSeconds": 8000}, maxLeafDurationSeconds=3000)
        await world.look()
        old = world.domains.signer("").pair

        assert world.again == old.not_after - 8000
        await world.later(12100, tick=50)

        assert world.phase() != "Stable"
        await until(world, "Stable")
        assert world.domains.signer("").pair.not_after > old.not_after

    asyncio.run(story())


def test_unknown_and_unready_domains_are_told_apart() -> None:
    world = World()
    with pytest.raises(AuthorityError) as unknown:
        world.domains.signer("corp")
    world.domain("corp")
    with pytest.raises(AuthorityError) as unready:
        world.domains.signer("corp")

    assert (unknown.value.reason, unready.value.reason) == ("IssuerNotFound", "IssuerNotReady")


def test_a_domain_that_is_deleted_has_no_signer_and_keeps_its_ca() -> None:
    async def story() -> None:
        world = await settled()
        before = world.cas()
        world.delete(names.DOMAINS, "default", "")
        await world.look()

        with pytest.raises(AuthorityError):
            world.domains.signer("default")
        assert world.cas() == before

        world.domain(**FAST)
        await world.look()
        assert world.domains.signer("default").pair.fingerprint in before

    asyncio.run(story())


def test_the_domain_of_the_installation_is_made_once_and_never_changed() -> None:
    async def story() -> None:
        spec = {"ca": {"type": "SelfSigned"}, "rotation": {"propagationSeconds": 30}}
        world = World(trust_domain="corp.example", trust_domain_name="mesh", trust_domain_spec=spec)
        await world.domains.ensure_default()
        made = world.store.objects[Ref(names.DOMAINS, "", "mesh")]
        assert made["spec"] == {**spec, "trustDomain": "corp.example"}

        world.defaults = type(world.defaults)("tunnel", trust_domain="other", trust_domain_name="mesh")
        world.writes()
        await world.domains.ensure_default()
        world.start()
        await world.domains.ensure_default()
        assert world.writes() == []

        world.defaults = type(world.defaults)("tunnel", trust_domain_name="third", trust_domain_create=False)
        await world.domains.ensure_default()
        assert world.writes() == []

    asyncio.run(story())
