"""A status made of an unchanged picture is the one that is stored, and its changes are told once."""

import copy
import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.control.pods.census import Census, Member, Side, Standing
from mtls_tunnel_operator.control.pods.turns import Moving
from mtls_tunnel_operator.control.telling.picture import Held, Picture, Problem, Rotating
from mtls_tunnel_operator.control.telling.status import broken, failed, notices, status_of
from mtls_tunnel_operator.model.pods import Owner
from support.tunnel_resources import NOON, pod, tunnel

standings: st.SearchStrategy[Standing] = st.sampled_from(
    ["UpToDate", "Outdated", "NotInjected", "Clash", "CannotBeInjected", "OtherAccount"]
)
owners = st.sampled_from([None, Owner("apps/v1", "StatefulSet", "db", "u"), Owner("batch/v1", "Job", "nightly", "u")])
problems = st.builds(Problem, st.sampled_from(["NameConflict", "IssuerNotFound"]), st.just("do this"))


def _member(number: int, standing: Standing, owner: Owner | None) -> Member:
    return Member(pod(f"p{number}", owner=owner), standing, "r", "why")


def _picture(server: list[Member], api: list[Member], **rest: Any) -> Picture:
    found = Census(Side("server", tuple(server)), (Side("api", tuple(api)),))
    return Picture(tunnel=tunnel(), census=found, **rest)


members = st.lists(st.builds(_member, st.integers(0, 9), standings, owners), max_size=5)
held = st.builds(
    Held,
    role=st.sampled_from(["server", "api"]),
    account=st.sampled_from(["", "db"]),
    namespace=st.just("shop"),
    secret=st.just("s"),
    serial=st.just("ab"),
    not_before=st.sampled_from([NOON - 300, NOON + 900]),
    not_after=st.sampled_from([0.0, NOON - 1, NOON + 1000]),
    renew_at=st.sampled_from([0.0, NOON + 500]),
    problem=st.none() | problems,
)
pictures = st.builds(
    _picture,
    members,
    members,
    problems=st.lists(problems, max_size=2).map(tuple),
    held=st.lists(held, max_size=3).map(tuple),
    enabled=st.booleans(),
    refused=st.sampled_from([{}, {"api": ("bi", "hr")}]),
    rotating=st.sampled_from([Rotating(), Rotating("Issuing", ("aa", "bb"), "default")]),
    moving=st.sampled_from([Moving(), Moving(stuck=("deployment/a",)), Moving(blocked="a budget")]),
    write_problem=st.none() | st.just(Problem("WriteRefused", "do this")),
)


@given(pictures)
def test_the_same_picture_makes_the_same_status(picture: Picture) -> None:
    first = status_of(picture, NOON)
    again = dataclasses.replace(picture, tunnel=dataclasses.replace(picture.tunnel, status=copy.deepcopy(first)))
    assert status_of(again, NOON + 7) == first
    assert notices(first, first) == []


@given(pictures)
def test_every_condition_has_a_reason_and_a_message(picture: Picture) -> None:
    status = status_of(picture, NOON)
    types = [item["type"] for item in status["conditions"]]
    assert types[0] == "Ready"
    assert len(set(types)) == len(types)
    for item in status["conditions"]:
        assert item["reason"].isalpha()
        assert item["message"].rstrip().endswith((".", "`", "this"))
        assert len(item["message"]) < 32768


@given(pictures, pictures)
def test_events_are_short_enough_and_bad_news_are_warnings(before: Picture, after: Picture) -> None:
    for notice in notices(status_of(before, NOON), status_of(after, NOON)):
        assert len(notice.message) <= 1024
        if notice.reason in (
            "WriteRefused",
            "PodsNotInjected",
            "RolloutStuck",
            "Expired",
            "NotYetValid",
            "NameConflict",
            "RenewalFailing",
        ):
            assert notice.type == "Warning"


def test_a_transition_time_changes_with_the_status_only() -> None:
    first = status_of(Picture(tunnel(), Census(Side("server"))), NOON)
    stored = tunnel(status=first)
    second = status_of(Picture(stored, Census(Side("server"), ()), held=(HELD,)), NOON + 60)
    times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
    assert times["CertificatesReady"] != times["PodsReady"]


HELD = Held("server", "", "shop", "s", "ab", NOON, NOON + 1000, NOON + 500)


def test_what_breaks_later_keeps_what_was_known() -> None:
    good = status_of(Picture(tunnel(), Census(Side("server")), held=(HELD,)), NOON)
    for later in (
        broken(good, "InvalidSelector", "change it.", 2, NOON + 9),
        failed(good, "ApiUnavailable", "tried again.", 2, NOON + 9),
    ):
        assert later["certificates"] == good["certificates"]
        assert later["observedGeneration"] == 2
        kept = [item for item in later["conditions"] if item["type"] == "CertificatesReady"]
        assert [item["reason"] for item in kept] == ["Issued"]


def test_a_status_that_somebody_made_nonsense_of_is_replaced() -> None:
    nonsense: dict[str, Any] = {"conditions": "none", "certificates": 7}
    made = status_of(Picture(tunnel(status=nonsense), Census(Side("server")), held=(HELD,)), NOON)
    assert made["conditions"][0]["type"] == "Ready"
    assert isinstance(broken(nonsense, "InvalidSpec", "change it.", 1, NOON)["conditions"], list)
