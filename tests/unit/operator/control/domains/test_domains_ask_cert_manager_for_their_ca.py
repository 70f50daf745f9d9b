"""CAs that cert-manager issues: asked for, waited for, asked for anew, and not any more."""

import asyncio
from typing import Any

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import CaSpec
from support.clock import NOW
from support.trust_domains import FAST, HOME, World, at_rest, corp, put_ca, sign

FROM_CERT_MANAGER: dict[str, Any] = {
    "ca": {"type": "CertManager", "issuerRef": {"kind": "ClusterIssuer", "name": "corp"}}
}


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
        put_ca(world, issued, wanted["secretName"])
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
        put_ca(world, corp(), "default-ca-source")
        await world.look()
        world.annotate(rotate="1")
        await world.look()
        assert Ref("secrets", HOME, "default-ca-source") not in world.store.objects
        sign(world)  # meanwhile the CA that is stored signs

        second = corp()
        put_ca(world, second, "default-ca-source")
        await world.look()
        assert world.phase() == "Distributing"
        assert second.fingerprint in world.domains.signer("").fingerprints

    asyncio.run(story())


def test_a_ca_that_is_not_wanted_from_cert_manager_any_more_is_not_asked_for() -> None:
    async def story() -> None:
        world = World()
        world.domain(**FAST, **FROM_CERT_MANAGER)
        put_ca(world, corp(), "default-ca-source")
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
        put_ca(world, short, "default-ca-source")
        await world.look()
        world.clock.advance(4000)
        await world.look()
        assert world.condition("CAReady")[:2] == ("False", "CAExpired")

        put_ca(world, ca.make_root(CaSpec(), "cluster.local", world.clock.now), "default-ca-source")
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
