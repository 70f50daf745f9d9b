"""Progress: what is read counts, and what leaves counts, in the pump and in the kernel; the idle cost nothing."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mtls_tunnel.flow.loop import Poll
from mtls_tunnel.flow.progress import progress, unsent
from mtls_tunnel.flow.pump import Pump, Side
from mtls_tunnel.flow.stream import PlainStream


@contextmanager
def pump() -> Iterator[Pump]:
    """One that has not been started, between two sockets."""
    near, far = socket.socketpair()
    with near, far:
        scratch = memoryview(bytearray(16))
        sides = Side(near, PlainStream(near, scratch)), Side(far, PlainStream(far, scratch))
        with closing(Poll()) as poll:
            yield Pump(poll, *sides, lambda reason, error: None)


def test_a_byte_that_was_read_and_an_end_are_progress() -> None:
    with pump() as carrying:
        before = progress(carrying, -1, 0, unsent=lambda descriptor: 0)
        carrying.up.moved = 1
        read = progress(carrying, *before, unsent=lambda descriptor: 0)
        carrying.up.ended = True
        assert [before, read, progress(carrying, *read, unsent=lambda descriptor: 0)] == [(0, 0), (1, 0), (2, 0)]


def test_what_waits_in_the_pump_and_in_both_sockets_is_owed() -> None:
    with pump() as carrying:
        carrying.up.moved = 500
        carrying.up.pending, carrying.down.pending = b"abc", b"de"
        kernel = {carrying.near.descriptor: 10, carrying.far.descriptor: 200}
        assert progress(carrying, -1, 0, unsent=lambda descriptor: kernel[descriptor]) == (500, 215)


def test_what_is_owed_is_asked_about_until_nothing_is() -> None:
    asked: list[int] = []

    def kernel(descriptor: int) -> int:
        asked.append(descriptor)
        return 0 if len(asked) > 2 else 7

    with pump() as carrying:
        carrying.up.moved = 20
        looks = [(-1, 0)]
        for _ in range(4):
            looks.append(progress(carrying, *looks[-1], unsent=kernel))
        assert looks[1:] == [(20, 14), (20, 0), (20, 0), (20, 0)]
        assert len(asked) == 4


def test_the_kernel_says_what_the_other_end_has_not_taken() -> None:
    near, far = socket.socketpair()
    with near, far:
        empty = unsent(near.fileno())
        near.send(b"x" * 1000)
        full = unsent(near.fileno())
        far.recv(1000)
        assert (empty, full >= 1000, unsent(near.fileno())) == (0, True, 0)


def test_where_the_kernel_does_not_say_nothing_is_owed(tmp_path: Path) -> None:
    with (tmp_path / "no socket").open("w") as file:
        assert unsent(file.fileno()) == 0


@pytest.mark.parametrize("end", [b"", None])
def test_an_end_that_waits_for_its_sink_owes_nothing(end: bytes | None) -> None:
    with pump() as carrying:
        carrying.up.pending = end
        assert progress(carrying, -1, 0, unsent=lambda descriptor: 0) == (0, 0)
