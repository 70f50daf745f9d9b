"""The queue: once for many askings, never twice at once, again when it failed, and at its time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.control.queue import FIRST_PAUSE, LONGEST_PAUSE, Item, Queue, pause_after
from mtls_tunnel_operator.errors import ApiError, NotLeader
from support.clock import Clock, run, settle

Work = Callable[[str], Awaitable[float | None]]


def queue_of(work: Work, now: Callable[[], float], workers: int = 3) -> Queue[str]:
    return Queue(work, workers=workers, now=now, jitter=lambda: 1.0)


def looped(story: Callable[[Queue[str], list[tuple[float, str]]], Awaitable[None]], work: Work | None = None) -> object:
    """Run *story* beside a queue on virtual time; what was worked on, and when."""

    async def main() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        done: list[tuple[float, str]] = []

        async def note(key: str) -> float | None:
            done.append((round(loop.time(), 3), key))
            return await work(key) if work else None

        queue = queue_of(note, loop.time)
        running = asyncio.create_task(queue.run())
        await story(queue, done)
        running.cancel()
        return done

    return run(main())


def test_a_key_that_is_asked_for_often_is_worked_on_once() -> None:
    async def story(queue: Queue[str], _: object) -> None:
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        await asyncio.sleep(1)

    assert looped(story) == [(0, "a"), (0, "b")]


def test_a_key_asked_for_while_being_worked_on_is_worked_on_again_afterwards() -> None:
    async def slow(_: str) -> None:
        await asyncio.sleep(5)

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await asyncio.sleep(1)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(20)

    assert looped(story, slow) == [(0, "a"), (5, "a")]


def test_no_key_is_worked_on_twice_at_the_same_time() -> None:
    under_way: set[str] = set()
    overlaps: list[str] = []

    async def work(key: str) -> None:
        if key in under_way:
            overlaps.append(key)
        under_way.add(key)
        await asyncio.sleep(0.3)
        under_way.remove(key)

    async def story(queue: Queue[str], _: object) -> None:
        for turn in range(50):
            queue.add("ab"[turn % 2])
            await asyncio.sleep(0.1)

    looped(story, work)
    assert overlaps == []


def test_a_time_is_kept_and_an_earlier_one_wins() -> None:
    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a", 30)
        queue.add("a", 20)
        queue.add("a", 25)
        queue.add("b", 10)
        await asyncio.sleep(100)

    assert looped(story) == [(10, "b"), (20, "a")]


def test_work_that_happens_now_takes_the_place_of_what_was_due_later() -> None:
    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a", 30)
        queue.add("a")
        await asyncio.sleep(100)

    assert looped(story) == [(0, "a")]


def test_work_says_when_it_wants_to_be_called_again() -> None:
    times = [40.0, None]

    async def again(_: str) -> float | None:
        return times.pop(0)

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await asyncio.sleep(200)

    assert looped(story, again) == [(0, "a"), (40, "a")]


def test_a_failure_is_tried_again_after_growing_pauses_and_success_forgets_it() -> None:
    left = [ValueError("x")] * 4

    async def fail(_: str) -> None:
        if left:
            raise left.pop()

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await asyncio.sleep(60)
        assert queue.failures("a") == 0

    assert looped(story, fail) == [(0, "a"), (1, "a"), (3, "a"), (7, "a"), (15, "a")]


def test_the_api_servers_retry_after_is_kept() -> None:
    errors: list[Exception] = [ApiError(429, "TooManyRequests", "later", retry_after=45)]

    async def fail(_: str) -> None:
        if errors:
            raise errors.pop()

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await asyncio.sleep(100)

    assert looped(story, fail) == [(0, "a"), (45, "a")]


def test_a_change_does_not_wait_for_the_pause_of_a_failure() -> None:
    async def fail(_: str) -> None:
        raise ApiError(500, "InternalError", "no")

    async def story(queue: Queue[str], done: list[tuple[float, str]]) -> None:
        queue.add("a")
        await asyncio.sleep(10)
        done.clear()
        queue.add("a")
        await asyncio.sleep(0.1)

    assert looped(story, fail) == [(10, "a")]


def test_without_the_lease_work_waits_and_is_no_failure() -> None:
    errors: list[Exception] = [NotLeader("no")] * 3

    async def refused(_: str) -> None:
        if errors:
            raise errors.pop()

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await asyncio.sleep(10)

    assert looped(story, refused) == [(0, "a"), (1, "a"), (2, "a"), (3, "a")]


def test_one_key_that_hangs_does_not_keep_others_waiting() -> None:
    async def work(key: str) -> None:
        await asyncio.sleep(1000 if key == "a" else 0)

    async def story(queue: Queue[str], _: object) -> None:
        for key in "abcd":
            queue.add(key)
        await asyncio.sleep(1)

    assert looped(story, work) == [(0, "a"), (0, "b"), (0, "c"), (0, "d")]


def lined_up(queue: Queue[str], keys: str, done: list[str]) -> str:
    """The order in which *keys*, all ready, are worked on."""

    async def all_of_them() -> None:
        for key in keys:
            queue.add(key)
        while await queue.step():
            pass

    run(all_of_them())
    return "".join(done)


def urgent_queue(is_urgent: Callable[[str], bool], done: list[str]) -> Queue[str]:
    async def work(key: str) -> None:
        done.append(key)

    return Queue(work, urgent=is_urgent, now=Clock(0.0))


def test_urgent_work_overtakes_what_came_before_and_does_not_starve_it() -> None:
    done: list[str] = []

    assert lined_up(urgent_queue(str.isupper, done), "abcdABCDEFG", done) == "ABCaDEFbGcd"


def test_a_key_that_becomes_urgent_while_it_waits_changes_its_line() -> None:
    done: list[str] = []
    urgent: set[str] = set()
    queue = urgent_queue(urgent.__contains__, done)
    for key in "abc":
        queue.add(key)
    urgent.add("c")

    assert lined_up(queue, "c", done) == "cab"


def test_a_key_keeps_its_place_among_the_urgent_when_it_is_asked_for_again() -> None:
    done: list[str] = []

    assert lined_up(urgent_queue(str.isupper, done), "ABCAB", done) == "ABC"


def test_stopping_takes_no_new_work_and_waits_for_what_is_under_way() -> None:
    ended: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(2)
        ended.append(key)

    async def story(queue: Queue[str], _: object) -> None:
        for key in "abcde":
            queue.add(key)
        await settle()
        assert await queue.stop(5)

    looped(story, work)
    assert ended == ["a", "b", "c"]


def test_stopping_does_not_wait_for_ever() -> None:
    async def work(_: str) -> None:
        await asyncio.sleep(1000)

    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a")
        await settle()
        began = asyncio.get_running_loop().time()
        assert not await queue.stop(5)
        assert asyncio.get_running_loop().time() - began < 6

    looped(story, work)


def test_a_clock_that_jumps_forward_makes_due_what_became_due() -> None:
    clock = Clock(1000.0)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    async def main() -> None:
        queue = queue_of(work, clock)
        running = asyncio.create_task(queue.run())
        queue.add("renewal", 5000.0)
        await asyncio.sleep(11)
        assert done == []
        clock.advance(86400)
        await asyncio.sleep(11)  # it looks at the clock every ten seconds
        running.cancel()

    run(main())
    assert done == ["renewal"]


def test_a_clock_that_jumps_back_delays_nothing_that_is_asked_for_now() -> None:
    clock = Clock(1_000_000.0)
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    async def main() -> None:
        queue = queue_of(work, clock)
        running = asyncio.create_task(queue.run())
        clock.advance(-500_000)
        queue.add("a")
        await asyncio.sleep(1)
        running.cancel()

    run(main())
    assert done == ["a"]


def test_a_forgotten_key_is_not_worked_on_at_its_time() -> None:
    async def story(queue: Queue[str], _: object) -> None:
        queue.add("a", 5)
        queue.discard("a")
        await asyncio.sleep(10)

    assert looped(story) == []


def test_depth_counts_what_is_ready_or_under_way_and_waiting_what_has_a_time() -> None:
    async def story(queue: Queue[str], _: object) -> None:
        for key in "abcde":
            queue.add(key)
        queue.add("f", 500)
        await settle()
        assert (queue.depth, queue.waiting) == (5, 1)

    async def slow(_: str) -> None:
        await asyncio.sleep(100)

    looped(story, slow)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_bounded_and_never_too_short(failures: int, jitter: float) -> None:
    assert FIRST_PAUSE / 2 <= pause_after(failures, jitter) <= LONGEST_PAUSE


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(0, 50)), st.floats(0, 5)), max_size=30),
    st.floats(0, 3),
)
def test_whatever_is_asked_for_is_worked_on_after_the_last_asking(
    asked: list[tuple[str, float | None, float]], seconds: float
) -> None:
    begun: list[tuple[str, float]] = []

    async def main() -> dict[str, float]:
        loop = asyncio.get_running_loop()
        last: dict[str, float] = {}

        async def work(key: str) -> None:
            begun.append((key, loop.time()))
            await asyncio.sleep(seconds)

        queue = queue_of(work, loop.time, workers=2)
        running = asyncio.create_task(queue.run())
        for key, delay, pause in asked:
            queue.add(key, None if delay is None else loop.time() + delay)
            last[key] = loop.time()
            await asyncio.sleep(pause)
        await asyncio.sleep(300)
        running.cancel()
        return last

    for key, when in run(main()).items():
        assert any(name == key and at >= when for name, at in begun)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Item("tunnel", "shop", "db"), "tunnel shop/db"),
        (Item("domain", "", "default"), "domain default"),
        (Item("resync"), "resync"),
    ],
)
def test_items_name_themselves_in_logs(item: Item, text: str) -> None:
    assert str(item) == text
