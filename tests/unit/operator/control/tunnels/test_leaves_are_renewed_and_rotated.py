"""Leaves are renewed in time, follow a CA rotation, and are never taken away before the next is there."""

import asyncio
import copy
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.operator import RESYNC_SECONDS
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.signer import Refusal, Signer
from mtls_tunnel_operator.model.kinds import Ref
from support.operator_stage import ORDERS, Stage, signer_of
from support.tunnel_resources import NOON, space_raw, tunnel_raw

SERVER, CLIENT = "orders-db-mtls-server", "orders-db-mtls-client-api"
FROM_SECRET = {"issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}


def settled(**spec: Any) -> Stage:
    stage = Stage()
    stage.tunnel(tunnel_raw(**spec))
    asyncio.run(stage.look())
    return stage


def facts(stage: Stage, name: str = SERVER) -> leaf.LeafFacts:
    held = stage.secret(name)
    return leaf.read_pair(held["tls.crt"], held["tls.key"], stage.domains.given)


def test_pain_16_a_leaf_is_renewed_when_a_third_of_it_is_left_whatever_a_volume_takes() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    again = asyncio.run(stage.look())
    assert again is not None
    assert NOON + 86400 * 0.55 < again < NOON + 86400 * 2 / 3
    assert stage.status()["nextRenewalTime"] == min(one["renewalTime"] for one in stage.status()["certificates"])


@settings(max_examples=8, deadline=None)
@given(duration=st.integers(300, 100_000))
def test_looking_when_told_to_never_lets_a_leaf_end(duration: int) -> None:
    stage = settled(certificate={"durationSeconds": duration})
    for _ in range(6):
        again = asyncio.run(stage.look())
        assert again is not None
        ends = min(facts(stage, name).not_after for name in (SERVER, CLIENT))
        assert stage.clock.now < again < ends
        stage.clock.now = again + 1


def test_a_renewed_leaf_has_a_new_key_unless_the_old_one_is_to_stay() -> None:
    for policy, same in (("Always", False), ("Never", True)):
        stage = settled(certificate={"privateKey": {"rotationPolicy": policy}})
        before = stage.secret(SERVER)
        stage.clock.now += 80_000
        asyncio.run(stage.look())
        after = stage.secret(SERVER)
        assert after["tls.crt"] != before["tls.crt"]
        assert (after["tls.key"] == before["tls.key"]) is same


def test_renewals_are_told_in_one_event() -> None:
    stage = settled()
    stage.said.clear()
    stage.clock.now += 80_000
    asyncio.run(stage.look())
    assert [(said.reason, said.message) for said in stage.said] == [("Renewed", "new certificate for: server, api")]


def test_a_suspended_tunnel_renews_and_does_nothing_else() -> None:
    stage = settled()
    raw = tunnel_raw(suspend=True)
    raw["spec"]["server"]["ports"][0]["tlsPort"] = 16000
    stage.tunnel(raw)
    before = copy.deepcopy(stage.store.objects[Ref("configmaps", "shop", SERVER)])
    stage.store.remove(Ref("services", "shop", "orders-db"))
    stage.clock.now += 80_000
    old = stage.secret(SERVER)
    asyncio.run(stage.look())
    assert stage.secret(SERVER) != old
    assert stage.store.objects[Ref("configmaps", "shop", SERVER)] == before
    assert not stage.has("services", "orders-db")
    assert stage.condition("Accepted")[:2] == ("True", "Suspended")
    raw["spec"]["suspend"] = False
    stage.tunnel(raw)
    asyncio.run(stage.look())
    assert stage.has("services", "orders-db")
    assert stage.condition("Accepted")[:2] == ("True", "Accepted")


def test_a_suspended_tunnel_still_follows_a_changed_bundle() -> None:
    stage = settled()
    stage.tunnel(tunnel_raw(suspend=True))
    following = signer_of(NOON)
    stage.domains.change(bundle=(*stage.domains.given.bundle, *following.bundle), phase="Distributing")
    asyncio.run(stage.look())
    assert stage.secret(SERVER)["ca.crt"] == stage.domains.given.bundle_pem


def test_pain_13_a_new_ca_reaches_every_bundle_before_it_signs_a_leaf() -> None:
    """Distributing: both CAs in each Secret, the leaf and its key untouched.  Issuing: new leaves, spread."""
    stage = settled()
    old = stage.domains.given
    new = signer_of(stage.clock.now)
    before = stage.secret(SERVER)
    stage.domains.change(bundle=(*old.bundle, *new.bundle), phase="Distributing", phase_since=stage.clock.now)
    asyncio.run(stage.look())
    during = stage.secret(SERVER)
    assert (during["tls.crt"], during["tls.key"]) == (before["tls.crt"], before["tls.key"])
    assert len(x509.load_pem_x509_certificates(during["ca.crt"])) == 2
    assert stage.condition("RotationInProgress")[:2] == ("True", "Distributing")

    stage.clock.now += 1000
    stage.domains.change(pair=new.pair, bundle=(*new.bundle, *old.bundle), phase="Issuing", phase_since=stage.clock.now)
    issued: list[str] = []
    while len(issued) < 2:
        again = asyncio.run(stage.look())
        issued = [name for name in (SERVER, CLIENT) if facts(stage, name).issuer_fingerprint == new.pair.fingerprint]
        assert stage.clock.now <= NOON + 1000 + 3600
        assert again is not None
        stage.clock.now = again
    stage.domains.change(bundle=new.bundle, phase="Stable")
    asyncio.run(stage.look())
    assert stage.secret(SERVER)["ca.crt"] == new.bundle_pem
    assert stage.status()["trustBundle"] == {"caFingerprints": [new.pair.fingerprint], "rotation": "Stable"}


def test_a_compromised_ca_is_replaced_at_once() -> None:
    stage = settled()
    old, new = stage.domains.given, signer_of(stage.clock.now)
    changes: dict[str, Any] = {"emergency": True, "phase": "Issuing", "retired": frozenset({old.pair.fingerprint})}
    stage.domains.change(pair=new.pair, bundle=new.bundle, **changes)
    asyncio.run(stage.look())
    assert facts(stage).issuer_fingerprint == facts(stage, CLIENT).issuer_fingerprint == new.pair.fingerprint


def test_pain_14_a_leaf_ends_no_later_than_its_ca() -> None:
    stage = Stage()
    short = signer_of(NOON)
    end = short.pair.not_after
    stage.clock.now = end - 3600
    stage.domains.current = Signer("default", "cluster.local", short.pair, short.bundle)
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    assert facts(stage).not_after == end


def test_pain_15_a_leaf_is_valid_for_a_clock_that_is_five_minutes_behind() -> None:
    assert facts(settled()).not_before == NOON - 300


@pytest.mark.parametrize("changed", [{"durationSeconds": 7200}, {"privateKey": {"sizeBits": 384}}])
def test_another_kind_of_certificate_is_issued_when_the_resource_asks_for_it(changed: dict[str, Any]) -> None:
    stage = settled()
    before = stage.secret(SERVER)
    stage.tunnel(tunnel_raw(certificate=changed))
    asyncio.run(stage.look())
    assert stage.secret(SERVER)["tls.crt"] != before["tls.crt"]
    with stage.quiet():
        asyncio.run(stage.look())


def test_failed_renewals_wait_longer_each_time_and_another_signer_is_tried_at_once() -> None:
    stage = settled()
    stage.clock.now += 80_000
    stage.domains.change(refusal=Refusal("CAKeyMissing", "gone"))
    waits = []
    for _ in range(8):
        again = asyncio.run(stage.look())
        assert again is not None
        waits.append(again - stage.clock.now)
        stage.clock.now = again
    assert waits[:3] == [60, 120, 240]
    assert max(waits) <= 3600
    stage.domains.change(refusal=None)
    asyncio.run(stage.look())
    assert stage.condition("CertificatesReady")[1] == "Issued"


def test_a_ca_in_a_secret_beside_the_tunnel_signs() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw(certificate={"issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}))
    asyncio.run(stage.look())
    assert stage.condition("Accepted")[1] == "IssuerNotFound"
    assert "create secret tls my-ca" in stage.condition("Accepted")[2]
    own = signer_of(NOON)
    put_ca(stage, own)
    again = asyncio.run(stage.look())
    held = stage.secret(SERVER)
    assert held["ca.crt"] == own.bundle_pem
    assert leaf.read_pair(held["tls.crt"], held["tls.key"], own).issuer_fingerprint == own.pair.fingerprint
    assert again is not None
    assert again <= NOON + 300, "nobody tells of a Secret that is not ours: it is looked at again"


def test_a_ca_secret_that_is_replaced_replaces_the_leaves() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw(certificate={"issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}))
    put_ca(stage, signer_of(NOON))
    asyncio.run(stage.look())
    following = signer_of(NOON)
    put_ca(stage, following)
    asyncio.run(stage.look())
    held = stage.secret(SERVER)
    assert leaf.read_pair(held["tls.crt"], held["tls.key"], following).issuer_fingerprint == following.pair.fingerprint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"tls.crt": b"rubbish", "tls.key": b"rubbish"}, "BadCA"),
        ({}, "BadCA"),
        ({"tls.crt": ca.pem_of(signer_of(NOON).bundle), "tls.key": signer_of(NOON).pair.key_pem}, "CAKeyMismatch"),
    ],
    ids=["rubbish", "empty", "key of another"],
)
def test_a_broken_ca_secret_is_said_and_the_leaves_stay(content: dict[str, bytes], reason: str) -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw(certificate={"issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}))
    put_ca(stage, signer_of(NOON))
    asyncio.run(stage.look())
    before = stage.secret(SERVER)
    put_secret(stage, content)
    asyncio.run(stage.look())
    assert stage.condition("Accepted")[:2] == ("False", reason)
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")
    assert stage.secret(SERVER) == before


def test_no_leaf_is_made_in_a_namespace_that_is_going_away() -> None:
    stage = Stage()
    leaving = space_raw("shop")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    stage.store.put(leaving)
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    assert not stage.has("secrets", SERVER)
    assert not stage.has("configmaps", SERVER)


def test_a_leaf_that_comes_due_in_a_namespace_that_is_going_away_is_no_reason_to_look_again() -> None:
    stage = settled()
    leaving = space_raw("shop")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    stage.store.put(leaving)
    stage.clock.now += 80_000
    assert asyncio.run(stage.look()) == facts(stage).not_after + 1


def test_secrets_that_may_only_be_read_by_name_are_kept_as_well() -> None:
    stage = Stage(unwatched=("secrets",))
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    before = stage.secret(SERVER)
    stage.restart()
    with stage.quiet():
        asyncio.run(stage.look())
    assert stage.secret(SERVER) == before
    assert [one for one in stage.store.asked if one.verb == "list" and one.ref.plural == "secrets"] == []


@pytest.mark.parametrize("age", [-200, 0, 200])
def test_under_a_ca_that_somebody_has_just_made_each_leaf_is_made_once(age: int) -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw(certificate=FROM_SECRET))
    put_ca(stage, signer_of(NOON - age + 300))
    asyncio.run(stage.look())
    for _ in range(4):
        stage.clock.now += 1
        with stage.quiet():
            again = asyncio.run(stage.look())
        assert again == stage.clock.now + 300
    stage.tunnel(tunnel_raw(certificate={**FROM_SECRET, "durationSeconds": 86500}))
    before = stage.secret(SERVER)
    asyncio.run(stage.look())
    assert stage.secret(SERVER)["tls.crt"] != before["tls.crt"]


def test_leaves_that_a_clock_ahead_has_made_are_replaced_when_it_is_right_again() -> None:
    stage = settled()
    stage.clock.now += 30 * 86400
    asyncio.run(stage.look())
    stage.clock.now = NOON + 60
    asyncio.run(stage.look())
    assert {facts(stage, name).not_before for name in (SERVER, CLIENT)} == {NOON + 60 - 300}
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")
    with stage.quiet():
        asyncio.run(stage.look())


def test_a_leaf_that_is_not_valid_yet_is_said_while_nobody_can_replace_it() -> None:
    stage = Stage(now=NOON + 30 * 86400)
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    before = stage.secret(SERVER)
    stage.clock.now = NOON  # the CA itself begins in a month
    waits = []
    for _ in range(3):
        again = asyncio.run(stage.look())
        assert again is not None
        waits.append(again - stage.clock.now)
        with stage.quiet():
            asyncio.run(stage.look())
        stage.clock.now = again
    assert waits == [60, 120, 240]
    assert stage.secret(SERVER) == before
    status, reason, message = stage.condition("CertificatesReady")
    assert (status, reason) == ("False", "NotYetValid")
    assert "the CA is not valid before" in message


@pytest.mark.parametrize("off", [-3600.0, 3600.0], ids=["behind", "ahead"])
def test_nothing_is_signed_while_the_clocks_of_operator_and_api_server_differ(off: float) -> None:
    """A wrong clock finds every leaf due, and everybody would refuse what it signs."""
    stage = settled()
    before = facts(stage).serial
    stage.clock.now = facts(stage).not_after + 1 if off > 0 else facts(stage).not_before - 3600
    told = datetime.fromtimestamp(time.time() - off, UTC)
    stage.api._dated = (format_datetime(told, usegmt=True), time.time())

    again = asyncio.run(stage.look())
    assert facts(stage).serial == before
    assert "The clocks of operator and API server differ by more than 5 min" in stage.condition("CertificatesReady")[2]
    assert again is not None
    assert again >= stage.clock.now + 60

    stage.api._dated = (format_datetime(datetime.now(UTC), usegmt=True), time.time())
    stage.clock.now = NOON if off < 0 else again
    asyncio.run(stage.look())
    assert (facts(stage).serial != before) == (off > 0)
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")


def put_ca(stage: Stage, signer: Signer) -> None:
    put_secret(stage, {"tls.crt": ca.pem_of(signer.bundle), "tls.key": signer.pair.key_pem})


def put_secret(stage: Stage, content: dict[str, bytes]) -> None:
    stage.store.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "my-ca", "namespace": ORDERS.namespace},
            "type": "kubernetes.io/tls",
            "stringData": {key: value.decode() for key, value in content.items()},
        }
    )


