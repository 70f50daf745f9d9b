"""Descriptors are level after any number of changes and cancellations, and without inotify it goes on by looking."""

import os
import resource
from pathlib import Path

from support.disk import Volume
from support.waiting import eventually
from support.watching import Watching


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _limit_that_leaves(count: int) -> int:
    """The limit with which *count* more descriptors can be had; those in use may have gaps between them."""
    free = [os.dup(0) for _ in range(count)]
    for descriptor in free:
        os.close(descriptor)
    return max(free) + 1


def test_descriptors_are_level_after_swaps_and_cancellations(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "tls", {"tls.crt": b"0"})
    with Watching(volume["tls.crt"]):
        pass  # what is loaded and opened once for all
    before = _open_descriptors()
    for turn in range(5):
        with Watching(volume["tls.crt"]) as watching:
            volume.publish({"tls.crt": b"turn %d" % turn})
            watching.changed(volume["tls.crt"])
    assert _open_descriptors() == before


def test_without_descriptors_for_inotify_changes_are_found_by_looking(tmp_path: Path) -> None:
    path, second, third = (tmp_path / name for name in ("a.pem", "second", "third"))
    for number, one in enumerate((path, second, third)):
        one.write_text(str(number))
    with Watching(str(path)):
        pass  # what is loaded and opened once for all
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = _open_descriptors()
    # Three for the thread's event loop and one to look with; inotify would need another.
    resource.setrlimit(resource.RLIMIT_NOFILE, (_limit_that_leaves(4), hard))
    try:
        with Watching(str(path), interval=30) as watching:
            watching.after(lambda: second.rename(path), str(path))
            assert [reason for reason in watching.reasons if "Too many open files" in reason]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            eventually(lambda: _open_descriptors() >= before + 5, "inotify is used as soon as it can be had")
            watching.after(lambda: third.rename(path), str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _open_descriptors() == before
