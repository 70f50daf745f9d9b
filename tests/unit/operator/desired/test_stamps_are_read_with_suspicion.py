"""What stands in an annotation comes back as it was written, or counts as not there."""

import copy
import json
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from mtls_tunnel.config.addresses import parse
from mtls_tunnel.config.schema import Address
from mtls_tunnel_operator.desired import stamps
from mtls_tunnel_operator.desired.staging import Dial, Served

times = st.integers(0, 2**40).map(float)
words = st.sampled_from(("pg", "api", "a-b"))
ports = st.integers(1, 65535)
served = st.builds(
    Served,
    ports,
    ports,
    words,
    times,
    st.dictionaries(words, times).map(lambda found: tuple(sorted(found.items()))),
    st.none() | times,
)
dials = st.lists(st.builds(Dial, words, ports, st.just("db.shop.svc.cluster.local"), ports), max_size=3).map(tuple)


@given(st.lists(served, max_size=4, unique_by=lambda one: one.tls_port), st.dictionaries(words, times), dials)
def test_state_survives_being_written(given: list[Served], leaving: dict[str, float], dialed: tuple[Dial, ...]) -> None:
    text = stamps.served_text(tuple(given), leaving)

    assert stamps.served_of(text) == {one.tls_port: one for one in given}
    assert stamps.leaving_of(text) == leaving
    assert stamps.dialed_of(stamps.dialed_text(dialed)) == dialed


odd = st.none() | st.booleans() | st.floats() | st.sampled_from((-1, 0, 65536, 10**400, "x", "a b", [], {}))


@st.composite
def almost(draw: st.DrawFn) -> str:
    """A good annotation in which one value was replaced."""
    good: Any = draw(
        st.sampled_from(
            (
                {"ports": {"1": {"port": "pg", "target": 1, "since": 1, "clients": {"a": 1}, "closing": 1}}},
                {"ports": {}, "leaving": {"h": 1}},
                [["pg", 1, "db", 1]],
            )
        )
    )
    made = copy.deepcopy(good)
    place = made
    while isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(odd)
            break
        place = place[key]
    return json.dumps(made)


@given(st.one_of(st.text(max_size=20), almost()))
@example("[" * 100_000)
@example('{"ports": {"99999": {"port": "pg", "target": 1, "since": 1, "clients": {}}}}')
@example('[["pg", 1, "evil host", 1]]')
def test_anything_else_counts_as_empty_and_raises_nothing(text: str) -> None:
    for number, one in stamps.served_of(text).items():
        assert 1 <= number <= 65535
        assert 1 <= one.target_port <= 65535
        assert all(map(math.isfinite, (one.since, one.closing or 0.0, *(since for _, since in one.clients))))
    assert all(map(math.isfinite, stamps.leaving_of(text).values()))
    for dial in stamps.dialed_of(text):
        assert str(parse(str(Address(dial.host, dial.tls_port)), listening=False))
        assert 1 <= dial.local_port <= 65535


def test_what_is_longer_than_any_resource_can_make_it_counts_as_empty() -> None:
    longest = tuple(
        Dial("p" * 63, 60_000 + number, f"{'.'.join(['d' * 61] * 4)}", 50_000 + number) for number in range(16)
    )
    assert stamps.dialed_of(stamps.dialed_text(longest)) == longest
    assert stamps.dialed_of(stamps.dialed_text(longest * 4)) == ()
