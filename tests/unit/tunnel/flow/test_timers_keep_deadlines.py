"""The wheel: nobody is looked at early, nobody is forgotten, and nothing ticks when nobody waits."""

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.flow.timers import NEVER, STEP_SECONDS, Wheel


class Timer(asyncio.TimerHandle):
    """What the fake loop hands out."""


class Hands:
    """A clock that is moved by hand and runs what is due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.loop = asyncio.new_event_loop()
        self.timers: list[Timer] = []

    def clock(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timer = Timer(when, callback, (), self.loop)
        self.timers.append(timer)
        return timer

    def waiting(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled()]

    def advance_to(self, when: float) -> None:
        while due := [timer for timer in self.waiting() if timer.when() <= when]:
            first = min(due, key=lambda timer: timer.when())
            self.timers.remove(first)
            self.now = max(self.now, first.when())
            first._run()
        self.now = max(self.now, when)

    def __enter__(self) -> "Hands":
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()


class Waiting:
    def __init__(self, *answers: float) -> None:
        self.bucket = 0
        self.answers = list(answers)
        self.looked: list[float] = []

    def look(self, now: float) -> float:
        self.looked.append(now)
        return self.answers.pop(0) if self.answers else NEVER


@given(st.lists(st.floats(min_value=0, max_value=500), min_size=1, max_size=20))
def test_everybody_is_looked_at_once_and_never_early(delays: list[float]) -> None:
    with Hands() as hands:
        wheel = Wheel(hands.clock, hands.call_at)
        ones = [(Waiting(), hands.now + delay) for delay in delays]
        for one, when in ones:
            wheel.add(one, when)
        hands.advance_to(hands.now + 1000)
        for one, when in ones:
            (looked,) = one.looked
            assert when <= looked <= when + 2 * STEP_SECONDS
        assert hands.waiting() == []


@given(st.data())
def test_who_was_removed_is_not_looked_at(data: st.DataObject) -> None:
    with Hands() as hands:
        wheel = Wheel(hands.clock, hands.call_at)
        ones = [Waiting() for _ in range(data.draw(st.integers(1, 8)))]
        for one in ones:
            wheel.add(one, hands.now + data.draw(st.sampled_from([0.1, 0.1, 3.0])))
        gone = data.draw(st.sets(st.sampled_from(range(len(ones)))))
        for number in gone:
            wheel.remove(ones[number])
            wheel.remove(ones[number])
        hands.advance_to(hands.now + 10)
        assert [len(one.looked) for one in ones] == [0 if number in gone else 1 for number in range(len(ones))]


def test_a_look_says_when_the_next_one_is() -> None:
    with Hands() as hands:
        wheel = Wheel(hands.clock, hands.call_at)
        one = Waiting(1010.0, 1020.0)
        wheel.add(one, 1005.0)
        hands.advance_to(2000.0)
        assert [round(at) for at in one.looked] == [1005, 1010, 1020]


def test_a_look_that_asks_for_the_past_comes_back_one_step_later_and_does_not_spin() -> None:
    with Hands() as hands:
        wheel = Wheel(hands.clock, hands.call_at)
        one = Waiting(0.0, 0.0, NEVER)
        wheel.add(one, 1005.0)
        hands.advance_to(1006.0)
        assert len(one.looked) == 3
        assert one.looked[2] - one.looked[0] >= 2 * STEP_SECONDS


def test_a_look_may_remove_its_neighbour() -> None:
    with Hands() as hands:
        wheel = Wheel(hands.clock, hands.call_at)
        other = Waiting()

        class Killer(Waiting):
            def look(self, now: float) -> float:
                wheel.remove(other)
                wheel.remove(second)
                return super().look(now)

        first, second = Killer(), Killer()
        for one in (first, second, other):
            wheel.add(one, 1001.0)
        hands.advance_to(1100.0)
        assert len(first.looked) + len(second.looked) >= 1
        assert hands.waiting() == []
