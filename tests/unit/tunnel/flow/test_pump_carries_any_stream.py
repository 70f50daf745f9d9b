"""The pump over streams in memory: any chunking, any blocking, any order of readiness gives the same bytes and ends."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.flow.loop import FAULT, READ, WRITE, Watcher
from mtls_tunnel.flow.pump import BUFFER_BYTES, Pump, Side
from mtls_tunnel.tls.engine import END, Chunks

OVER: Sequence[bytes] = ()


class FakePoll:
    """Remembers what is asked of it, as epoll would, and refuses what epoll would refuse."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[int, Watcher]] = {}

    def watch(self, descriptor: int, mask: int, watcher: Watcher) -> None:
        assert descriptor not in self.watched
        self.watched[descriptor] = (mask, watcher)

    def change(self, descriptor: int, mask: int) -> None:
        self.watched[descriptor] = (mask, self.watched[descriptor][1])

    def forget(self, descriptor: int) -> None:
        self.watched.pop(descriptor, None)


class FakeSocket:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.calls: list[str] = []
        self.error = 0

    def fileno(self) -> int:
        return self.descriptor

    def shutdown(self, _: int) -> None:
        self.calls.append("fin")

    def setsockopt(self, *_: object) -> None:
        self.calls.append("linger")

    def getsockopt(self, *_: object) -> int:
        return self.error

    def close(self) -> None:
        self.calls.append("close")


@dataclass
class FakeStream:
    """`script` is what arrives, OVER being the end and an OSError a break; `room` is how much each write takes."""

    script: list[Sequence[bytes] | OSError] = field(default_factory=list)
    room: list[int] = field(default_factory=list)
    truncated: bool = False
    wants_write: bool = False
    written: bytearray = field(default_factory=bytearray)
    ended: int = 0
    refuse_ends: int = 0
    dropped: int = 0

    def ready(self) -> bool:
        return bool(self.script)

    def read(self) -> Chunks | None:
        if not self.script:
            return None
        piece = self.script[0]
        if isinstance(piece, OSError):
            raise piece
        if not piece:
            return END
        return self.script.pop(0)  # type: ignore[return-value]

    def write(self, chunks: Chunks) -> int:
        assert not self.ended
        octets = b"".join(chunks)
        assert octets
        take = min(self.room.pop(0), len(octets)) if self.room else len(octets)
        self.written += octets[:take]
        return take

    def end(self) -> bool:
        if self.refuse_ends:
            self.refuse_ends -= 1
            return False
        self.ended += 1
        return True

    def drop(self) -> None:
        self.dropped += 1


class Bench:
    """A pump between two fake streams, driven until nothing more happens."""

    def __init__(self, near: FakeStream, far: FakeStream, *, strict: bool = False) -> None:
        self.poll = FakePoll()
        self.near, self.far = near, far
        self.sockets = FakeSocket(1), FakeSocket(2)
        self.overs: list[str] = []
        self.pump = Pump(
            self.poll,  # type: ignore[arg-type]
            Side(self.sockets[0], near),  # type: ignore[arg-type]
            Side(self.sockets[1], far),  # type: ignore[arg-type]
            lambda reason, _: self.overs.append(reason),
            strict=strict,
        )
        self.pump.start()

    def turn(self, descriptor: int) -> bool:
        """One event, if epoll would report one; level-triggered."""
        if descriptor not in self.poll.watched:
            return False
        mask, watcher = self.poll.watched[descriptor]
        stream = self.near if descriptor == 1 else self.far
        happened = (READ if mask & READ and stream.ready() else 0) | mask & WRITE
        if happened:
            watcher(happened)
        return bool(happened)

    def run(self, order: Sequence[int] = ()) -> None:
        for descriptor in order:
            self.turn(descriptor)
        for _ in range(10_000):
            if not (self.turn(1) | self.turn(2)):
                return
        raise AssertionError("it never comes to rest")

    @property
    def held(self) -> tuple[int, int]:
        return len(self.pump.up.pending or b""), len(self.pump.down.pending or b"")


pieces = st.lists(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3), max_size=8)
rooms = st.lists(st.integers(0, 50), max_size=12)


def scripted(arriving: list[list[bytes]], room: list[int], refuse_ends: int) -> FakeStream:
    return FakeStream(script=[*arriving, OVER], room=list(room), refuse_ends=refuse_ends)


