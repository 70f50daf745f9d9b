"""`watch` on virtual time: what counts as one change, and what happens where inotify cannot be had."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.watch import DEAF_SECONDS, PATIENCE_SECONDS, watch
from support import clock
from support.disk import FakeDisk

Changes = list[tuple[float, frozenset[str]]]


def observe(
    disk: FakeDisk,
    story: Callable[[], Awaitable[None]],
    *,
    interval: float = 0,
    seconds: float = 60,
    reports: list[str] | None = None,
) -> Changes:
    """Watch a.pem and b.pem while `story` happens; what was reported, and when (in virtual seconds)."""
    seen: Changes = []

    async def collect(changes: AsyncGenerator[frozenset[str], None]) -> None:
        async with contextlib.aclosing(changes):
            async for changed in changes:
                seen.append((round(asyncio.get_running_loop().time(), 3), changed))

    async def main() -> None:
        changes = watch(
            ["a.pem", "b.pem"],
            interval_seconds=interval,
            report=(reports if reports is not None else []).append,
            look=disk.look,
            listen=disk.listen,
        )
        watching = asyncio.create_task(collect(changes))
        await asyncio.sleep(0)
        await story()
        await asyncio.sleep(seconds)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    clock.run(main())
    assert disk.listeners == 0, "the listener was not closed"
    return seen


def test_one_write_is_reported_once_after_the_debounce() -> None:
    disk = FakeDisk(**{"a.pem": "1"})

    async def story() -> None:
        await asyncio.sleep(10)
        disk.write("a.pem", "2")

    assert observe(disk, story) == [(10.25, frozenset({"a.pem"}))]


def test_a_burst_of_writes_to_both_files_is_one_change() -> None:
    disk = FakeDisk()

    async def story() -> None:
        for part in range(10):
            disk.write("a.pem" if part % 2 else "b.pem", "x" * part)
            await asyncio.sleep(0.2)

    assert observe(disk, story) == [(2.05, frozenset({"a.pem", "b.pem"}))]


def test_a_file_that_is_still_open_for_writing_gets_a_second_of_patience() -> None:
    disk = FakeDisk()

    async def story() -> None:
        disk.writing = True
        disk.write("a.pem", "hal")
        await asyncio.sleep(0.9)
        disk.writing = False
        disk.write("a.pem", "half and half")

    assert observe(disk, story) == [(1.15, frozenset({"a.pem"}))]


def test_a_writer_who_never_stops_is_reported_all_the_same() -> None:
    disk = FakeDisk()

    async def story() -> None:
        for part in range(100):
            disk.write("a.pem", str(part))
            await asyncio.sleep(0.1)

    first, _ = observe(disk, story)[0]
    assert first <= PATIENCE_SECONDS * 2 + 0.5


def test_what_was_written_and_put_back_is_no_change() -> None:
    disk = FakeDisk(**{"a.pem": "1"})

    async def story() -> None:
        disk.write("a.pem", "2")
        await asyncio.sleep(0.1)
        disk.write("a.pem", "1")

    assert observe(disk, story) == []


def test_a_noise_without_a_change_is_no_change() -> None:
    disk = FakeDisk(**{"a.pem": "1"})

    async def story() -> None:
        disk.write("a.pem", "1")

    assert observe(disk, story) == []


def test_a_change_that_nobody_heard_is_found_by_the_safety_look() -> None:
    disk = FakeDisk()
    disk.quiet = True

    async def story() -> None:
        await asyncio.sleep(1)
        disk.write("a.pem", "2")

    assert observe(disk, story, interval=30) == [(30.0, frozenset({"a.pem"}))]


def test_interval_zero_never_looks_unasked() -> None:
    disk = FakeDisk()

    async def story() -> None:
        await asyncio.sleep(86400)

    observe(disk, story)
    assert disk.looks <= 4


def test_changes_count_from_the_call_not_from_the_first_iteration() -> None:
    disk = FakeDisk(**{"a.pem": "1"})

    async def main() -> frozenset[str]:
        changes = watch(["a.pem"], interval_seconds=0, look=disk.look, listen=disk.listen)
        disk.write("a.pem", "2")
        async with contextlib.aclosing(changes):
            return await anext(changes)

    assert clock.run(main()) == {"a.pem"}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EACCES], ids=["descriptors", "watches", "rights"])
def test_without_inotify_it_looks_every_second_and_says_why_once(number: int) -> None:
    disk = FakeDisk()
    disk.no_watches = OSError(number, "the limit")
    reports: list[str] = []

    async def story() -> None:
        await asyncio.sleep(10.5)
        disk.write("a.pem", "2")

    (when, changed) = observe(disk, story, interval=30, reports=reports)[0]
    assert changed == {"a.pem"}
    assert when <= 12.5
    assert reports == ["cannot watch the files: the limit; looking every 1 s until it can be done"]


def test_inotify_is_used_again_as_soon_as_it_can_be_had() -> None:
    disk = FakeDisk()
    disk.no_watches = OSError(errno.EMFILE, "the limit")

    async def story() -> None:
        await asyncio.sleep(10)
        disk.no_watches = None
        await asyncio.sleep(5)
        assert disk.listeners == 1

    observe(disk, story)


def test_without_inotify_a_half_written_file_waits_for_its_other_half() -> None:
    disk = FakeDisk()
    disk.no_watches = OSError(errno.ENOSPC, "the limit")

    async def story() -> None:
        await asyncio.sleep(5 * DEAF_SECONDS - 0.1)
        for part in range(10):
            disk.write("a.pem", "x" * part)
            await asyncio.sleep(0.1)

    assert len(observe(disk, story)) == 1


def test_a_machine_out_of_descriptors_does_not_look_like_changed_files() -> None:
    disk = FakeDisk(**{"a.pem": "1"})
    reports: list[str] = []

    async def story() -> None:
        disk.no_look = OSError(errno.EMFILE, "Too many open files")
        disk.write("a.pem", "2")
        await asyncio.sleep(20)
        disk.no_look = None

    (when, changed) = observe(disk, story, reports=reports)[0]
    assert changed == {"a.pem"}
    assert 20 <= when <= 22
    assert len(reports) == 1


@given(pauses=st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=12))
def test_for_any_rhythm_of_writes_the_last_one_is_reported_within_two_seconds(pauses: list[float]) -> None:
    disk = FakeDisk()
    last = 0.0

    async def story() -> None:
        nonlocal last
        for number, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            disk.write("a.pem", str(number))
            last = asyncio.get_running_loop().time()

    when, _ = observe(disk, story)[-1]
    assert when - last <= 2
