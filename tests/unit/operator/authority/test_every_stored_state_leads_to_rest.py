"""Whatever lies in the Secrets of a trust domain, in whatever order it was written: it comes to rest, with one CA."""

from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.authority import ca, rotation, state
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.rotation import PATIENCE, Holder, Holders, Make, Origin, Remove, Write
from mtls_tunnel_operator.authority.signer import Phase
from mtls_tunnel_operator.authority.state import Authority, Memory, Progress, Role
from mtls_tunnel_operator.model.resources import CaSpec
from support.clock import NOW
from support.rotating import PROPAGATION, Fleet, domain, pair

PHASES: tuple[Phase, ...] = ("Stable", "Distributing", "Issuing", "Retiring")
ROLES: tuple[Role, ...] = ("Next", "Current", "Retired")
# A CA: its role, whether its key is there, whether it is named compromised.  None: it is not there.
KINDS = (None, *product(ROLES, (True, False), (False, True)))
kinds = st.sampled_from(KINDS)


def stored(*found: tuple[Role, bool, bool] | None, phase: Phase, emergency: bool = False) -> Fleet:
    fleet = Fleet(Random(1), secrets=0)
    fleet.stored, fleet.memories, fleet.made = {}, (), 10
    named = []
    for sequence, kind in enumerate(found, 1):
        if kind is None:
            continue
        role, signs, compromised = kind
        whole = pair(sequence)
        held = whole if signs else Pair(whole.certificate, None)
        progress = Progress(phase, NOW - 50, "", emergency)
        fleet.stored[sequence] = Authority(sequence, role, held, progress=progress, stored_role=role)
        named += [whole.fingerprint] if compromised else []
    fleet.name_compromised(*named)
    return fleet


def come_to_rest(fleet: Fleet) -> None:
    for _ in range(60):
        decision = fleet.decide()
        for step in decision.steps:
            fleet.take(step)
        if decision.steps:
            continue
        known = fleet.state
        if known.progress.phase == "Stable" and len(known.authorities) == 1:
            return
        assert decision.wait_until is not None
        assert decision.wait_until > fleet.now
        fleet.now = decision.wait_until
    raise AssertionError(f"no rest: {fleet.state}")


def assert_rests(fleet: Fleet) -> None:
    come_to_rest(fleet)
    current = fleet.state.current
    assert current is not None
    assert current.signs
    assert not current.distrusted


@pytest.mark.parametrize("phase", PHASES)
def test_every_pair_of_stored_cas_comes_to_rest(phase: Phase) -> None:
    for one, other in product(KINDS, KINDS):
        assert_rests(stored(one, other, phase=phase))


