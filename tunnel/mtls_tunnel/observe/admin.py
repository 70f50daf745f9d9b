"""The HTTP listener of the probes, the metrics and the status page: plain, small, and always answering.

Sockets and deadlines only; what is said on a connection is decided in `exchange`.  A client that has not
completed a request within five seconds is closed, and so is the 65th connection.  One descriptor is kept
in reserve: when the tunnels have used up all others, it is given up for the next probe, so that a busy
process is not taken for a dead one.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Mapping
from typing import Any

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ListenError
from mtls_tunnel.observe.exchange import Exchange, Route
from mtls_tunnel.observe.logs import ERROR, emit

MAX_CONNECTIONS = 64
REQUEST_SECONDS = 5.0
_LINGER_SECONDS = 1.0
_CHUNK_BYTES = 4096
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RETRY_SECONDS = 0.25


class Reserve:
    """A descriptor to give up when there is no other; take it back as soon as one is free."""

    def __init__(self) -> None:
        self._descriptor = -1
        self.refill()

    def refill(self) -> None:
        if self._descriptor < 0:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def give_up(self) -> bool:
        """Close it; False if it was given up before."""
        if self._descriptor < 0:
            return False
        os.close(self._descriptor)
        self._descriptor = -1
        return True


class Admin:
    """Serves *routes* on *listen* between `start` and `stop`; owns its sockets."""

    def __init__(
        self,
        listen: Address,
        routes: Mapping[str, Route],
        *,
        setting: str = "health.listen",
        request_seconds: float = REQUEST_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.listen = listen
        self._routes = dict(routes)
        self._setting = setting
        self._request_seconds = request_seconds
        self._max_connections = max_connections
        self._listeners: list[socket.socket] = []
        self._open: set[asyncio.Task[None]] = set()
        self._reserve: Reserve | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._open)

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ListenError: the address cannot be bound; the sentence names it and the setting it comes from.
        """
        loop = asyncio.get_running_loop()
        self._listeners = await bind(self.listen, self._setting)
        self.listen = Address(self.listen.host, self._listeners[0].getsockname()[1])
        self._reserve = Reserve()
        for listener in self._listeners:
            loop.add_reader(listener, self._accept, listener)

    async def stop(self) -> None:
        """Close the listener and every connection; once is enough, twice does no harm."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        connections = list(self._open)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        if self._reserve is not None:
            self._reserve.give_up()
            self._reserve = None

    def _accept(self, listener: socket.socket) -> None:
        if self._reserve is not None:
            self._reserve.refill()
        try:
            self._begin(*listener.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS or not self._accepted_on_reserve(listener):
                self._pause(listener)

    def _accepted_on_reserve(self, listener: socket.socket) -> bool:
        # Nothing else of this process runs between the close and the accept, so the descriptor is ours.
        if self._reserve is None or not self._reserve.give_up():
            return False
        try:
            self._begin(*listener.accept())
        except OSError:
            return False
        return True

    def _pause(self, listener: socket.socket) -> None:
        """Look away for a moment: a listener that stays readable would spin."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_RETRY_SECONDS, self._listen_again, listener)

    def _listen_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _begin(self, connection: socket.socket, peer: tuple[Any, ...]) -> None:
        if len(self._open) >= self._max_connections:
            connection.close()
            return
        connection.setblocking(False)
        task = asyncio.create_task(self._serve(connection, peer[0]), name="status client")
        self._open.add(task)
        task.add_done_callback(lambda ended: self._end(ended, connection))

    def _end(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._open.discard(task)
        connection.close()  # a task that is cancelled before its first step has no `finally`

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        """Answer until the client or a limit ends it; owns *connection*."""
        exchange = Exchange(self._routes, peer=peer, failed=_log_broken_page)
        try:
            while not exchange.finished:
                async with asyncio.timeout(self._request_seconds):
                    await _answer_one(connection, exchange)
            await _linger(connection)
        except (TimeoutError, OSError):
            pass
        finally:
            connection.close()
            if self._reserve is not None:
                self._reserve.refill()


async def _answer_one(connection: socket.socket, exchange: Exchange) -> None:
    """Read until a request is answered or the exchange is over."""
    loop = asyncio.get_running_loop()
    answers = b""
    while not answers and not exchange.finished:
        answers = exchange.receive(await loop.sock_recv(connection, _CHUNK_BYTES))
    await loop.sock_sendall(connection, answers)


async def _linger(connection: socket.socket) -> None:
    """Let the client read the last answer: closing over unread bytes would reset the connection."""
    connection.shutdown(socket.SHUT_WR)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_LINGER_SECONDS):
        while await loop.sock_recv(connection, _CHUNK_BYTES):
            pass


def _log_broken_page(path: str, error: Exception) -> None:
    emit(ERROR, "status page failed", path=path, error=f"{type(error).__name__}: {error}")


async def bind(listen: Address, setting: str) -> list[socket.socket]:
    """Listening sockets for every address that *listen* means; all or none.

    Raises:
        ListenError: as `Admin.start`.
    """
    loop = asyncio.get_running_loop()
    found: list[socket.socket] = []
    try:
        wanted = await loop.getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in sorted(wanted, key=lambda entry: entry[0] != socket.AF_INET):
            port = found[0].getsockname()[1] if found else listen.port
            with contextlib.ExitStack() as closing:
                listener = closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
                # An empty host has a listener for each family; [::] stands for both, as for the tunnels.
                both = listen.host != "" and address[0] == "::" and socket.has_dualstack_ipv6()
                _bind_one(listener, (address[0], port, *address[2:]), both=both)
                found.append(listener)
                closing.pop_all()
    except OSError as error:
        if found and not listen.host and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return found  # a machine without IPv6
        for listener in found:
            listener.close()
        raise ListenError(f"{setting}: cannot listen on {listen}: {_plain(error)}") from error
    return found


def _bind_one(listener: socket.socket, address: tuple[Any, ...], *, both: bool) -> None:
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT only; a second listener is refused
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
    listener.bind(address)
    listener.listen(128)


def _plain(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    return {
        errno.EADDRINUSE: "the port is in use - choose another, or stop what listens there",
        errno.EACCES: "not permitted - ports below 1024 need a privilege; choose a higher one",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