@given(pieces, pieces, rooms, rooms, st.lists(st.sampled_from([1, 2]), max_size=30), st.integers(0, 2))
def test_all_bytes_and_both_ends_arrive_whatever_the_chunking(
    up: list[list[bytes]], down: list[list[bytes]], room: list[int], back: list[int], order: list[int], refused: int
) -> None:
    near, far = scripted(up, back, refused), scripted(down, room, 0)
    bench = Bench(near, far)
    bench.run(order)
    sent, answered = (b"".join(octet for piece in side for octet in piece) for side in (up, down))
    assert (bytes(far.written), bytes(near.written)) == (sent, answered)
    assert (near.ended, far.ended, near.dropped, far.dropped) == (1, 1, 1, 1)
    assert bench.overs == ["eof"]
    assert [sock.calls for sock in bench.sockets] == [["fin", "close"]] * 2
    assert bench.poll.watched == {}
    assert (bench.pump.up.moved, bench.pump.down.moved) == (len(sent), len(answered))


def test_a_sink_that_takes_nothing_stops_its_source_and_holds_one_read() -> None:
    near = FakeStream(script=[[b"x" * 1000] for _ in range(50)])
    far = FakeStream(room=[0] * 1000)
    bench = Bench(near, far)
    for _ in range(100):
        bench.turn(1)
        bench.turn(2)
    assert bench.held == (1000, 0)
    assert not bench.poll.watched[1][0] & READ
    assert len(near.script) == 49


def test_one_wake_up_carries_a_bounded_number_of_bytes() -> None:
    full = [bytes(BUFFER_BYTES)]
    near = FakeStream(script=[full] * 100)
    bench = Bench(near, FakeStream())
    bench.turn(1)
    assert bench.pump.up.moved == 4 * BUFFER_BYTES


@pytest.mark.parametrize("strict", [False, True])
def test_a_truncated_input_ends_the_output_or_resets_it(strict: bool) -> None:
    near = FakeStream(script=[[b"half"], OVER], truncated=True)
    far = FakeStream(script=[OVER])
    bench = Bench(near, far, strict=strict)
    bench.run([1, 1])
    assert bytes(far.written) == b"half"
    assert bench.overs == ["truncated"]
    assert bench.sockets[1].calls == (["linger", "close"] if strict else ["fin", "close"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "reset"),
        (OSError(errno.ETIMEDOUT, "keep-alive"), "reset"),
        (ConnectionAbortedError(errno.ECONNABORTED, "bad record"), "error"),
    ],
)
def test_a_broken_input_resets_both_sides(error: OSError, reason: str) -> None:
    bench = Bench(FakeStream(script=[[b"some"], error]), FakeStream())
    bench.run()
    assert bytes(bench.far.written) == b"some"
    assert bench.overs == [reason]
    assert [sock.calls for sock in bench.sockets] == [["linger", "close"]] * 2
    assert bench.poll.watched == {}


def test_what_a_backend_said_before_it_stopped_reading_still_arrives() -> None:
    class Refusing(FakeStream):
        def write(self, chunks: Chunks) -> int:
            raise BrokenPipeError(errno.EPIPE, "it closed")

    far = Refusing(script=[[b"too "], [b"large"], OVER])
    bench = Bench(FakeStream(script=[[b"upload"]]), far)
    bench.turn(1)
    assert bytes(bench.near.written) == b"too large"
    assert bench.overs == ["reset"]


def test_a_reset_of_a_side_that_is_not_being_read_is_noticed() -> None:
    near = FakeStream(script=[OVER])
    bench = Bench(near, FakeStream())
    bench.turn(1)
    assert bench.poll.watched[1][0] == 0
    bench.sockets[0].error = errno.ECONNRESET
    bench.poll.watched[1][1](FAULT)
    assert bench.overs == ["reset"]


def test_a_side_that_hangs_up_while_its_bytes_wait_is_not_reported_for_ever() -> None:
    near = FakeStream(script=[[b"x"], OVER], room=[])
    far = FakeStream(script=[OVER], room=[0, 0, 0])
    bench = Bench(near, far)
    bench.turn(2)
    bench.turn(1)
    assert bench.held == (1, 0)
    bench.poll.watched[1][1](FAULT)
    assert 1 not in bench.poll.watched
    bench.run()
    assert bytes(far.written) == b"x"
    assert bench.overs == ["eof"]


