"""Bytes, and the ends of bytes, through each mode: half-close both ways, truncation, resets."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.pki import Authority
from support.servers import Echo, Resetter, Silent, Sink, Source, digest_of, payload
from support.waiting import eventually
from support.wire import (
    Running,
    TlsServer,
    Truncated,
    Wire,
    client_settings,
    plain_client,
    server_settings,
    tls_client,
    tls_context,
)

BULK = 16 << 20
AUTHORITY = Authority()
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


@versions
def test_a_client_that_ended_its_output_still_gets_the_answer(version: str) -> None:
    with Sink() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client(), version=version) as wire:
            for chunk in payload(BULK):
                wire.send(bytes(chunk))
            wire.end()
            assert wire.read_all().decode() == digest_of(BULK)
        tunnel.wait_until_over("eof")
        assert tunnel.meters.now() == (0, BULK, 64)


@versions
def test_a_backend_that_ended_its_output_still_gets_the_input(version: str) -> None:
    with Source(BULK) as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client(), version=version) as wire:
            assert hashlib.sha256(wire.read_all()).hexdigest() == digest_of(BULK)
            wire.send(b"late")
            wire.end()
        tunnel.wait_until_over("eof")
        eventually(lambda: backend.received == 4, "what came after the end of the output")


def test_a_fin_without_close_notify_is_a_fin_after_all_bytes_and_counts_as_truncated() -> None:
    with Sink() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            wire.send(b"half a")
            wire.fin()
            assert wire.read_all().decode() == hashlib.sha256(b"half a").hexdigest()
        tunnel.wait_until_over("truncated")


def test_where_close_notify_is_required_its_absence_is_a_reset() -> None:
    settings = server_settings(AUTHORITY, 0, require_close_notify=True)
    with Sink() as backend, Running(settings) as tunnel:
        settings.target = type(settings.target)("127.0.0.1", backend.port)
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            wire.send(b"half a")
            wire.fin()
            with pytest.raises((ConnectionResetError, Truncated)):
                wire.read_all()
        tunnel.wait_until_over("truncated")
        eventually(lambda: backend.endings == ["ConnectionResetError"], "the backend was reset")


def test_a_reset_of_the_client_resets_the_backend() -> None:
    with Silent() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        wire = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client())
        wire.send(b"x")
        eventually(lambda: backend.received == 1, "the byte is at the backend")
        wire.reset()
        tunnel.wait_until_over("reset")
        eventually(lambda: backend.endings == ["ConnectionResetError"], "the backend was reset")


def test_a_reset_of_the_backend_resets_the_client() -> None:
    with Resetter(1) as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as wire:
            wire.send(b"x")
            with pytest.raises(ConnectionResetError):
                wire.read_all()
        tunnel.wait_until_over("reset")


def test_a_client_that_went_quiet_after_its_end_is_noticed_when_it_resets() -> None:
    with Silent() as backend, Running(server_settings(AUTHORITY, 0)) as tunnel:
        hold = threading.Event()
        backend.serve = lambda connection: hold.wait() and None  # type: ignore[assignment]
        tunnel.settings.target = type(tunnel.settings.target)("127.0.0.1", backend.port)
        wire = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client())
        eventually(lambda: backend.open == 1, "the backend has been dialled")
        wire.end()
        wire.reset()
        tunnel.wait_until_over("reset")
        hold.set()


@versions
def test_client_mode_carries_both_ways_and_half_closes(version: str) -> None:
    server = tls_context(AUTHORITY, AUTHORITY.server(), client=False, version=version)
    with TlsServer(server) as upstream, Running(client_settings(AUTHORITY, upstream.port)) as tunnel:
        application = plain_client(tunnel.port)
        application.sendall(b"question")
        application.shutdown(1)
        with upstream.accept() as wire:
            assert wire.read_all() == b"question"
            wire.send(b"answer")
            wire.end()
        assert application.recv(100) == b"answer"
        assert application.recv(100) == b""
        application.close()
        tunnel.wait_until_over("eof")


def test_client_mode_passes_a_truncated_answer_on_as_an_end_and_counts_it() -> None:
    server = tls_context(AUTHORITY, AUTHORITY.server(), client=False)
    with TlsServer(server) as upstream, Running(client_settings(AUTHORITY, upstream.port)) as tunnel:
        application = plain_client(tunnel.port)
        with upstream.accept() as wire:
            wire.send(b"half an answ")
            wire.fin()
            assert application.recv(100) == b"half an answ"
            assert application.recv(100) == b""
            application.close()
            assert wire.read_all() == b""
        tunnel.wait_until_over("truncated")


def test_a_bridge_half_closes_over_tls_on_both_legs() -> None:
    server = tls_context(AUTHORITY, AUTHORITY.server(), client=False)
    with TlsServer(server) as upstream:
        settings = client_settings(AUTHORITY, upstream.port)
        settings.server_context = server_settings(AUTHORITY, 0).server_context
        with Running(settings) as tunnel, tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) as client:
            with upstream.accept() as wire:
                client.send(b"question")
                client.end()
                assert wire.read_all() == b"question"
                with ThreadPoolExecutor() as pool:
                    pool.submit(_send, wire, BULK)
                    assert hashlib.sha256(client.read_all()).hexdigest() == digest_of(BULK)
            tunnel.wait_until_over("eof")


def test_nothing_is_left_behind_by_a_hundred_connections_of_all_kinds() -> None:
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        before = tunnel.watched
        for number in range(100):
            wire = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client())
            wire.send(b"hello")
            assert wire.read(5) == b"hello"
            (wire.end, wire.fin, wire.reset, wire.close)[number % 4]()
            wire.close()
        tunnel.wait_until_idle()
        assert tunnel.watched == before
        assert sum(tunnel.meters.closings.values()) == 100


def _send(wire: Wire, size: int) -> None:
    for chunk in payload(size):
        wire.send(bytes(chunk))
    wire.end()