@given(st.tuples(kinds, kinds, kinds, kinds), st.sampled_from(PHASES), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_four_stored_cas_come_to_rest(
    found: tuple[tuple[Role, bool, bool] | None, ...], phase: Phase, emergency: bool
) -> None:
    assert_rests(stored(*found, phase=phase, emergency=emergency))


@given(st.permutations(range(4)), st.integers(0, 15), st.tuples(kinds, kinds, kinds, kinds), st.sampled_from(PHASES))
@settings(max_examples=150, deadline=None)
def test_steps_of_one_decision_may_be_taken_in_any_order_in_part_and_twice(
    order: list[int], taken: int, found: tuple[tuple[Role, bool, bool] | None, ...], phase: Phase
) -> None:
    fleet = stored(*found, phase=phase)
    for _ in range(8):
        steps = fleet.decide().steps
        for place in order:
            if place < len(steps) and taken & 1 << place:
                fleet.take(steps[place])
                fleet.take(steps[place])

    assert_rests(fleet)


def test_nothing_stored_makes_a_first_ca_with_the_request_answered() -> None:
    wanted = replace(domain(), rotate_request="7")

    decision = rotation.decide(state.assemble(()), wanted, Holders(), NOW)

    assert decision.steps == (Make(1, first=True, progress=Progress("Stable", NOW, "7")),)


def test_the_phase_changes_only_when_the_next_ca_is_stored() -> None:
    one = Authority(1, "Current", pair(1), stored_role="Current")
    wanted = replace(domain(ca=_LONG), rotate_request="7")

    making = rotation.decide(state.assemble([one]), wanted, Holders(), NOW)
    following = Authority(2, "Next", pair(2), stored_role="Next")
    begun = rotation.decide(state.assemble([one, following]), wanted, Holders(), NOW)

    assert making.steps == (Make(2, first=False),)
    assert begun.steps == (Write(replace(one, progress=Progress("Distributing", NOW, "7"))),)


def test_a_new_ca_takes_a_name_under_which_no_other_is_still_needed() -> None:
    progress = Progress("Issuing", NOW)
    retired = Authority(1, "Retired", pair(1), stored_role="Retired")
    keyless = Authority(4, "Current", Pair(pair(4).certificate, None), progress=progress, stored_role="Current")

    decision = rotation.decide(state.assemble([retired, keyless]), domain(ca=_LONG), Holders(), NOW)

    assert decision.steps == (Make(6, first=False),)  # the fifth would lie where the first does


def test_waits_run_from_the_last_write_that_was_seen() -> None:
    one = Authority(1, "Current", pair(1), progress=Progress("Distributing", NOW), stored_role="Current")
    known = state.assemble([one, Authority(2, "Next", pair(2), stored_role="Next")])
    bundle = ca.bundle_fingerprint(known.bundle)

    def until(*secrets: Holder, since: float = 0.0) -> float | None:
        return rotation.decide(known, domain(ca=_LONG), Holders(secrets, (), since), NOW + 1).wait_until

    assert until() == NOW + PROPAGATION
    assert until(Holder("a", "x", bundle, NOW + 40)) == NOW + 40 + PROPAGATION
    assert until(Holder("a", "x", bundle, NOW - 99), Holder("b", "x", bundle, NOW + 9)) == NOW + 9 + PROPAGATION
    assert until(since=NOW + 70) == NOW + 70 + PROPAGATION


def test_a_phase_that_was_begun_by_a_clock_ten_years_ahead_begins_now() -> None:
    ahead = Progress("Distributing", NOW + 315_360_000, "7")
    one = Authority(1, "Current", pair(1), progress=ahead, stored_role="Current")
    known = state.assemble([one, Authority(2, "Next", pair(2), stored_role="Next")])

    decision = rotation.decide(known, domain(ca=_LONG), Holders(), NOW)

    assert decision.steps == (Write(replace(one, progress=Progress("Distributing", NOW, "7"))),)


@pytest.mark.parametrize("phase", ["Distributing", "Issuing", "Retiring"])
def test_who_holds_up_a_phase_is_named_and_no_more_than_three(phase: Phase) -> None:
    role: Role = "Next" if phase == "Distributing" else "Current"
    old: Role = "Current" if phase == "Distributing" else "Retired"
    progress = Progress(phase, NOW)
    known = state.assemble(
        [
            Authority(1, old, pair(1), progress=progress, stored_role=old),
            Authority(2, role, pair(2), progress=progress, stored_role=role),
        ]
    )
    secrets = tuple(Holder(f"shop/{n}", pair(1).fingerprint, "old") for n in range(5))

    decision = rotation.decide(known, domain(ca=_LONG), Holders(secrets, ("bi/gone",)), NOW + 9999)

    assert decision.steps == ()
    assert [one.reason for one in decision.findings] == ["RotationWaiting"]
    assert "6 Secrets" in decision.findings[0].message
    assert "bi/gone, shop/0, shop/1, ..." in decision.findings[0].message


@pytest.mark.parametrize("phase", ["Distributing", "Issuing", "Retiring"])
def test_no_phase_outlives_the_leaves_that_were_there_when_it_began(phase: Phase) -> None:
    """Somebody may put copies of a fresh leaf into Secrets of their own, again and again."""
    role: Role = "Next" if phase == "Distributing" else "Current"
    old: Role = "Current" if phase == "Distributing" else "Retired"
    progress = Progress(phase, NOW)
    first = Authority(1, old, pair(1), progress=progress, stored_role=old)
    held = Holders((Holder("shop/copy", pair(1).fingerprint, "old"),), ("bi/gone",))
    longest = domain().max_leaf_seconds + 300 + PATIENCE * PROPAGATION

    def steps(began: float, now: float) -> list[type]:
        of_next = Progress(since=began) if phase == "Distributing" else progress
        known = state.assemble([first, Authority(2, role, pair(2), progress=of_next, stored_role=role)])
        return [type(step) for step in rotation.decide(known, domain(ca=_LONG), held, now).steps]

    assert steps(NOW, NOW + longest - 1) == []
    assert steps(NOW, NOW + longest) == [Write]
    if phase == "Distributing":  # a next CA that was lost and made anew is not known to anybody yet
        assert steps(NOW + 900, NOW + longest) == []


def test_an_emergency_that_begins_while_another_ca_is_made_known_lasts_until_pods_have_read_of_it() -> None:
    progress = Progress("Distributing", NOW - 500, "7")
    retired = Authority(1, "Retired", pair(1), stored_role="Retired")
    current = Authority(2, "Current", pair(2), progress=progress, stored_role="Current")
    following = Authority(3, "Next", pair(3), stored_role="Next")
    wanted = domain(ca=_LONG, compromised=(pair(1).fingerprint,))

    def decide(*found: Authority, now: float) -> rotation.Decision:
        return rotation.decide(state.assemble(found, (), wanted.compromised), wanted, Holders(), now)

    begun = replace(current, progress=Progress("Distributing", NOW, "7", emergency=True))
    assert decide(retired, current, following, now=NOW).steps == (Write(begun),)
    assert [type(step) for step in decide(retired, begun, following, now=NOW + 1).steps] == [Remove]
    assert decide(begun, following, now=NOW + 2).wait_until == NOW + 2 * PROPAGATION


def test_an_emergency_waits_for_leaves_of_what_was_removed_but_no_other_rotation_does() -> None:
    held = Holders((), (), 0.0, ("shop/db",))

    def findings(*, emergency: bool) -> list[str]:
        progress = Progress("Issuing", NOW, "", emergency)
        one = Authority(2, "Current", pair(2), progress=progress, stored_role="Current")
        old = Authority(1, "Retired", pair(1), stored_role="Retired")
        decision = rotation.decide(state.assemble([old, one]), domain(ca=_LONG), held, NOW + 1)
        return [finding.reason for finding in decision.findings]

    assert findings(emergency=True) == ["RotationWaiting"]
    assert findings(emergency=False) == []


def test_leaves_of_a_ca_that_has_expired_are_not_waited_for() -> None:
    progress = Progress("Issuing", NOW)
    short = ca.make_root(CaSpec(duration_seconds=60), "cluster.local", NOW - 120)
    known = state.assemble(
        [
            Authority(1, "Retired", short, stored_role="Retired"),
            Authority(2, "Current", pair(2), progress=progress, stored_role="Current"),
        ]
    )
    held = Holders((Holder("shop/stuck", short.fingerprint, "old"),))

    decision = rotation.decide(known, domain(ca=_LONG), held, NOW + 1)

    assert [type(step) for step in decision.steps] == [Write]


def test_a_ca_that_expired_while_nobody_looked_is_replaced_at_once() -> None:
    short = ca.make_root(CaSpec(duration_seconds=60), "cluster.local", NOW - 120)
    one = Authority(1, "Current", short, stored_role="Current")
    following = Authority(2, "Next", pair(2), stored_role="Next")

    begun = rotation.decide(state.assemble([one]), domain(ca=_LONG), Holders(), NOW)
    done = rotation.decide(state.assemble([one, following]), domain(ca=_LONG), Holders(), NOW)

    assert begun.steps == (Make(2, first=False),)
    assert begun.findings[0].reason == "CAExpired"
    progress = Progress("Issuing", NOW, "", emergency=True)
    assert done.steps == (Write(replace(following, role="Current", progress=progress)),)


def test_a_margin_longer_than_the_life_of_a_ca_does_not_rotate_without_end() -> None:
    spec = CaSpec(duration_seconds=1000, renew_before_seconds=5000)
    one = Authority(1, "Current", ca.make_root(spec, "cluster.local", NOW), stored_role="Current")

    decision = rotation.decide(state.assemble([one]), domain(ca=spec), Holders(), NOW)

    assert decision.steps == ()
    assert decision.wait_until == NOW + 100


@pytest.mark.parametrize("candidate", ["", "same", "compromised"])
def test_a_ca_of_somebody_else_is_never_replaced_by_nothing(candidate: str) -> None:
    one = Authority(1, "Current", pair(1), "Secret", stored_role="Current")
    wanted = domain(ca=CaSpec(type="Secret", secret="corp"), rotate_request="1", compromised=(pair(2).fingerprint,))
    there = {"": "", "same": pair(1).fingerprint, "compromised": pair(2).fingerprint}[candidate]

    decision = rotation.decide(state.assemble([one]), wanted, Holders(), NOW, Origin(False, there))

    assert decision.steps == ()
    assert "NewCANeeded" in [finding.reason for finding in decision.findings]


# What is stored, and what is remembered.


@given(
    st.sampled_from(ROLES),
    st.sampled_from(PHASES),
    st.integers(0, 2**33),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_stored_ca_is_read_as_it_was_written(
    role: Role, phase: Phase, since: int, request: str, emergency: bool, signs: bool
) -> None:
    held = pair(1) if signs else Pair(pair(1).certificate, None)
    one = Authority(7, role, held, "CertManager", Progress(phase, float(since), request, emergency), role)

    read = state.authority_of(state.secret("default", "system", one), "default")

    assert read is not None
    assert replace(read, pair=held) == one
    assert read.pair.certificate == held.certificate
    assert read.signs is signs
    assert state.authority_of(state.secret("default", "system", one), "other") is None


def test_the_highest_sequence_signs_where_two_writes_were_cut_apart() -> None:
    old = Authority(1, "Current", pair(1), progress=Progress("Distributing", NOW), stored_role="Current")
    new = Authority(2, "Current", pair(2), progress=Progress("Issuing", NOW), stored_role="Current")

    known = state.assemble([old, new])

    assert [one.role for one in known.authorities] == ["Retired", "Current"]
    assert known.fingerprints == (pair(2).fingerprint, pair(1).fingerprint)
    assert known.progress.phase == "Issuing"


@pytest.mark.parametrize(
    ("phase", "role", "comes_back"),
    [
        ("Stable", "Retired", False),
        ("Distributing", "Next", False),
        ("Issuing", "Retired", True),
        ("Retiring", "Current", True),
    ],
)
def test_a_ca_whose_secret_is_gone_comes_back_as_long_as_its_leaves_may_be_in_use(
    phase: Phase, role: Role, comes_back: bool
) -> None:
    signing = Authority(2, "Current", pair(2), progress=Progress(phase, NOW), stored_role="Current")
    gone = Memory(pair(1).certificate, role, 1, Progress(phase, NOW))

    known = state.assemble([signing], [gone])

    assert (pair(1).fingerprint in known.fingerprints) is comes_back
    assert known.current is not None
    assert known.current.fingerprint == pair(2).fingerprint


def test_a_compromised_ca_is_not_remembered() -> None:
    signing = Authority(2, "Current", pair(2), progress=Progress("Issuing", NOW), stored_role="Current")
    gone = Memory(pair(1).certificate, "Retired", 1)

    assert state.assemble([signing], [gone], (pair(1).fingerprint[:16],)).fingerprints == (pair(2).fingerprint,)


@pytest.mark.parametrize(("named", "meant"), [("ab" * 32, True), ("ab" * 8, True), ("ab" * 7, False), ("", False)])
def test_a_compromised_ca_is_named_by_enough_of_its_fingerprint(named: str, meant: bool) -> None:
    assert state.is_compromised("ab" * 32, (named,)) is meant


_LONG = CaSpec(duration_seconds=315_360_000)
