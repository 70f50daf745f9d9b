"""What managed Secrets hold and since when, as this process has seen it."""

import base64
from functools import cache
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.authority.rotation import PATIENCE, Holder, Holders
from mtls_tunnel_operator.authority.signer import Phase, Signer
from mtls_tunnel_operator.authority.state import Authority, Progress, State
from mtls_tunnel_operator.control.domains.holders import Sightings, domain_of
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.resources import CaSpec, PrivateKey
from support.clock import NOW

REF = Ref("secrets", "shop", "db-mtls-server")
LATER = NOW + 200  # long after the process began
PROPAGATION = 60
Raw = dict[str, Any]


@cache
def authority(name: str) -> Pair:
    """One for each name: "a" signs, "b" comes next."""
    return ca.make_root(CaSpec(), "cluster.local", NOW)


@cache
def tls(issuer: str) -> str:
    """A leaf of that CA as it stands in a Secret: it lives for an hour."""
    pair = authority(issuer)
    signer = Signer("x", "cluster.local", pair, (pair.certificate,))
    wanted = Names("spiffe://cluster.local/ns/shop/mtlstunnel/db/server")
    return base64.b64encode(leaf.issue(signer, wanted, 3600, PrivateKey(), "server", NOW).cert_pem).decode()


def known(phase: Phase = "Stable", signing: str = "a") -> State:
    other = "b" if signing == "a" else "a"
    progress = Progress(phase, NOW)
    return State(
        (
            Authority(1, "Retired" if phase in ("Issuing", "Retiring") else "Next", authority(other)),
            Authority(2, "Current", authority(signing), progress=progress),
        )
    )


def full() -> str:
    """The bundle that everyone is to have while the second CA is made known."""
    return ca.bundle_fingerprint(known("Distributing").bundle)


def secret(issuer: str = "a", bundle: str = "ab", uid: str = "1", domain: str = "default") -> Raw:
    annotations = {names.DOMAIN_ANNOTATION: domain, names.BUNDLE_ANNOTATION: bundle}
    labels = {names.OWNER_LABEL: "tunnel-1"}
    metadata = {"name": REF.name, "uid": uid, "annotations": annotations, "labels": labels}
    return {"metadata": metadata, "data": {"tls.crt": tls(issuer)}}


def look(
    sightings: Sightings, now: float, *raws: Raw, owners: tuple[str, ...] = ("tunnel-1",), state: State | None = None
) -> Holders:
    objects = [(REF, raw) for raw in raws]
    return sightings.look("default", objects, {}, owners, now, PROPAGATION, state or known())


def begun(now: float = NOW) -> Sightings:
    sightings = Sightings()
    look(sightings, now)
    return sightings


def held(bundle_since: float, issuer_since: float, *, issuer: str = "a", bundle: str = "ab") -> tuple[Holder, ...]:
    return (Holder("shop/db-mtls-server", authority(issuer).fingerprint, bundle, bundle_since, issuer_since),)


def test_what_was_there_at_the_start_counts_from_the_start() -> None:
    found = look(begun(), NOW + 1, secret())

    assert found == Holders(held(NOW + 1, NOW + 1), (), NOW)


def test_a_secret_of_a_new_tunnel_holds_up_nothing() -> None:
    sightings = begun()
    look(sightings, LATER)

    assert look(sightings, LATER + 1, secret()).secrets == held(0.0, 0.0)


def test_a_standby_that_takes_over_knows_nothing_of_what_was_before() -> None:
    assert look(Sightings(), LATER, secret()) == Holders(held(LATER, LATER), (), LATER)


def test_each_content_counts_from_when_it_was_seen_first() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret())
    look(sightings, LATER, secret(bundle="abc"))

    found = look(sightings, LATER + 50, secret(bundle="abc", issuer="b"))

    assert found.secrets == held(LATER, LATER + 50, issuer="b", bundle="abc")


def test_a_renewal_by_the_same_ca_counts_as_no_change() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret())

    assert look(sightings, LATER, secret()).secrets == held(NOW + 1, NOW + 1)


def test_a_secret_that_is_made_anew_counts_anew() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret())

    assert look(sightings, LATER, secret(uid="2")).secrets == held(LATER, LATER)


def test_a_secret_that_is_gone_is_missed_until_it_is_back_and_not_for_ever() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret())

    assert look(sightings, LATER + 1).vanished == ("shop/db-mtls-server",)
    assert look(sightings, LATER + 60).vanished == ("shop/db-mtls-server",)
    assert look(sightings, LATER + 70, secret()).secrets == held(LATER + 70, LATER + 70)
    look(sightings, LATER + 80)
    assert look(sightings, LATER + 80 + 120).vanished == ()


def test_a_secret_whose_tunnel_is_gone_too_is_not_missed() -> None:
    sightings = begun()
    look(sightings, LATER, secret())

    assert look(sightings, LATER + 1, owners=()).vanished == ()


def test_a_namespace_that_is_being_deleted_is_not_waited_for() -> None:
    spaces = {"shop": Space("shop", terminating=True)}

    found = begun().look("default", [(REF, secret())], spaces, ("tunnel-1",), LATER, PROPAGATION, known())

    assert found == Holders((), (), NOW)


