"""Merging conditions: a time moves with its status and with nothing else; Ready sums up what counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.model.conditions import LONGEST_MESSAGE, Condition, merge, summary
from mtls_tunnel_operator.model.moments import epoch, rfc3339

NOON = 1_795_262_400.0
TYPES = ("Accepted", "CertificatesReady", "PodsReady", "PlaintextBlocked")
CONDITIONS = st.builds(
    Condition,
    st.sampled_from(TYPES),
    st.sampled_from(("True", "False", "Unknown")),
    st.sampled_from(("One", "Two")),
    st.sampled_from(("", "Do this.")),
)


def test_a_first_condition_says_when_it_began() -> None:
    assert merge([], [Condition("Accepted", "True", "Accepted", "")], 3, NOON) == [
        {
            "type": "Accepted",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-11-21T12:00:00Z",
            "reason": "Accepted",
            "message": "",
        }
    ]


@given(st.lists(st.tuples(st.lists(CONDITIONS, max_size=5), st.integers(1, 600)), max_size=6))
def test_a_time_moves_with_its_status_only(steps: list[tuple[list[Condition], int]]) -> None:
    stored: list[dict[str, Any]] = []
    since: dict[str, tuple[str, str]] = {}
    now = NOON
    for generation, (new, seconds) in enumerate(steps):
        now += seconds
        stored = merge(stored, new, generation, now)
        for condition in {condition.type: condition for condition in new}.values():
            if since.get(condition.type, ("", ""))[0] != condition.status:
                since[condition.type] = (condition.status, rfc3339(now))
        assert {item["type"]: (item["status"], item["lastTransitionTime"]) for item in stored} == since
        assert len(stored) == len(since)


@given(st.lists(CONDITIONS, max_size=5))
def test_merging_the_same_again_changes_nothing_ever_after(new: list[Condition]) -> None:
    once = merge([], new, 1, NOON)
    assert merge(once, new, 1, NOON + 9999) == once


def test_what_is_not_spoken_of_stays_and_comes_last() -> None:
    old = merge([], [Condition("PodsReady", "True", "UpToDate", "")], 1, NOON)
    found = merge(old, [Condition("Accepted", "False", "InvalidSpec", "Change it.")], 2, NOON + 60)
    assert [(item["type"], item["observedGeneration"]) for item in found] == [("Accepted", 2), ("PodsReady", 1)]


@pytest.mark.parametrize(
    "odd", [{}, {"type": 7}, {"type": "Accepted"}, {"type": "Accepted", "status": "True"}], ids=str
)
def test_a_status_that_somebody_has_spoilt_is_made_whole(odd: dict[str, Any]) -> None:
    found = merge([odd], [Condition("Accepted", "True", "Accepted", "")], 1, NOON)
    assert found == merge([], [Condition("Accepted", "True", "Accepted", "")], 1, NOON)


def test_a_message_is_cut_where_the_api_server_would_refuse_it() -> None:
    (found,) = merge([], [Condition("Accepted", "False", "X", "x" * 40000)], 1, NOON)
    assert len(found["message"]) == LONGEST_MESSAGE


GOOD = Condition("Accepted", "True", "Accepted", "")
ISSUED = Condition("CertificatesReady", "True", "Issued", "")
CURRENT = Condition("PodsReady", "True", "UpToDate", "All 3 pods are up to date.")
NO_PODS = Condition("PodsReady", "Unknown", "NoPodsSelected", "Label pods.")
OUTDATED = Condition("PodsReady", "False", "PodsOutdated", "Restart them.")
FAILING = Condition("CertificatesReady", "False", "Expired", "Look at the issuer.")
OPEN = Condition("PlaintextBlocked", "Unknown", "Unverified", "")
ROTATING = Condition("RotationInProgress", "True", "Distributing", "")


@pytest.mark.parametrize(
    ("given_", "status", "reason", "message"),
    [
        pytest.param([GOOD, ISSUED, CURRENT], "True", "Ready", "All 3 pods are up to date.", id="all is well"),
        pytest.param([GOOD, ISSUED, NO_PODS], "Unknown", "NoPodsSelected", "Label pods.", id="nothing is wrong yet"),
        pytest.param([GOOD, FAILING, NO_PODS], "False", "Expired", "Look at the issuer.", id="False before Unknown"),
        pytest.param(
            [OUTDATED, FAILING, GOOD], "False", "Expired", "Look at the issuer.", id="the first that is needed"
        ),
        pytest.param(
            [GOOD, ISSUED, CURRENT, OPEN, ROTATING], "True", "Ready", CURRENT.message, id="others do not count"
        ),
        pytest.param(
            [GOOD, CURRENT], "Unknown", "Pending", "CertificatesReady has not been looked at yet.", id="missing"
        ),
        pytest.param([], "Unknown", "Pending", "Accepted has not been looked at yet.", id="nothing at all"),
    ],
)
def test_ready_sums_up_what_counts(given_: list[Condition], status: str, reason: str, message: str) -> None:
    assert summary(given_) == Condition("Ready", status, reason, message)  # type: ignore[arg-type]


def test_another_resource_names_what_it_needs() -> None:
    assert summary([Condition("SignerReady", "True", "CurrentCA", "Signs.")], ("SignerReady",)).status == "True"


@given(st.integers(0, 4_000_000_000))
def test_moments_are_read_as_they_are_written(moment: int) -> None:
    assert epoch(rfc3339(moment)) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21T12:00:00.5Z", NOON + 0.5),
        ("2026-11-21T13:00:00+01:00", NOON),
        ("2026-11-21T12:00:00", NOON),
        ("yesterday", 0.0),
        ("", 0.0),
        (None, 0.0),
        (7, 0.0),
    ],
)
def test_a_moment_that_is_none_is_the_beginning(text: object, moment: float) -> None:
    assert epoch(text) == moment
