"""Clients that are slow to ask, or to take the answer, are closed; their places go to others."""

import socket
import time

from support.admin import BIG, HEALTHZ, AdminThread, read_all
from support.waiting import eventually

LIMIT_SECONDS = 0.3


def test_a_client_that_says_nothing_is_closed() -> None:
    with AdminThread(request_seconds=LIMIT_SECONDS) as admin, admin.connect() as connection:
        assert connection.recv(1) == b""


def test_a_header_that_comes_in_drops_is_closed() -> None:
    with AdminThread(request_seconds=LIMIT_SECONDS) as admin, admin.connect() as connection:
        started = time.monotonic()
        try:
            while True:
                connection.sendall(b"G")
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - started >= LIMIT_SECONDS


def test_a_client_that_does_not_take_its_answer_is_closed() -> None:
    with AdminThread(request_seconds=LIMIT_SECONDS) as admin, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", admin.port))
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: not admin.open_connections, "the client is given up")
        assert len(read_all(connection)) < len(BIG)


def test_a_client_that_asks_again_in_time_is_kept() -> None:
    with AdminThread(request_seconds=30) as admin, admin.connect() as connection:
        for _ in range(3):
            connection.sendall(HEALTHZ)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_five_seconds_is_what_the_contract_says() -> None:
    with AdminThread() as admin, admin.connect() as connection:
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert time.monotonic() - started >= 4.9
