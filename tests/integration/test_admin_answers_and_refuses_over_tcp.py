"""The admin listener over real sockets: probes get their answers, everything else is refused and closed."""

import http.client
import select
import socket
import ssl
import struct
from contextlib import suppress

import pytest

from support.admin import HEALTHZ, AdminThread


def test_a_probe_gets_its_answer_and_may_ask_again() -> None:
    with AdminThread() as admin:
        client = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=30)
        answers = []
        for _ in range(3):
            client.request("GET", "/healthz")
            response = client.getresponse()
            answers.append((response.status, response.reason, response.read()))
        client.close()
    assert answers == [(200, "OK", b'{"status":"alive"}')] * 3


def test_a_client_that_sends_its_whole_body_first_reads_the_refusal_and_a_clean_end() -> None:
    """Closing over unread bytes would reset the connection under the sender."""
    with AdminThread() as admin, admin.connect() as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n")
        select.select([connection], [], [], 30)  # it has been refused by now
        for _ in range(3):
            connection.sendall(b"x" * 10_000)
        answer = connection.recv(65536)
        assert connection.recv(1) == b""
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


def test_a_megabyte_of_header_is_refused() -> None:
    with AdminThread() as admin, admin.connect() as connection:
        with suppress(ConnectionError):  # it is refused before it is all there
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1_000_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")
        assert admin.ask(HEALTHZ).startswith(b"HTTP/1.1 200 OK")


def test_a_tls_client_is_turned_away() -> None:
    context = ssl.create_default_context()
    with AdminThread() as admin, admin.connect() as connection:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_hostname="localhost")
        assert admin.ask(HEALTHZ).startswith(b"HTTP/1.1 200 OK")


def test_garbage_is_answered_with_400_and_the_next_probe_is_served() -> None:
    with AdminThread() as admin:
        assert admin.ask(bytes(range(256))).startswith(b"HTTP/1.1 400 ")
        assert admin.ask(HEALTHZ).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_resets_hurts_nobody() -> None:
    with AdminThread() as admin:
        for _ in range(20):
            with admin.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(HEALTHZ[:10])
        assert admin.ask(HEALTHZ).startswith(b"HTTP/1.1 200 OK")


def test_stopping_closes_the_connections_that_are_open() -> None:
    with AdminThread() as admin, admin.connect() as idle, admin.connect() as asking:
        asking.sendall(HEALTHZ)
        assert asking.recv(65536).startswith(b"HTTP/1.1 200 OK")
        admin.stop_serving()
        assert (idle.recv(1), asking.recv(1)) == (b"", b"")
        with pytest.raises(ConnectionRefusedError):
            admin.connect()
