"""CAs that are gone, broken, compromised or somebody else's: a condition with the remedy, and the last good state."""

import asyncio
import base64
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import CaSpec, PrivateKey
from support.clock import NOW
from support.pki import Authority
from support.trust_domains import HOME, World

FAST: dict[str, Any] = {"propagationSeconds": 60, "issuingSeconds": 30}
FROM_SECRET: dict[str, Any] = {"ca": {"type": "Secret", "secretRef": {"name": "corp-ca"}}}
FROM_CERT_MANAGER: dict[str, Any] = {
    "ca": {"type": "CertManager", "issuerRef": {"kind": "ClusterIssuer", "name": "corp"}}
}


def corp() -> Pair:
    return ca.make_root(CaSpec(), "cluster.local", NOW)


def put(world: World, pair: Pair, name: str = "corp-ca") -> None:
    world.secret(name, pair.cert_pem, pair.key_pem)


async def started(**spec: Any) -> World:
    world = World()
    world.domain(**{**FAST, **spec})
    await world.look()
    world.tunnel("shop", "db")
    world.tunnel("bi", "reports")
    await world.later(150)
    return world


async def at_rest(world: World) -> None:
    world.again = world.clock.now
    for _ in range(100):
        await world.later(15, tick=15)
        if (
            world.phase() == "Stable"
            and world.condition("RotationInProgress")[1] == "Stable"
            and world.again is not None
        ):
            bundles = {bundle for _, bundle in world.held()}
            if bundles <= {world.domains.signer("").fingerprints} and len(world.cas()) == 1:
                return
    raise AssertionError(world.status())


def sign(world: World) -> leaf.Leaf:
    names_ = Names("spiffe://cluster.local/ns/shop/sa/new")
    return leaf.issue(world.domains.signer(""), names_, 3600, PrivateKey(), "client", world.clock.now)


# A key that is gone.


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


# Emergencies.


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
        put(world, first)
        world.domain(**FAST, **FROM_SECRET, annotations={names.COMPROMISED_ANNOTATION: ""})
        await world.look()
        world.annotate(compromised=first.fingerprint)
        await world.look()
        assert world.condition("CAReady")[:2] == ("False", "CACompromised")
        assert "another CA" in world.condition("RotationInProgress")[2]
        with pytest.raises(AuthorityError):
            sign(world)

        put(world, second)
        await world.look()
        assert world.domains.signer("").fingerprints == (second.fingerprint,)
        assert sign(world).issuer_fingerprint == second.fingerprint

    asyncio.run(story())


# CAs of others.


def test_a_ca_from_a_secret_signs_and_is_rotated_when_it_is_replaced() -> None:
    async def story() -> None:
        world = World()
        first, second = corp(), corp()
        put(world, first)
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        world.tunnel("shop", "db")
        await world.later(100)
        assert world.domains.signer("").pair.fingerprint == first.fingerprint

        put(world, second)
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
        put(world, first)
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
                put(world, ca.make_root(CaSpec(), "other.example", NOW))
        await world.later(65)

        assert world.condition("CAReady")[:2] == ("False", reason)
        assert world.domains.signer("").fingerprints == (first.fingerprint,)
        with pytest.raises(AuthorityError) as caught:
            sign(world)
        assert caught.value.reason == reason
        assert world.held() == held

        put(world, first)
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

        put(world, corp())
        await world.later(65)
        assert world.condition("Ready")[0] == "True"

    asyncio.run(story())


def test_a_rotation_that_is_asked_for_waits_for_a_new_ca_in_the_secret() -> None:
    async def story() -> None:
        world = World()
        put(world, corp())
        world.domain(**FAST, **FROM_SECRET)
        await world.look()
        world.annotate(rotate="now")
        await world.look()
        assert world.condition("RotationInProgress")[:2] == ("False", "NewCANeeded")

        put(world, corp())
        await world.look()
        assert world.phase() == "Distributing"

    asyncio.run(story())


def test_a_ca_of_somebody_else_that_ends_soon_is_said_in_time() -> None:
    async def story() -> None:
        world = World()
        put(world, ca.make_root(CaSpec(duration_seconds=86400), "cluster.local", NOW))
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
        put(world, theirs)
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


# cert-manager.


def test_cert_manager_is_asked_for_a_ca_and_waited_for() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_CERT_MANAGER)
        await world.look()
        wanted = world.store.objects[Ref("certificates", HOME, "default-ca")]["spec"]
        assert wanted["isCA"] is True
        assert wanted["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "corp"}
        assert wanted["duration"] == "8760h0m0s"
        assert world.condition("CAReady")[:2] == ("False", "CertificatePending")

        issued = corp()
        put(world, issued, wanted["secretName"])
        await world.later(65)
        assert world.domains.signer("").pair.fingerprint == issued.fingerprint
        world.writes()
        await world.look()
        assert world.writes() == []

    asyncio.run(story())


def test_a_rotation_of_a_ca_from_cert_manager_asks_for_another_one() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_CERT_MANAGER)
        put(world, corp(), "default-ca-source")
        await world.look()
        world.annotate(rotate="1")
        await world.look()
        assert Ref("secrets", HOME, "default-ca-source") not in world.store.objects
        sign(world)  # meanwhile the CA that is stored signs

        second = corp()
        put(world, second, "default-ca-source")
        await world.look()
        assert world.phase() == "Distributing"
        assert second.fingerprint in world.domains.signer("").fingerprints

    asyncio.run(story())


def test_a_ca_that_is_not_wanted_from_cert_manager_any_more_is_not_asked_for() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_CERT_MANAGER)
        put(world, corp(), "default-ca-source")
        await world.look()
        request = Ref("certificates", HOME, "default-ca")
        assert request in world.store.objects

        world.domain(**FAST)
        await world.look()
        assert request not in world.store.objects
        await at_rest(world)

    asyncio.run(story())


def test_a_ca_of_cert_manager_that_has_expired_says_so_until_there_is_another() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_CERT_MANAGER)
        short = ca.make_root(CaSpec(duration_seconds=3600), "cluster.local", NOW)
        put(world, short, "default-ca-source")
        await world.look()
        world.clock.advance(4000)
        await world.look()
        assert world.condition("CAReady")[:2] == ("False", "CAExpired")

        put(world, ca.make_root(CaSpec(), "cluster.local", world.clock.now), "default-ca-source")
        await world.look()
        assert world.condition("CAReady")[:2] == ("True", "Available")

    asyncio.run(story())


def test_a_cluster_without_cert_manager_is_named() -> None:
    async def story() -> None:
        world = World()
        world.store.served.discard("certificates")
        world.domain(**FAST, **FROM_CERT_MANAGER)
        await world.look()

        assert world.condition("Ready")[:2] == ("False", "CertManagerNotFound")

    asyncio.run(story())


# Other trust domains, and resources that cannot be read.


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