def test_a_read_that_has_to_write_first_waits_for_that() -> None:
    near = FakeStream()
    bench = Bench(near, FakeStream())
    near.wants_write = True
    bench.poll.watched[1][1](READ)
    assert bench.poll.watched[1][0] == WRITE  # what is there to read would be reported for ever
    near.script = [[b"now"]]
    bench.poll.watched[1][1](WRITE)
    assert bytes(bench.far.written) == b"now"
    assert bench.poll.watched[1][0] == READ


def test_an_unforeseen_exception_ends_this_session_only() -> None:
    class Odd(FakeStream):
        def read(self) -> Chunks | None:
            raise ValueError("nobody thought of this")

    bench = Bench(Odd(script=[[b"x"]]), FakeStream())
    bench.turn(1)
    assert bench.overs == ["error"]


def test_aborting_twice_is_aborting_once() -> None:
    bench = Bench(FakeStream(), FakeStream())
    bench.pump.abort("idle")
    bench.pump.abort("drain")
    assert bench.overs == ["idle"]


def test_what_waits_may_be_offered_again_before_there_is_word_of_room() -> None:
    near, far = FakeStream(script=[[b"some"]]), FakeStream(room=[1, 1])
    bench = Bench(near, far)
    bench.turn(1)
    bench.pump.urge()
    assert (bytes(far.written), bench.held) == (b"so", (2, 0))
    assert not bench.poll.watched[1][0] & READ
    bench.pump.urge()
    assert (bytes(far.written), bench.held) == (b"some", (0, 0))
    assert [mask for mask, _ in bench.poll.watched.values()] == [READ, READ]


def test_an_end_that_waits_may_be_offered_again_too() -> None:
    bench = Bench(FakeStream(script=[OVER]), FakeStream(script=[OVER], refuse_ends=1))
    bench.turn(2)
    bench.turn(1)
    bench.pump.urge()
    assert bench.overs == ["eof"]


def test_offering_again_where_nothing_waits_does_nothing() -> None:
    bench = Bench(FakeStream(), FakeStream())
    bench.pump.urge()
    bench.pump.abort("idle")
    bench.pump.urge()
    assert (bytes(bench.near.written), bytes(bench.far.written), bench.overs) == (b"", b"", ["idle"])


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "it closed"), ValueError("nobody thought of this")])
def test_a_sink_that_breaks_when_it_is_offered_again_ends_this_session_only(error: Exception) -> None:
    class Breaking(FakeStream):
        def write(self, chunks: Chunks) -> int:
            if not self.room:
                raise error
            return super().write(chunks)

    bench = Bench(FakeStream(script=[[b"some"]]), Breaking(room=[1]))
    bench.turn(1)
    bench.pump.urge()
    assert bench.overs == ["reset" if isinstance(error, OSError) else "error"]


class Faulty(FakeStream):
    def write(self, chunks: Chunks) -> int:
        raise ConnectionAbortedError(errno.ECONNABORTED, "an alert")


BAD = ConnectionAbortedError(errno.ECONNABORTED, "bad record")


@pytest.mark.parametrize(
    ("near", "far", "descriptor", "whose"),
    [
        pytest.param(FakeStream(script=[BAD]), FakeStream(), 1, "near", id="reading from the accepted side"),
        pytest.param(FakeStream(), FakeStream(script=[BAD]), 2, "far", id="reading from the dialled side"),
        pytest.param(FakeStream(script=[[b"x"]]), Faulty(), 1, "far", id="writing to the dialled side"),
        pytest.param(Faulty(), FakeStream(script=[[b"x"]]), 2, "near", id="writing to the accepted side"),
    ],
)
def test_the_pump_says_which_side_broke(near: FakeStream, far: FakeStream, descriptor: int, whose: str) -> None:
    bench = Bench(near, far)
    bench.turn(descriptor)
    assert bench.overs == ["error"]
    assert bench.pump.broke is {"near": near, "far": far}[whose]


def test_nobody_broke_a_connection_that_was_cut() -> None:
    bench = Bench(FakeStream(), FakeStream())
    bench.pump.abort("idle")
    assert bench.pump.broke is None
