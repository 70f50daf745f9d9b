"""CA rotation as a whole: a fleet of pods that read late, an operator that is killed, and time.

At every moment each pod must accept each other one, whatever is lost, repeated or late; and every rotation ends.
"""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.model.resources import Rotation
from support.rotating import ISSUING, PROPAGATION, Fleet

seeds = st.integers(min_value=0, max_value=2**32)
EXAMPLES = 10


def assert_at_rest(fleet: Fleet) -> None:
    """Stable, one CA, with its key, and everybody has a leaf of it and trusts nothing else."""
    known = fleet.state
    assert [one.role for one in known.authorities] == ["Current"]
    assert known.current is not None
    assert known.current.signs
    assert known.progress.phase == "Stable"
    everyone = {pod.has for secret in fleet.secrets for pod in secret.pods}
    assert {content.issuer for content in everyone} == {known.current.fingerprint}
    assert {content.bundle for content in everyone} == {(known.current.fingerprint,)}


@given(seeds)
@settings(max_examples=EXAMPLES, deadline=None)
def test_pain_13_every_pair_of_pods_accepts_each_other_at_every_moment_of_a_rotation(seed: int) -> None:
    fleet = Fleet(Random(seed))
    first = fleet.state.fingerprints

    fleet.ask("1")
    for _ in fleet.rest():
        assert fleet.refused() == []

    assert_at_rest(fleet)
    assert fleet.state.fingerprints != first
    assert fleet.phases == ["Stable", "Distributing", "Issuing", "Retiring", "Stable"]
    assert fleet.made == 2


@given(seeds)
@settings(max_examples=EXAMPLES, deadline=None)
def test_restarts_deleted_secrets_and_new_tunnels_break_no_connection(seed: int) -> None:
    random = Random(seed)
    fleet = Fleet(random)
    fleet.ask("1")

    for number, _ in enumerate(fleet.run(1500)):
        assert fleet.refused() == []
        match random.randrange(8):
            case 0:
                fleet.restart()
            case 1:
                random.choice(fleet.secrets).gone = True
            case 2 if len(fleet.secrets) < 6:
                fleet.secrets.append(fleet.new_secret())
            case 3:
                fleet.ask(f"{number}")  # requests during a rotation wait
    for _ in fleet.rest():
        assert fleet.refused() == []

    assert_at_rest(fleet)


@given(seeds, st.sampled_from(["Current", "Next", "Retired"]), st.integers(min_value=0, max_value=80))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_ca_whose_secret_is_deleted_in_any_phase_breaks_no_connection(seed: int, role: str, moment: int) -> None:
    fleet = Fleet(Random(seed))
    fleet.ask("1")

    for number, _ in enumerate(fleet.run(2500)):
        if number == moment:
            fleet.lose_key(role)
        assert fleet.refused() == []

    assert_at_rest(fleet)


@pytest.mark.parametrize("role", ["Current", "Next", "Retired"])
@pytest.mark.parametrize("phase", ["Distributing", "Issuing", "Retiring"])
def test_no_phase_waits_for_ever_for_a_ca_whose_secret_is_deleted(phase: str, role: str) -> None:
    for seed in range(3):
        fleet = Fleet(Random(seed))
        fleet.ask("1")
        for _ in fleet.run(3000):
            if fleet.state.progress.phase == phase:
                break
        fleet.lose_key(role)
        for _ in fleet.rest():
            assert fleet.refused() == []

        assert_at_rest(fleet)


@given(seeds, st.lists(st.integers(min_value=-400, max_value=4000), min_size=1, max_size=8))
@settings(max_examples=EXAMPLES, deadline=None)
def test_whatever_the_clock_says_no_leaf_is_handed_out_that_a_written_bundle_refuses(
    seed: int, jumps: list[int]
) -> None:
    """Waits for pods need a clock; the order of writes does not."""
    fleet = Fleet(Random(seed))
    fleet.ask("1")

    for jump in jumps:
        for _ in fleet.run(150):
            assert fleet.unconfirmed() == []
        fleet.clock = float(jump)
    for _ in fleet.rest():
        assert fleet.unconfirmed() == []

    assert_at_rest(fleet)


@given(seeds, st.integers(min_value=0, max_value=80), st.sampled_from(["Current", "Next", "Retired"]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_compromised_ca_is_in_no_bundle_that_is_written_after_its_successor_signs(
    seed: int, moment: int, role: str
) -> None:
    fleet = Fleet(Random(seed))
    fleet.ask("1")
    for number, _ in enumerate(fleet.run(2500)):
        if number == moment:
            fleet.name_compromised(*(one.fingerprint for one in fleet.state.authorities if one.role == role))
        named = set(fleet.domain.compromised)
        current = fleet.state.current
        if current is not None and current.fingerprint not in named:
            assert not named & set(fleet.state.fingerprints)

    assert_at_rest(fleet)


def test_an_emergency_reaches_the_secrets_at_once() -> None:
    fleet = Fleet(Random(1))
    old = fleet.state.fingerprints[0]

    fleet.name_compromised(old)
    fleet.settle(60)

    assert old not in fleet.state.fingerprints
    assert all(old not in secret.content.bundle and secret.content.issuer != old for secret in fleet.secrets)
    assert fleet.state.progress.emergency


def test_the_simulation_notices_a_rotation_that_does_not_wait_for_pods() -> None:
    """What the tests above rest on: with waits that are shorter than pods take, some pod is refused."""
    refused = 0
    for seed in range(10):
        fleet = Fleet(Random(seed))
        fleet.domain = replace(fleet.domain, rotation=Rotation(0, ISSUING))
        fleet.ask("1")
        refused += sum(bool(fleet.refused()) for _ in fleet.rest())
    assert refused > 0


def test_one_secret_that_never_changes_holds_up_the_rotation_and_is_named() -> None:
    fleet = Fleet(Random(3))
    stuck = fleet.secrets.pop()
    fleet.ask("1")
    fleet.secrets.append(stuck)
    fleet.tend = lambda secret: None  # type: ignore[method-assign]

    fleet.settle(20 * PROPAGATION)

    assert fleet.phases == ["Stable", "Distributing"]
    assert "RotationWaiting" in fleet.findings
