"""The admin listener on a loop of its own, in a thread: what a test asks of it goes through real sockets."""

import asyncio
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mtls_tunnel.config.schema import Address
from mtls_tunnel.observe.admin import Admin
from mtls_tunnel.observe.exchange import Request, Response, Route

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
BIG = b"x" * 8_000_000


def alive(_request: Request) -> Response:
    return Response(200, b'{"status":"alive"}')


ROUTES: Mapping[str, Route] = {"/healthz": alive, "/big": lambda _request: Response(200, BIG, "text/plain")}


class AdminThread:
    """Serves while the `with` block runs.  `limits` are passed on to `Admin`."""

    def __init__(self, routes: Mapping[str, Route] = ROUTES, **limits: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._admin = Admin(Address("127.0.0.1", 0), routes, **limits)

    def __enter__(self) -> "AdminThread":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._admin.start(), self._loop).result()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop_serving()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @property
    def port(self) -> int:
        return self._admin.listen.port

    @property
    def open_connections(self) -> int:
        return self._admin.connections

    def stop_serving(self) -> None:
        asyncio.run_coroutine_threadsafe(self._admin.stop(), self._loop).result()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, octets: bytes) -> bytes:
        """Send *octets*, end, and read all that comes back."""
        with self.connect() as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends; a reset counts as an end."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received
