"""What the probes are answered in each state, and what the numbers tell."""

from collections.abc import Callable

import pytest

from mtls_tunnel_operator.control.health import Health
from mtls_tunnel_operator.control.meters import PHASES, Meters
from mtls_tunnel_operator.control.queue import Item
from support.clock import Clock


def after(*steps: Callable[[Health, Clock], object]) -> tuple[str, str]:
    """alive() and ready() after *steps*; the loop has turned until then."""
    clock = Clock(0.0)
    health = Health(clock)
    for step in steps:
        step(health, clock)
        health.beats()
    return health.alive(), health.ready()


def leads(health: Health, _: Clock) -> None:
    health.leads()


def begins(health: Health, _: Clock) -> None:
    health.begins()


def resynced(health: Health, _: Clock) -> None:
    health.resynced()


def passes(seconds: float) -> Callable[[Health, Clock], object]:
    return lambda _, clock: clock.advance(seconds)


def stopping(health: Health, _: Clock) -> None:
    health.stopping = True


@pytest.mark.parametrize(
    ("steps", "alive", "ready"),
    [
        ([], "", ""),
        ([passes(9999)], "", ""),
        ([leads], "", "the cluster has not been read as a whole yet"),
        ([leads, passes(9999)], "", "the cluster has not been read as a whole yet"),
        ([leads, begins, passes(1100), resynced], "", ""),
        ([leads, begins, resynced, passes(1100)], "", ""),
        ([leads, begins, resynced, passes(1201)], *["the last comparison with the cluster is 1201 s old"] * 2),
        (
            [leads, begins, passes(1300)],
            "the last comparison with the cluster is 1300 s old",
            "the cluster has not been read as a whole yet",
        ),
        ([leads, begins, resynced, stopping], "", "stopping"),
    ],
    ids=[
        "waiting for the Lease",
        "waiting for long",
        "just taken",
        "waiting for CRDs for long",
        "compared",
        "compared a while ago",
        "not compared for too long",
        "never compared",
        "stopping",
    ],
)
def test_each_state_has_its_answers(steps: list[Callable[[Health, Clock], object]], alive: str, ready: str) -> None:
    assert after(*steps) == (alive, ready)


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    clock = Clock(0.0)
    health = Health(clock)
    clock.advance(10.5)
    assert health.alive() == health.ready() == "the event loop has not turned for 10 s"


def test_numbers_of_a_tunnel_end_with_it() -> None:
    meters = Meters()

    def series() -> set[str]:
        return {
            sample.name
            for family in meters.registry.collect()
            for sample in family.samples
            if sample.labels.get("name") == "db"
        }

    meters.certificate("shop", "db", "server", "", 1e9)
    meters.pods("shop", "db", 3, 2, 1)
    meters.ready("shop", "db", "True")
    meters.renewal_failures("shop", "db", 2)
    assert len(series()) == 4
    meters.forget_certificate("shop", "db", "server", "")
    assert len(series()) == 3
    meters.forget_tunnel("shop", "db")
    assert series() == set()


def test_a_trust_domain_is_in_one_phase() -> None:
    meters = Meters()
    name, value = "mtls_tunnel_operator_rotation_phase", meters.registry.get_sample_value
    for phase in PHASES:
        meters.rotation("default", phase, 1.0)
        assert [value(name, {"domain": "default", "phase": each}) for each in PHASES] == [
            float(each == phase) for each in PHASES
        ]
    meters.forget_domain("default")
    assert meters.registry.get_sample_value(name, {"domain": "default", "phase": "Stable"}) is None


def test_work_is_counted_by_kind_and_result() -> None:
    meters = Meters()
    meters.worked(Item("tunnel", "shop", "db"), "success", 0.1)
    meters.worked(Item("tunnel", "shop", "db"), "error", 0.1)
    value = meters.registry.get_sample_value
    prefix = "mtls_tunnel_operator_reconcile"
    assert value(f"{prefix}_total", {"kind": "tunnel", "result": "success"}) == 1
    assert value(f"{prefix}_errors_total", {"kind": "tunnel"}) == 1
    assert value(f"{prefix}_time_seconds_count", {"kind": "tunnel"}) == 2