def test_secrets_of_other_domains_and_of_cas_are_not_held() -> None:
    of_ca = secret()
    of_ca["metadata"]["labels"][names.CA_LABEL] = "default"

    assert domain_of(of_ca) == ""
    assert look(begun(), LATER, secret(domain="corp"), of_ca).secrets == ()


def test_a_clock_that_is_set_back_leaves_no_time_in_the_future() -> None:
    sightings = begun(NOW + 10_000)
    look(sightings, NOW + 10_000, secret())

    assert look(sightings, NOW, secret()) == Holders(held(NOW, NOW), (), NOW)


def test_an_owner_may_also_be_named_by_reference() -> None:
    raw = secret()
    raw["metadata"]["labels"] = {}
    raw["metadata"]["ownerReferences"] = [{"uid": "tunnel-1"}]
    sightings = begun()
    look(sightings, NOW + 1, raw)

    assert look(sightings, LATER + 1).vanished == ("shop/db-mtls-server",)


# Who counts at all.


def with_tls(text: str) -> Raw:
    return {**secret(), "data": {"tls.crt": text}}


@pytest.mark.parametrize(
    ("raw", "strangers"),
    [
        pytest.param({**secret(), "data": None}, (), id="nothing in it"),
        pytest.param(with_tls("Z2FyYmFnZQ=="), (), id="garbage"),
        pytest.param(with_tls("%"), (), id="no base64"),
        pytest.param(with_tls(tls("of somebody else")), ("shop/db-mtls-server",), id="of another CA"),
    ],
)
def test_a_secret_counts_only_with_a_leaf_that_a_ca_of_the_domain_signed(raw: Raw, strangers: tuple[str, ...]) -> None:
    """Labels and annotations may be written by anybody who may write Secrets."""
    raw["metadata"]["annotations"][names.ISSUER_ANNOTATION] = authority("a").fingerprint

    assert look(begun(), NOW + 1, raw) == Holders((), (), NOW, strangers)


def test_a_ca_of_the_same_name_and_another_key_proves_nothing() -> None:
    mine = authority("a")
    forged = ca.make_root(CaSpec(), "cluster.local", NOW)
    signer = Signer("x", "cluster.local", Pair(mine.certificate, forged.key), (mine.certificate,))
    wanted = Names("spiffe://cluster.local/ns/shop/mtlstunnel/db/server")
    made = leaf.issue(signer, wanted, 3600, PrivateKey(), "server", NOW)

    found = look(begun(), NOW + 1, with_tls(base64.b64encode(made.cert_pem).decode()))

    assert found.secrets == ()


def test_an_expired_leaf_is_waited_for_as_long_as_clocks_may_differ() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret())

    assert len(look(sightings, NOW + 3600 + 300, secret()).secrets) == 1
    assert look(sightings, NOW + 3600 + 301, secret()) == Holders((), (), NOW)
    assert look(sightings, NOW + 3600 + 302) == Holders((), (), NOW)


def test_a_leaf_of_a_ca_that_was_removed_is_still_known_for_one() -> None:
    sightings = begun()
    look(sightings, NOW + 1, secret(issuer="b"))
    alone = State((Authority(2, "Current", authority("a")),))

    assert look(sightings, NOW + 2, secret(issuer="b"), state=alone).strangers == ("shop/db-mtls-server",)
    assert look(sightings, NOW + 3, secret(issuer="b")).secrets == held(NOW + 1, NOW + 1, issuer="b")


def test_a_signature_is_verified_once() -> None:
    sightings = begun()
    objects = [(REF, secret())]

    assert sightings.unproved("default", objects, {}, known()) == objects
    sightings.prove("default", objects, known())
    assert sightings.unproved("default", [(REF, secret(bundle="another"))], {}, known()) == []
    assert sightings.unproved("default", [(REF, secret(issuer="b"))], {}, known()) != []


# Who disturbs a Secret again and again.


@pytest.mark.parametrize("what", ["delete", "edit"])
def test_a_secret_that_is_disturbed_without_end_holds_up_nothing_without_end(what: str) -> None:
    sightings, phase = begun(), known("Distributing")
    look(sightings, NOW + 1, secret(bundle="old"), state=phase)
    begin = NOW + 10
    end = begin + PATIENCE * PROPAGATION

    for number in range(40):
        now = begin + number * 50
        found = look(sightings, now, secret(bundle=full(), uid=f"{number}"), state=phase)
        assert [one.bundle for one in found.secrets] == [full()]
        assert found.secrets[0].bundle_since <= end
        disturbed = (secret(bundle="x", uid=f"{number}"),) if what == "edit" else ()
        found = look(sightings, now + 20, *disturbed, state=phase)
        waited_for = bool(found.vanished) or any(one.bundle != full() for one in found.secrets)
        assert waited_for is (now + 20 < end)


def test_an_old_leaf_is_always_an_old_leaf() -> None:
    sightings, phase = begun(), known("Issuing", "b")
    look(sightings, NOW + 1, secret(issuer="b"), state=phase)

    found = look(sightings, NOW + 1500, secret(issuer="a"), state=phase)

    assert [one.issuer for one in found.secrets] == [authority("a").fingerprint]