@pytest.mark.parametrize("spoiled", ["deleted", "edited"])
def test_a_secret_that_nobody_watches_is_put_right_at_the_next_resync(spoiled: str) -> None:
    stage = Stage(unwatched=("secrets",))
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    ref = Ref("secrets", "shop", SERVER)
    if spoiled == "deleted":
        stage.store.remove(ref)
    else:
        raw = copy.deepcopy(stage.store.objects[ref])
        raw["data"]["tls.key"] = "AAAA"
        stage.store.put(raw)
    stage.clock.now += RESYNC_SECONDS
    asyncio.run(stage.look())
    assert facts(stage).not_before == NOON + RESYNC_SECONDS - 300


def test_a_secret_that_nobody_watches_is_read_once_for_each_resync_however_often_its_tunnel_is_looked_at() -> None:
    stage = Stage(unwatched=("secrets",))
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    asked = len(stage.store.asked)
    for _ in range(6):
        for wait in (0, 1, RESYNC_SECONDS / 2, RESYNC_SECONDS / 2 - 1):
            stage.clock.now += wait
            asyncio.run(stage.look())
    read = [one.ref.name for one in stage.store.asked[asked:] if one.verb == "get" and one.ref.plural == "secrets"]
    assert sorted(read) == [CLIENT] * 6 + [SERVER] * 6


def test_the_numbers_tell_when_leaves_end() -> None:
    stage = settled()
    labels = {"namespace": "shop", "name": "orders-db", "role": "server", "account": ""}
    value = stage.meters.registry.get_sample_value("mtls_tunnel_operator_certificate_not_after_seconds", labels)
    assert value == facts(stage).not_after
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    asyncio.run(stage.look())
    assert stage.meters.registry.get_sample_value("mtls_tunnel_operator_certificate_not_after_seconds", labels) is None
