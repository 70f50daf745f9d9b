"""CAs whose key or Secret is gone or damaged: recalled from what is left, and no other one comes in silence."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import leaf
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.authority.rotation import Holders, Origin
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.authority.state import State
from mtls_tunnel_operator.control.domains.sources import Found
from mtls_tunnel_operator.control.domains.status import own_fingerprints
from mtls_tunnel_operator.control.domains.steps import Steps
from mtls_tunnel_operator.control.domains.store import DomainStore
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import PrivateKey
from support.trust_domains import FAST, HOME, World, at_rest, corp, leaving, sign, started


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

        async def holders(_: State) -> Holders:
            return Holders()

        steps = Steps(DomainStore(world.api, HOME), now=world.clock, check_clocks=lambda: None)
        await steps.settle(world.view.domains["default"], holders, Found(Origin()), leaves)
        return times

    assert asyncio.run(story()) == asked


def forged(world: World, space: str, *names_of: str, issuer: Pair | None = None) -> Pair:
    """Secrets that look like a tunnel's, written by somebody who may write Secrets there: with a CA of their own."""
    pair = issuer or corp()
    signer = Signer("x", "cluster.local", pair, (pair.certificate,))
    wanted = Names("spiffe://cluster.local/ns/shop/mtlstunnel/db/server")
    made = leaf.issue(signer, wanted, 86400, PrivateKey(), "server", world.clock.now)
    held = {"ca.crt": pair.cert_pem, "tls.crt": made.cert_pem}
    for name in names_of:
        metadata = {
            "namespace": space,
            "name": name,
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "annotations": {names.DOMAIN_ANNOTATION: "default", names.ISSUER_ANNOTATION: pair.fingerprint},
        }
        data = {entry: base64.b64encode(content).decode() for entry, content in held.items()}
        world.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    return pair


def lose_everything(world: World) -> None:
    for raw in world.store.of("secrets", HOME):
        world.delete("secrets", raw["metadata"]["name"])
    world.delete("configmaps", "default-bundle")
    world.start()


def test_a_ca_that_somebody_else_wrote_into_secrets_is_not_recalled() -> None:
    async def story() -> None:
        world = await started()
        old = world.domains.signer("").pair.fingerprint
        evil = forged(world, "bi", "x1", "x2", "x3")
        lose_everything(world)
        await world.look()

        signer = world.domains.signer("")
        assert signer.fingerprints[0] == old
        assert evil.fingerprint not in signer.fingerprints
        await at_rest(world)

    asyncio.run(story())


def test_a_ca_that_is_only_federated_is_not_recalled() -> None:
    async def story() -> None:
        world = await started(federatedBundles=[{"trustDomain": "other.example", "configMapRef": {"name": "other"}}])
        pair = corp()
        world.config_map("other", pair.cert_pem.decode())
        await world.look()
        assert pair.fingerprint in world.status()["caFingerprints"]
        for ref in list(world.leaves):
            world.delete("secrets", ref.name, ref.namespace)
        forged(world, "bi", "x1", issuer=pair)
        lose_everything(world)
        await world.look()

        assert pair.fingerprint not in world.domains.signer("").fingerprints
        assert world.events.said[-1][:2] == ("Warning", "CALost")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "reason", "own"),
    [
        pytest.param("False", "Stable", ["a"], id="at rest there is one"),
        pytest.param("True", "Issuing", ["a", "b"], id="a rotation has two"),
        pytest.param("True", "Emergency", ["a"], id="one of them has left at once"),
        pytest.param(None, "", [], id="no status"),
    ],
)
def test_which_cas_of_a_status_are_the_domains_own(status: str | None, reason: str, own: list[str]) -> None:
    """Federated ones stand behind them in one list."""
    marks = {name: corp() for name in ("a", "b", "c")}
    condition = {"type": "RotationInProgress", "status": status, "reason": reason}
    said = {"conditions": [condition], "caFingerprints": [one.fingerprint for one in marks.values()]}

    found = own_fingerprints(said if status else {}, ())

    assert found == tuple(marks[name].fingerprint for name in own)
    federated = (("other.example", (marks["b"].certificate,)),)
    assert marks["b"].fingerprint not in own_fingerprints(said if status else {}, federated)


def test_a_ca_is_recalled_only_from_a_leaf_that_it_signed() -> None:
    """The CAs' certificates are no secret: to hold one proves nothing."""

    async def story() -> None:
        world = await started()
        raw = world.store.objects[Ref("secrets", "shop", "db-mtls-server")]
        other = forged(world, "bi", "reports-mtls-server")
        stolen = world.store.objects[Ref("secrets", "bi", "reports-mtls-server")]
        for ref, name in [(("secrets", "db-mtls-server"), "shop"), (("secrets", "reports-mtls-server"), "bi")]:
            world.delete(*ref, name)
        world.put({**stolen, "data": {**stolen["data"], "ca.crt": raw["data"]["ca.crt"]}})
        lose_everything(world)
        await world.look()

        assert len(world.domains.signer("").bundle) == 1
        assert other.fingerprint not in world.domains.signer("").fingerprints
        assert "CALost" in world.events.reasons

    asyncio.run(story())


def test_both_cas_of_a_rotation_are_recalled() -> None:
    async def story() -> None:
        world = await started(issuingSeconds=600)
        old = world.domains.signer("").pair.fingerprint
        world.annotate(rotate="1")
        await world.look()
        while {issuer for issuer, _ in world.held()} == {old}:
            await world.later(5)
        current = world.domains.signer("").fingerprints
        assert {issuer for issuer, _ in world.held()} == set(current) != {old}
        lose_everything(world)
        await world.look()

        signer = world.domains.signer("")
        assert (signer.fingerprints[0], signer.fingerprints[2]) == current
        await at_rest(world)

    asyncio.run(story())


def test_without_a_status_nothing_is_recalled_and_that_is_said() -> None:
    """A resource that was made anew names nobody: whom the leaves name could be anybody."""

    async def story() -> None:
        world = World()
        evil = forged(world, "shop", "left")
        world.domain(**FAST)
        await world.look()

        assert evil.fingerprint not in world.domains.signer("").fingerprints
        assert world.condition("Ready")[0] == "True"
        kind, reason, message = world.events.said[-1]
        assert (kind, reason) == ("Warning", "CALost")
        assert "shop/left" in message
        await world.look()
        assert world.events.reasons.count("CALost") == 1

    asyncio.run(story())


def test_leaves_of_a_namespace_that_is_being_deleted_say_nothing() -> None:
    async def story() -> None:
        world = World()
        forged(world, "shop", "left")
        leaving(world, "shop")
        world.domain(**FAST)
        await world.look()

        assert world.condition("Ready")[0] == "True"
        assert world.events.said == []

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
