"""A log reader that stalls, leaves or has no room costs lines, never time or an exception."""

import io
import os
import select
from collections.abc import Iterator
from typing import TextIO, cast

import pytest

from mtls_tunnel.observe.sink import Sink

LINE = "x" * 100


class Pipe:
    """A real pipe, read only when asked to."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream: TextIO = os.fdopen(writer, "w")

    def read(self) -> bytes:
        received = b""
        while select.select([self.reader], [], [], 0)[0]:
            piece = os.read(self.reader, 65536)
            if not piece:
                break
            received += piece
        return received

    def close_reader(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_reader()
    made.stream.close()


def test_each_line_is_one_write_with_its_line_end(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    assert sink.write("one")
    assert pipe.read() == b"one\n"


def test_a_reader_that_stalls_loses_lines_and_counts_them(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    written = sum(sink.write(LINE) for _ in range(10_000))
    assert sink.lost == 10_000 - written > 0
    assert pipe.read() == f"{LINE}\n".encode() * written


def test_lines_flow_again_once_the_reader_is_back(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    while sink.write(LINE):
        pass
    pipe.read()
    assert sink.write("back")
    assert pipe.read() == b"back\n"


def test_a_line_torn_by_a_full_pipe_is_ended_before_the_next(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    assert not sink.write("y" * 200_000)
    pipe.read()
    assert sink.write("next")
    assert pipe.read() == b"\nnext\n"


def test_a_long_line_reaches_a_reader_that_has_room_whole(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    assert sink.write("z" * 20_000)
    assert pipe.read() == b"z" * 20_000 + b"\n"


def test_a_reader_that_has_left_is_no_error(pipe: Pipe) -> None:
    sink = Sink(pipe.stream)
    pipe.close_reader()
    assert not sink.write(LINE)
    assert sink.lost == 1


def test_a_stopped_terminal_does_not_stop_the_writer() -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "w") as stream:
        sink = Sink(stream)
        assert not all(sink.write(LINE) for _ in range(10_000))
        sink.close()


def test_a_full_disk_is_no_error() -> None:
    with open("/dev/full", "w") as stream:
        sink = Sink(stream)
        assert not sink.write(LINE)


def test_a_stream_without_a_descriptor_is_written_as_text() -> None:
    stream = io.StringIO()
    assert Sink(stream).write("one")
    assert stream.getvalue() == "one\n"


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    sink = Sink(stream)
    stream.close()
    assert not sink.write("one")


def test_a_program_without_standard_output_loses_its_lines() -> None:
    """Python says None for it, whatever the types say."""
    sink = Sink(cast("TextIO", None))
    assert not sink.write("one")
    sink.close()


def test_a_lone_surrogate_is_no_error(pipe: Pipe) -> None:
    assert Sink(pipe.stream).write("\ud800")
    assert pipe.read() == b"?\n"
