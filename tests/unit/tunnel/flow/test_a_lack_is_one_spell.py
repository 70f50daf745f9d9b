"""Descriptors that come and go: one line when they run out, one when they have been there for a second."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from mtls_tunnel.flow.spell import QUIET_SECONDS, Spell


class Hands:
    """A clock that is moved by hand, and what was said in the meantime."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loop = asyncio.new_event_loop()
        self.timers: list[asyncio.TimerHandle] = []
        self.said: list[str] = []
        self.spell = Spell(self.call_later, lambda: self.said.append("over"))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(self.now + seconds, callback, (), self.loop))
        return self.timers[-1]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when() <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled():
                timer._run()

    def fail(self) -> None:
        if self.spell.failed():
            self.said.append("begins")


@pytest.fixture
def hands() -> Iterator[Hands]:
    made = Hands()
    yield made
    made.loop.close()


def test_success_and_failure_in_turns_are_one_spell(hands: Hands) -> None:
    for _ in range(100):
        hands.fail()
        hands.wait(0.04)
        hands.spell.succeeded()
        hands.wait(QUIET_SECONDS * 0.9)
    assert hands.said == ["begins"]
    hands.wait(QUIET_SECONDS)
    assert hands.said == ["begins", "over"]


def test_it_is_not_over_before_something_has_succeeded(hands: Hands) -> None:
    hands.fail()
    hands.wait(10 * QUIET_SECONDS)
    assert hands.said == ["begins"]


def test_the_next_spell_is_told_too(hands: Hands) -> None:
    for _ in range(2):
        hands.fail()
        hands.spell.succeeded()
        hands.spell.succeeded()
        hands.wait(QUIET_SECONDS)
    assert hands.said == ["begins", "over", "begins", "over"]


def test_success_without_a_lack_says_nothing(hands: Hands) -> None:
    hands.spell.succeeded()
    hands.wait(10 * QUIET_SECONDS)
    assert hands.said == []


def test_an_end_that_is_near_is_not_told_once_it_is_forgotten(hands: Hands) -> None:
    hands.fail()
    hands.spell.succeeded()
    hands.spell.forget()
    hands.wait(QUIET_SECONDS)
    assert hands.said == ["begins"]
