"""CAs that somebody names compromised: an emergency does not wait, and what it breaks is said."""

import asyncio

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from support.trust_domains import FAST, FROM_SECRET, HOME, World, at_rest, corp, put_ca, sign, started


def test_a_compromised_ca_leaves_the_bundles_at_once_and_the_message_says_who_suffers() -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        world.annotate(compromised=old)
        await world.look()

        signer = world.domains.signer("")
        assert old not in signer.fingerprints
        assert signer.emergency
        status, reason, message = world.condition("RotationInProgress")
        assert (status, reason) == ("True", "Emergency")
        assert "shop/db-mtls-server" in message
        assert "bi/reports-mtls-server" in message

        await world.keep()
        assert world.held() == [(signer.pair.fingerprint, signer.fingerprints)] * 2
        assert old not in world.cas()
        assert old not in str(world.store.objects[Ref("configmaps", HOME, "default-bundle")])
        await at_rest(world)
        assert not world.domains.signer("").emergency

    asyncio.run(story())


@pytest.mark.parametrize("role", ["Current", "Next"])
def test_an_emergency_does_not_wait_for_a_rotation_that_is_under_way(role: str) -> None:
    async def story() -> None:
        world = await started()
        world.annotate(rotate="1")
        await world.look()
        assert world.phase() == "Distributing"
        named = next(one for one, what in world.cas().items() if what == role)
        world.annotate(rotate="1", compromised=named[:16])
        await world.look()

        assert named not in world.domains.signer("").fingerprints
        assert named not in world.cas()
        assert world.domains.signer("").emergency is (role == "Current")
        await at_rest(world)

    asyncio.run(story())


def test_a_compromised_ca_of_somebody_else_is_refused_until_there_is_another() -> None:
    async def story() -> None:
        world = World()
        first, second = corp(), corp()
        put_ca(world, first)
        world.domain(**FAST, **FROM_SECRET, annotations={names.COMPROMISED_ANNOTATION: ""})
        await world.look()
        world.annotate(compromised=first.fingerprint)
        await world.look()
        assert world.condition("CAReady")[:2] == ("False", "CACompromised")
        assert "another CA" in world.condition("RotationInProgress")[2]
        with pytest.raises(AuthorityError):
            sign(world)

        put_ca(world, second)
        await world.look()
        assert world.domains.signer("").fingerprints == (second.fingerprint,)
        assert sign(world).issuer_fingerprint == second.fingerprint

    asyncio.run(story())


@pytest.mark.parametrize("gone", [False, True], ids=["its Secret is there", "its Secret was deleted by hand"])
@pytest.mark.parametrize("phase", ["Issuing", "Retiring"])
def test_connections_of_a_retired_ca_are_cut_too_when_it_is_named(phase: str, gone: bool) -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        world.annotate(rotate="1")
        await world.look()
        while world.phase() != phase:
            await world.later(5)
        if gone:
            world.delete("secrets", "default-ca-1")
        world.annotate(rotate="1", compromised=old)
        await world.look()

        signer = world.domains.signer("")
        assert signer.emergency
        assert signer.phase_since >= world.clock.now - 1
        assert old not in (*signer.fingerprints, *world.cas())
        assert world.condition("RotationInProgress")[:2] == ("True", "Emergency")
        assert "connections under it are cut" in world.condition("RotationInProgress")[2]
        assert "Emergency" in world.events.reasons

        await world.later(2 * FAST["propagationSeconds"] - 10)
        assert world.domains.signer("").emergency  # until every pod has read that it is to cut them
        await at_rest(world)
        assert not world.domains.signer("").emergency

    asyncio.run(story())
