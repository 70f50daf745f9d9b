"""Resources that ask for what cannot be had: a condition with the remedy, and the last good state."""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from support.clock import NOW
from support.pki import Authority
from support.trust_domains import FAST, HOME, World, sign, started


def test_a_secret_of_somebody_else_in_the_place_of_a_ca_is_left_alone() -> None:
    async def story() -> None:
        world = World()
        world.secret("default-ca-1", b"mine", b"mine")
        world.domain(**FAST)
        before = world.store.objects[Ref("secrets", HOME, "default-ca-1")]
        await world.look()

        assert world.condition("CAReady")[:2] == ("False", "NameConflict")
        assert world.store.objects[Ref("secrets", HOME, "default-ca-1")] == before
        with pytest.raises(AuthorityError, match="default-ca-1"):
            world.domains.signer("")

    asyncio.run(story())


def test_bundles_of_other_trust_domains_are_handed_out_and_keep_their_last_good_state() -> None:
    async def story() -> None:
        world = World()
        partner = Authority("Partner", now=NOW)
        world.config_map("partner", partner.pem.decode())
        federated = [{"trustDomain": "dr.example", "configMapRef": {"name": "partner"}}]
        world.domain(**FAST, federatedBundles=federated)
        await world.look()
        good = (("dr.example", (partner.certificate,)),)
        assert world.domains.signer("").federated == good
        assert len(world.status()["caFingerprints"]) == 2
        own = world.domains.signer("").bundle_fingerprint

        world.config_map("partner", "garbage")
        await world.look()
        assert world.condition("BundlesReady")[:2] == ("False", "BadBundle")
        assert world.domains.signer("").federated == good

        world.delete("configmaps", "partner")
        await world.look()
        assert world.condition("BundlesReady")[:2] == ("False", "BundleNotFound")
        assert world.domains.signer("").federated == good
        assert world.domains.signer("").bundle_fingerprint == own  # no wait of a rotation counts them
        sign(world)

        world.domain(**FAST)
        await world.look()
        assert world.domains.signer("").federated == ()

    asyncio.run(story())


def test_a_resource_that_cannot_be_read_says_so_and_its_last_signer_stays() -> None:
    async def story() -> None:
        world = await started()
        before = world.domains.signer("")
        world.domain(ca={"type": "Nonsense"})
        await world.look()

        assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
        assert world.domains.signer("") is before
        world.writes()
        await world.look()
        assert world.writes() == []

    asyncio.run(story())


def test_a_domain_made_anew_under_another_name_does_not_sign_with_the_ca_of_the_old_one() -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        world.domain(**FAST, trustDomain="new.example")
        await world.look()

        assert world.condition("CAReady")[:2] == ("False", "CANotPermitted")
        assert world.phase() == "Distributing"
        await world.later(1000, tick=15)
        assert old not in world.cas()

    asyncio.run(story())


def test_a_trust_domain_that_no_ca_can_be_limited_to_is_refused() -> None:
    async def story() -> None:
        world = World()
        world.domain(trustDomain="10.0.0.1")
        await world.look()

        assert world.condition("Ready")[:2] == ("False", "BadTrustDomain")
        assert world.cas() == {}

    asyncio.run(story())


def test_no_ca_is_made_and_no_rotation_goes_on_while_the_clocks_differ() -> None:
    def set_apart(world: World, seconds: float) -> None:
        told = datetime.fromtimestamp(time.time() + seconds, UTC)
        world.api._dated = (format_datetime(told, usegmt=True), time.time())

    async def story() -> None:
        world = World()
        set_apart(world, 3600)
        world.domain(**FAST)
        await world.look()
        assert world.condition("CAReady")[:2] == ("False", "ClocksDiffer")
        assert world.cas() == {}

        set_apart(world, 0)
        await world.later(60)
        assert world.condition("CAReady")[:2] == ("True", "Available")
        world.annotate(rotate="1")
        await world.look()
        before = world.cas()
        assert world.phase() == "Distributing"

        set_apart(world, -3600)
        world.clock.advance(3600)  # every wait is over, by this clock
        await world.look()
        assert (world.phase(), world.cas()) == ("Distributing", before)
        status, _, message = world.condition("CAReady")
        assert status == "True"
        assert "clocks of operator and API server differ" in message

    asyncio.run(story())
