"""CAs that somebody else keeps in a Secret, replaces, breaks or takes away: its owner has the last word."""

import asyncio

import pytest

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.resources import CaSpec
from support.clock import NOW
from support.pki import Authority
from support.trust_domains import FAST, FROM_SECRET, World, at_rest, corp, put_ca, sign, started


def test_a_ca_from_a_secret_signs_and_is_rotated_when_it_is_replaced() -> None:
    async def story() -> None:
        world = World()
        first, second = corp(), corp()
        put_ca(world, first)
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        world.tunnel("shop", "db")
        await world.later(100)
        assert world.domains.signer("").pair.fingerprint == first.fingerprint

        put_ca(world, second)
        await world.later(70)
        assert world.phase() == "Distributing"
        assert world.domains.signer("").fingerprints == (first.fingerprint, second.fingerprint)
        assert sign(world).issuer_fingerprint == first.fingerprint  # the old one signs until all know the new one

        await at_rest(world)
        assert world.domains.signer("").fingerprints == (second.fingerprint,)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("gone", "CASecretNotFound"),
        ("garbage", "BadCA"),
        ("foreign key", "CAKeyMismatch"),
        ("no ca", "NotACA"),
        ("expired", "CAExpired"),
        ("foreign domain", "CANotPermitted"),
    ],
)
def test_a_ca_secret_that_breaks_signs_nothing_and_what_it_signed_stays_trusted(broken: str, reason: str) -> None:
    async def story() -> None:
        world = World()
        first = corp()
        put_ca(world, first)
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        world.tunnel("shop", "db")
        await world.later(100)
        held = world.held()

        match broken:
            case "gone":
                world.delete("secrets", "corp-ca")
            case "garbage":
                world.secret("corp-ca", b"garbage", first.key_pem)
            case "foreign key":
                world.secret("corp-ca", first.cert_pem, corp().key_pem)
            case "no ca":
                one = Authority(now=NOW).leaf("web")
                world.secret("corp-ca", one.cert_pem, one.key_pem)
            case "expired":
                old = Authority(now=NOW, days=-1, since_days=-30).credential
                world.secret("corp-ca", old.cert_pem, old.key_pem)
            case _:
                put_ca(world, ca.make_root(CaSpec(), "other.example", NOW))
        await world.later(65)

        assert world.condition("CAReady")[:2] == ("False", reason)
        assert world.domains.signer("").fingerprints == (first.fingerprint,)
        with pytest.raises(AuthorityError) as caught:
            sign(world)
        assert caught.value.reason == reason
        assert world.held() == held

        put_ca(world, first)
        await world.look()
        assert world.condition("Ready")[0] == "True"
        assert sign(world).issuer_fingerprint == first.fingerprint

    asyncio.run(story())


def test_a_ca_secret_that_never_was_has_a_condition_with_the_remedy() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_SECRET)
        await world.look()

        assert world.condition("Ready")[:2] == ("False", "CASecretNotFound")
        assert "make it, with tls.crt and tls.key" in world.condition("Ready")[2]
        assert world.again is not None
        with pytest.raises(AuthorityError, match="corp-ca"):
            world.domains.signer("")

        put_ca(world, corp())
        await world.later(65)
        assert world.condition("Ready")[0] == "True"

    asyncio.run(story())


def test_a_rotation_that_is_asked_for_waits_for_a_new_ca_in_the_secret() -> None:
    async def story() -> None:
        world = World()
        put_ca(world, corp())
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        world.annotate(rotate="now")
        await world.look()
        assert world.condition("RotationInProgress")[:2] == ("False", "NewCANeeded")

        put_ca(world, corp())
        await world.look()
        assert world.phase() == "Distributing"

    asyncio.run(story())


def test_a_ca_of_somebody_else_that_ends_soon_is_said_in_time() -> None:
    async def story() -> None:
        world = World()
        put_ca(world, ca.make_root(CaSpec(duration_seconds=86400), "cluster.local", NOW))
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        assert world.condition("CAReady")[:2] == ("True", "Available")

        world.clock.advance(43200)
        await world.look()
        assert world.condition("CAReady")[:2] == ("True", "CAExpiring")
        assert world.events.said[-1][:2] == ("Warning", "CAExpiring")

    asyncio.run(story())


def test_an_intermediate_of_a_company_is_the_anchor_and_travels_with_the_leaves() -> None:
    async def story() -> None:
        world = World()
        below = Authority("Corp Root", now=NOW).intermediate("Mesh CA")
        world.secret("corp-ca", below.credential.cert_pem, below.credential.key_pem)
        world.domain(**FAST, **FROM_SECRET)
        await world.look()

        assert world.domains.signer("").bundle == (below.certificate,)
        assert sign(world).cert_pem.endswith(below.pem)

    asyncio.run(story())


def test_changing_where_the_ca_comes_from_is_a_rotation() -> None:
    async def story() -> None:
        world = await started()
        mine, theirs = world.domains.signer("").pair.fingerprint, corp()
        put_ca(world, theirs)
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        assert world.domains.signer("").fingerprints == (mine, theirs.fingerprint)
        await at_rest(world)

        world.domain(**FAST)
        await world.look()
        assert world.phase() == "Distributing"
        await at_rest(world)
        assert theirs.fingerprint not in world.cas()

    asyncio.run(story())
