"""What managed Secrets hold and since when, as this process has seen it."""

from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority.rotation import Holder, Holders
from mtls_tunnel_operator.control.domains.holders import Sightings, domain_of
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.pods import Space
from support.clock import NOW

REF = Ref("secrets", "shop", "db-mtls-server")
LATER = NOW + 1000  # long after the process began
Raw = dict[str, Any]


def secret(issuer: str = "a", bundle: str = "ab", uid: str = "1", domain: str = "default") -> Raw:
    annotations = {
        names.DOMAIN_ANNOTATION: domain,
        names.ISSUER_ANNOTATION: issuer,
        names.BUNDLE_ANNOTATION: bundle,
    }
    labels = {names.OWNER_LABEL: "tunnel-1"}
    return {"metadata": {"name": REF.name, "uid": uid, "annotations": annotations, "labels": labels}}


def look(sightings: Sightings, now: float, *raws: Raw, owners: tuple[str, ...] = ("tunnel-1",)) -> Holders:
    return sightings.look("default", [(REF, raw) for raw in raws], {}, owners, now, 60)


def begun(now: float = NOW) -> Sightings:
    sightings = Sightings()
    look(sightings, now)
    return sightings


def held(bundle_since: float, issuer_since: float, *, issuer: str = "a", bundle: str = "ab") -> tuple[Holder, ...]:
    return (Holder("shop/db-mtls-server", issuer, bundle, bundle_since, issuer_since),)


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
    look(sightings, LATER, secret())

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

    found = begun().look("default", [(REF, secret())], spaces, ("tunnel-1",), LATER, 60)

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
    look(sightings, LATER, raw)

    assert look(sightings, LATER + 1).vanished == ("shop/db-mtls-server",)
