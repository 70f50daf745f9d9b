"""Somebody who reads slowly but without a pause is not idle, nor half-closed too long; who reads nothing is."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mtls_tunnel.config.schema import Proxy
from support.pki import Authority
from support.servers import Source, digest_of
from support.waiting import eventually
from support.wire import Running, Wire, server_settings, tls_client

AUTHORITY = Authority()
IN_FLIGHT = 2 << 20  # the kernel takes it off the tunnel's hands at once
HELD_BACK = 48 << 20  # more than all buffers on the way
LIMIT_SECONDS = 1.0


@contextmanager
def downloading(size: int, limits: Proxy) -> Iterator[tuple[Running, Wire]]:
    """A backend that sends *size* bytes to a client with a small window, whose kernel does not read in its place."""
    with (
        Source(size) as backend,
        Running(server_settings(AUTHORITY, backend.port, proxy=limits)) as tunnel,
        tls_client(tunnel.port, AUTHORITY, AUTHORITY.client(), receive_buffer=262144) as wire,
    ):
        yield tunnel, wire


@pytest.mark.parametrize("size", [pytest.param(IN_FLIGHT, id="all in flight"), pytest.param(HELD_BACK, id="held back")])
def test_a_slow_reader_gets_everything(size: int) -> None:
    """For seconds nothing can be read for it, or nothing ever again; what was read before flows all the time."""
    limits = Proxy(idle_timeout_seconds=LIMIT_SECONDS, half_close_timeout_seconds=LIMIT_SECONDS)
    with downloading(size, limits) as (tunnel, wire):
        got = bytearray()
        began = time.monotonic()
        while time.monotonic() - began < 4 * LIMIT_SECONDS:
            got += wire.read(16384)
            time.sleep(0.05)
        assert len(got) < size
        got += wire.read_all()
        assert hashlib.sha256(got).hexdigest() == digest_of(size)
        wire.end()
        tunnel.wait_until_over("eof")


@pytest.mark.parametrize(
    ("size", "limits", "reason"),
    [
        pytest.param(HELD_BACK, Proxy(idle_timeout_seconds=LIMIT_SECONDS), "idle", id="idle"),
        pytest.param(IN_FLIGHT, Proxy(half_close_timeout_seconds=LIMIT_SECONDS), "half_close", id="half closed"),
    ],
)
def test_who_reads_nothing_at_all_is_cut(size: int, limits: Proxy, reason: str) -> None:
    with downloading(size, limits) as (tunnel, _):
        tunnel.wait_until_over(reason)


def test_its_source_sees_it_go_on_long_before_a_third_of_the_send_buffer_is_free() -> None:
    """Or a tunnel before this one, which has a limit of its own, would see nothing move for minutes."""
    with downloading(HELD_BACK, Proxy(idle_timeout_seconds=2.0)) as (tunnel, wire):
        taken = -1

        def still() -> bool:
            nonlocal taken
            before, taken = taken, tunnel.call(tunnel.registry.totals)[2]
            time.sleep(0.2)
            return taken == before > 0

        eventually(still, "the source is held back")
        assert len(wire.read(600_000)) == 600_000
        eventually(lambda: tunnel.call(tunnel.registry.totals)[2] > taken, "the source goes on")
