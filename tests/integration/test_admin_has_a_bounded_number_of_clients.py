"""64 connections at most; the next is closed at once, and a place that is freed can be taken again."""

from contextlib import ExitStack

from support.admin import HEALTHZ, AdminThread
from support.waiting import eventually

MOST = 64


def test_the_65th_client_is_closed_at_once_and_the_64_are_served() -> None:
    with AdminThread(request_seconds=60) as admin, ExitStack() as clients:
        within = [clients.enter_context(admin.connect()) for _ in range(MOST)]
        eventually(lambda: admin.open_connections == MOST, "all are taken in")
        beyond = clients.enter_context(admin.connect())
        assert beyond.recv(1) == b""
        for connection in within:
            connection.sendall(HEALTHZ)
        assert all(connection.recv(65536).startswith(b"HTTP/1.1 200 OK") for connection in within)


def test_a_place_that_is_freed_can_be_taken() -> None:
    with AdminThread(request_seconds=60) as admin, ExitStack() as clients:
        within = [clients.enter_context(admin.connect()) for _ in range(MOST)]
        eventually(lambda: admin.open_connections == MOST, "all are taken in")
        within[7].close()
        eventually(lambda: admin.open_connections < MOST, "a place is free")
        assert admin.ask(HEALTHZ).startswith(b"HTTP/1.1 200 OK")
