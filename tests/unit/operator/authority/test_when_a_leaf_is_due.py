"""Renewal: due times for any lifetime, any clock and any phase, and the words for them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.authority import ca, leaf, renewal
from mtls_tunnel_operator.authority.leaf import LeafFacts, Names
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.model.resources import CaSpec, Certificate, PrivateKey
from support.clock import NOW

DAY = 86400
NAMES = Names("spiffe://cluster.local/ns/shop/sa/db", ("db.shop.svc",))
ROOT = ca.make_root(CaSpec(duration_seconds=3650 * DAY), "cluster.local", NOW - DAY)
OTHER = ca.make_root(CaSpec(duration_seconds=3650 * DAY), "cluster.local", NOW - DAY)
SIGNER = Signer("default", "cluster.local", ROOT, (ROOT.certificate,), max_leaf_seconds=365 * DAY)
ROTATING = replace(
    SIGNER, pair=OTHER, bundle=(OTHER.certificate, ROOT.certificate), phase="Issuing", phase_since=NOW + 1000
)
seeds = st.text(min_size=1, max_size=40)


def facts(duration: float = DAY, issued: float = NOW, **changes: object) -> LeafFacts:
    made = LeafFacts(
        names=NAMES,
        not_before=issued - 300,
        not_after=issued + duration,
        serial="1",
        issuer_fingerprint=ROOT.fingerprint,
        algorithm="ECDSA",
        size_bits=256,
        usage="server",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@given(st.integers(300, 365 * DAY), st.one_of(st.none(), st.integers(60, 365 * DAY)), seeds)
def test_a_leaf_is_due_within_the_last_tenth_before_its_margin_and_never_later(
    duration: int, before: int | None, seed: str
) -> None:
    asked = Certificate(duration_seconds=duration, renew_before_seconds=before)
    margin = renewal.renew_before(duration, asked, SIGNER)

    due, why = renewal.renew_at(facts(duration), asked, SIGNER, seed, NOW)

    latest = NOW + duration - margin
    assert latest - 0.1 * (duration - margin) - 1e-3 <= due <= latest
    assert why == "Due"
    assert margin <= duration - 60


@given(seeds, st.floats(NOW, NOW + DAY - 1))
def test_when_a_leaf_is_due_does_not_depend_on_when_it_is_asked(seed: str, now: float) -> None:
    assert renewal.renew_at(facts(), Certificate(), SIGNER, seed, now) == renewal.renew_at(
        facts(), Certificate(), SIGNER, seed, NOW
    )


def test_leaves_made_together_are_not_renewed_together() -> None:
    due = {renewal.renew_at(facts(), Certificate(), SIGNER, f"uid-{n}", NOW)[0] for n in range(200)}

    assert len(due) == 200
    assert max(due) - min(due) > 0.09 * DAY * 2 / 3


def test_what_is_issued_is_not_due_at_once() -> None:
    asked = Certificate(duration_seconds=300)
    made = leaf.issue(SIGNER, NAMES, 300, PrivateKey(), "server", NOW)
    stored = leaf.read_pair(made.cert_pem, made.key_pem, SIGNER)

    due, why = renewal.renew_at(stored, asked, SIGNER, "uid", NOW, names=NAMES, usage="server")

    assert (why, due > NOW) == ("Due", True)


@given(st.integers(-300, 400), st.floats(0, 0.999), st.sampled_from([300, 3600, DAY]), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_how_long_a_leaf_was_asked_to_live_is_seen_however_new_its_ca_is(
    age: int, fraction: float, duration: int, later: int
) -> None:
    made_at = NOW + fraction
    root = ca.make_root(CaSpec(duration_seconds=3650 * DAY), "cluster.local", NOW - age + 300)
    by = replace(SIGNER, pair=root, bundle=(root.certificate,))
    made = leaf.issue(by, NAMES, duration, PrivateKey(), "server", made_at)
    stored = leaf.read_pair(made.cert_pem, made.key_pem, by)

    due, why = renewal.renew_at(stored, Certificate(duration_seconds=duration), by, "uid", made_at)
    changed = {
        renewal.renew_at(stored, Certificate(duration_seconds=duration + change), by, "uid", made_at)[1]
        for change in (-3, 3, later + 3)
    }

    assert (why, due >= made_at + 0.3 * duration) == ("Due", True)
    assert changed == {"SpecChanged"}


@pytest.mark.parametrize(("ahead", "why"), [(600, "Due"), (601, "NotYetValid"), (30 * DAY, "NotYetValid")])
def test_a_leaf_that_a_clock_ahead_has_made_is_due_now(ahead: int, why: str) -> None:
    due, said = renewal.renew_at(facts(issued=NOW + ahead), Certificate(), SIGNER, "uid", NOW)

    assert (said, due == NOW) == (why, why == "NotYetValid")


@pytest.mark.parametrize(
    ("held", "asked", "signer", "why"),
    [
        pytest.param(facts(issuer_fingerprint="00" * 32), Certificate(), SIGNER, "IssuerRemoved", id="unknown CA"),
        pytest.param(
            facts(issuer_fingerprint="aa" * 32),
            Certificate(),
            replace(SIGNER, retired=frozenset({"aa" * 32})),
            "IssuerCompromised",
            id="compromised CA",
        ),
        pytest.param(facts(names=Names("spiffe://x/y")), Certificate(), SIGNER, "NamesChanged", id="other names"),
        pytest.param(facts(usage="client"), Certificate(), SIGNER, "NamesChanged", id="other role"),
        pytest.param(facts(issued=NOW - 2 * DAY), Certificate(), SIGNER, "Expired", id="expired"),
        pytest.param(facts(), Certificate(duration_seconds=2 * DAY), SIGNER, "SpecChanged", id="longer life"),
        pytest.param(facts(), Certificate(duration_seconds=3600), SIGNER, "SpecChanged", id="shorter life"),
        pytest.param(facts(), Certificate(), replace(SIGNER, max_leaf_seconds=600), "SpecChanged", id="a new limit"),
        pytest.param(
            facts(), Certificate(private_key=PrivateKey("Ed25519")), SIGNER, "SpecChanged", id="another kind of key"
        ),
        pytest.param(facts(), Certificate(), replace(ROTATING, phase="Retiring"), "Rotating", id="left over"),
        pytest.param(facts(), Certificate(), replace(ROTATING, emergency=True), "Rotating", id="emergency"),
    ],
)
def test_a_leaf_that_is_not_what_it_should_be_is_due_now(
    held: LeafFacts, asked: Certificate, signer: Signer, why: str
) -> None:
    assert renewal.renew_at(held, asked, signer, "uid", NOW, names=NAMES, usage="server") == (NOW, why)


def test_the_order_of_dns_names_is_no_change() -> None:
    held = facts(names=Names(NAMES.uri, ("a", "b")))

    assert renewal.renew_at(held, Certificate(), SIGNER, "uid", NOW, names=Names(NAMES.uri, ("b", "a")))[1] == "Due"


@given(seeds)
def test_while_issuing_old_leaves_come_due_within_the_time_for_it(seed: str) -> None:
    due, why = renewal.renew_at(facts(), Certificate(), ROTATING, seed, NOW)

    assert why == "Rotating"
    assert ROTATING.phase_since <= due < ROTATING.phase_since + ROTATING.issuing_seconds


def test_with_issuing_seconds_of_zero_all_come_due_together() -> None:
    by = replace(ROTATING, issuing_seconds=0)

    assert {renewal.renew_at(facts(), Certificate(), by, f"{n}", NOW)[0] for n in range(9)} == {by.phase_since}


def test_while_the_next_ca_is_being_made_known_nothing_comes_due_earlier() -> None:
    by = replace(SIGNER, phase="Distributing", bundle=(ROOT.certificate, OTHER.certificate))

    assert renewal.renew_at(facts(), Certificate(), by, "uid", NOW) == renewal.renew_at(
        facts(), Certificate(), SIGNER, "uid", NOW
    )


def test_a_leaf_that_a_renewal_could_not_prolong_is_left_alone() -> None:
    """Its CA ends in an hour: without this, it would be renewed over and over."""
    old = ca.make_root(CaSpec(duration_seconds=3600), "cluster.local", NOW)
    by = replace(SIGNER, pair=old, bundle=(old.certificate,))
    held = facts(duration=3600, issuer_fingerprint=old.fingerprint)

    assert renewal.renew_at(held, Certificate(), by, "uid", NOW + 3000) == (held.not_after, "IssuerExpires")


@pytest.mark.parametrize(
    ("duration", "before", "late"),
    [(86400, None, False), (86400, 120, True), (300, None, False), (240, None, False), (86400, 180, False)],
)
def test_a_renewal_that_may_reach_the_pods_too_late_is_said(duration: int, before: int | None, late: bool) -> None:
    asked = Certificate(duration_seconds=duration, renew_before_seconds=before)

    assert renewal.too_late(asked, SIGNER) is late


def test_pain_16_the_margin_is_a_third_of_the_life_and_no_less_than_a_volume_needs() -> None:
    assert renewal.renew_before(DAY, Certificate(), SIGNER) == DAY / 3
    assert renewal.renew_before(300, Certificate(duration_seconds=300), SIGNER) == 180


@given(st.integers(-3, 10_000))
def test_failed_renewals_are_repeated_after_a_minute_up_to_an_hour(failures: int) -> None:
    assert 60 <= renewal.backoff(failures) <= renewal.backoff(failures + 1) <= 3600
    assert [renewal.backoff(n) for n in (1, 2, 7, 10_000)] == [60, 120, 3600, 3600]
