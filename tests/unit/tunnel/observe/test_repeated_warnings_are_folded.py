"""The 21st identical warning of a second waits, and comes out as one line with a count."""

import io
import logging
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.fold import Fold
from mtls_tunnel.observe.logs import LineHandler


class Clockwork:
    """A clock that is moved by hand, and what was asked to happen later."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pending: list[tuple[float, Callable[[], None]]] = []

    def read(self) -> float:
        return self.now

    def later(self, seconds: float, callback: Callable[[], None]) -> bool:
        self.pending.append((self.now + seconds, callback))
        return True

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due, self.pending = (
            [callback for when, callback in self.pending if when <= self.now],
            [entry for entry in self.pending if entry[0] > self.now],
        )
        for callback in due:
            callback()


class Log:
    """A handler over memory, without the global logger."""

    def __init__(self) -> None:
        self.clock = Clockwork()
        self.stream = io.StringIO()
        self.handler = LineHandler(self.stream, clock=self.clock.read, later=self.clock.later)

    def warn(self, msg: str, level: int = logging.WARNING, **attributes: object) -> None:
        record = logging.LogRecord("mtls_tunnel", level, "", 0, msg, (), None)
        record.attributes = attributes
        self.handler.handle(record)

    def endings(self) -> list[str]:
        return [line.partition(" msg=")[2] for line in self.stream.getvalue().splitlines()]


def test_twenty_pass_and_the_rest_become_one_line_with_the_newest_remote() -> None:
    log = Log()
    for port in range(1000):
        log.warn("failed", reason="not_tls", remote=f"192.0.2.1:{port}")
    assert len(log.endings()) == 20

    log.clock.advance(1.0)

    assert log.endings()[20:] == ["failed reason=not_tls remote=192.0.2.1:999 count=980"]


def test_without_an_event_loop_the_next_line_brings_it_out() -> None:
    log = Log()
    log.handler = LineHandler(log.stream, clock=log.clock.read, later=lambda _seconds, _callback: False)
    for _ in range(25):
        log.warn("failed", reason="timeout")
    log.clock.advance(2.0)
    log.warn("other", level=logging.INFO)
    assert log.endings()[20:] == ["failed reason=timeout count=5", "other"]


def test_what_is_held_at_the_end_is_written_by_flush() -> None:
    log = Log()
    for _ in range(30):
        log.warn("failed", reason="timeout")
    log.handler.flush()
    assert log.endings()[20:] == ["failed reason=timeout count=10"]


def test_another_reason_or_another_verified_name_is_another_warning() -> None:
    log = Log()
    for number in range(20):
        log.warn("failed", reason="timeout")
        log.warn("failed", reason="expired")
        log.warn("denied", rule="deny_cn", peer_cn=f"client-{number}", remote="192.0.2.1:1")
    assert len(log.endings()) == 60


def test_a_subject_that_nobody_verified_does_not_defeat_the_folding() -> None:
    log = Log()
    for number in range(100):
        log.warn("failed", reason="unknown_ca", peer_subject=f"CN=forged-{number}", peer_sha256=f"{number:064x}")
    assert len(log.endings()) == 20


def test_a_burst_outside_the_event_loop_does_not_keep_a_later_one_from_being_scheduled() -> None:
    log = Log()
    answers = iter([False, True])

    def later(seconds: float, callback: Callable[[], None]) -> bool:
        return next(answers) and log.clock.later(seconds, callback)

    log.handler = LineHandler(log.stream, clock=log.clock.read, later=later)
    for _ in range(22):
        log.warn("failed", reason="timeout")
    assert len(log.clock.pending) == 1


def test_errors_and_infos_are_never_folded() -> None:
    log = Log()
    for _ in range(50):
        log.warn("broken", level=logging.ERROR)
        log.warn("opened", level=logging.INFO)
    assert len(log.endings()) == 100


def test_a_second_later_twenty_more_pass() -> None:
    log = Log()
    for _ in range(40):
        log.warn("failed", reason="timeout")
    log.clock.advance(1.0)
    for _ in range(40):
        log.warn("failed", reason="timeout")
    log.clock.advance(1.0)
    assert [line for line in log.endings() if "count" in line] == ["failed reason=timeout count=20"] * 2
    assert len(log.endings()) == 42


@given(st.lists(st.tuples(st.floats(0, 0.4), st.sampled_from("abc")), max_size=300), st.integers(0, 5))
def test_nothing_is_lost_or_invented_by_folding(events: list[tuple[float, str]], limit: int) -> None:
    fold: Fold[str] = Fold(limit=limit)
    now, passed, held = 0.0, 0, 0
    for pause, key in events:
        now += pause
        held += sum(count for _, count in fold.due(now))
        passed += fold.admit(key, key, now)
    held += sum(count for _, count in fold.due())
    assert passed + held == len(events)
    assert not fold.holds
