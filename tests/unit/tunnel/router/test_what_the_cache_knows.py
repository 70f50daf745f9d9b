"""The cache against a model: nothing serves after its row has changed, nothing fresh after its time, never too many."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.router.cache import Cache, Change, Question
from mtls_tunnel.router.rows import Found, Host, User

Q = Question("host-1", "user-1")
FOUND = Found((Host("Host-1", "10.0.0.1", "o", team_ids=frozenset({"ops"})),), (), User("user-1", "o"))


def kept(**limits: int) -> Cache:
    cache = Cache(seconds=5, stale_seconds=60, **limits)
    assert cache.keep(cache.begin(Q), FOUND, 100.0)
    return cache


def test_an_answer_is_fresh_then_stale_then_gone() -> None:
    cache = kept()

    seen = [
        (now, answer and answer.fresh)
        for now in (100.0, 104.9, 105.0, 164.9, 165.0)
        for answer in [cache.answer(Q, now)]
    ]

    assert seen == [(100.0, True), (104.9, True), (105.0, False), (164.9, False), (165.0, None)]
    assert len(cache) == 0


def test_each_row_that_an_answer_depends_on_makes_it_forgotten() -> None:
    for change in (
        Change("backend_hosts", "HOST-1"),
        Change("users", "user-1"),
        Change("teams", "ops"),
    ):
        cache = kept()
        assert cache.forget(change) == {Q}
        assert cache.answer(Q, 100.0) is None


def test_other_rows_change_nothing() -> None:
    cache = kept()

    for change in (Change("backend_hosts", "ops"), Change("users", "host-1"), Change("teams", "user-1")):
        assert cache.forget(change) == frozenset()
    assert cache.answer(Q, 100.0) is not None


def test_that_there_is_no_such_host_is_forgotten_too_when_it_comes() -> None:
    cache = Cache(seconds=5, stale_seconds=0)
    cache.keep(cache.begin(Q), Found(), 0.0)

    assert cache.forget(Change("backend_hosts", "Host-1")) == {Q}


@pytest.mark.parametrize(
    "change", [Change("users", "user-1"), Change("backend_hosts", "HOST-1"), Change("teams", "whichever")], ids=str
)
def test_what_was_read_before_its_row_changed_is_not_kept(change: Change) -> None:
    cache = Cache(seconds=5, stale_seconds=60)
    lookup = cache.begin(Q)
    cache.forget(change)

    assert not cache.keep(lookup, FOUND, 0.0)
    assert cache.answer(Q, 0.0) is None


def test_rows_that_do_not_concern_it_spoil_no_lookup() -> None:
    """A table that is written all the time must not make every answer worthless."""
    cache = Cache(seconds=5, stale_seconds=60)
    lookup = cache.begin(Q)
    cache.forget(Change("users", "somebody else"))
    cache.forget(Change("backend_hosts", "another host"))

    assert cache.keep(lookup, FOUND, 0.0)


@pytest.mark.parametrize("loss", [lambda cache: cache.flush(), lambda cache: cache.expire(0.0)], ids=["flush", "loss"])
def test_what_was_read_before_anything_may_have_changed_is_not_kept(loss: Callable[[Cache], None]) -> None:
    cache = Cache(seconds=5, stale_seconds=60)
    lookup = cache.begin(Q)
    loss(cache)

    assert not cache.keep(lookup, FOUND, 0.0)


def test_after_a_loss_nothing_is_fresh_but_may_serve_for_a_while() -> None:
    cache = kept()
    cache.expire(101.0)

    answer = cache.answer(Q, 101.0)
    assert answer is not None
    assert not answer.fresh
    assert cache.may_serve(160.0)
    assert not cache.may_serve(161.0)


def test_nothing_may_serve_from_an_empty_cache() -> None:
    assert not Cache(seconds=5, stale_seconds=60).may_serve(0.0)


IDS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), IDS, IDS, IDS),
        st.tuples(st.just("forget"), st.sampled_from(["backend_hosts", "users", "teams"]), IDS, st.just("")),
        st.tuples(st.just("wait"), st.integers(1, 9), st.just(""), st.just("")),
    ),
    max_size=40,
)


@given(STEPS)
def test_any_story_ends_as_in_a_plain_model(steps: list[tuple[str, object, str, str]]) -> None:
    cache, now = Cache(seconds=5, stale_seconds=10, most=4), 0.0
    model: dict[Question, tuple[str, float]] = {}
    for what, one, other, team in steps:
        if what == "wait":
            now += float(str(one))
        elif what == "keep":
            question = Question(str(one), other)
            found = Found((Host(str(one), "x", "o", team_ids=frozenset({team})),))
            cache.keep(cache.begin(question), found, now)
            model.pop(question, None)
            model[question] = (team, now + 5)
            model = dict(list(model.items())[-4:])
        else:
            place = {"backend_hosts": 0, "users": 1, "teams": 2}[str(one)]
            cache.forget(Change(one, other))  # type: ignore[arg-type]  # one of the three, by the strategy
            model = {key: value for key, value in model.items() if (*key, value[0])[place] != other}
        for question in [Question(a, b) for a in "abc" for b in "abc"]:
            answer = cache.answer(question, now)
            expires = model[question][1] if question in model else -100.0
            assert (answer and answer.fresh) == (True if now < expires else False if now < expires + 10 else None)
