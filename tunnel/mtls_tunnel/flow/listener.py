"""Accepting: a bound address becomes sessions of its route, as many as there are slots.

A slot is taken before accept: with all of them in use the kernel's backlog holds the rest, and nothing is accepted
only to be closed.  Lack of descriptors or memory is waited out, 5 ms at first and 1 s at most, with one line in the
log for each spell; any other error of accept is the machine's and is raised.

``localhost`` is both loopback addresses: a program that is told localhost may try ::1 first, and only that.

The listener owns its listening sockets and nothing else: sessions belong to themselves and are in the registry.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ListenError
from mtls_tunnel.flow.ground import Decisions, Ground
from mtls_tunnel.flow.loop import READ, Poll, running_poll
from mtls_tunnel.flow.pump import BUFFER_BYTES
from mtls_tunnel.flow.route import Route
from mtls_tunnel.flow.session import Session
from mtls_tunnel.flow.stream import smooth
from mtls_tunnel.flow.timers import Wheel
from mtls_tunnel.observe.logs import INFO, WARN, emit

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 1.0
LOCALHOST = "localhost"
FULL_RECHECK_SECONDS = 1.0  # a reload may have raised max_connections
_OUT_OF = {
    errno.EMFILE: "this process has no file descriptors left (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptors left",
    errno.ENOBUFS: "the kernel has no buffers left",
    errno.ENOMEM: "the kernel has no memory left",
}
_NO_SUCH_FAMILY = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT))
# accept(2): errors of the connection, not of the listener; the next one may be fine.
_OF_THE_PEER = frozenset(
    getattr(errno, name)
    for name in ("ECONNABORTED", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH")
) | {errno.EPERM, errno.EINTR, errno.EOPNOTSUPP, errno.ENONET}


class Listener:
    """`bind`, then `start` inside a running loop, then `stop`.  Each may happen once."""

    def __init__(self, address: Address, route: Route) -> None:
        self._asked = address
        self._route = route
        self._sockets: tuple[socket.socket, ...] = ()
        self._poll: Poll | None = None
        self._ground: Ground | None = None
        self._leave: Callable[[], None] | None = None
        self._pause = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watching = False

    @property
    def address(self) -> Address:
        """Where it is bound, with the port that the kernel picked."""
        if not self._sockets:
            return self._asked
        host, port = self._sockets[0].getsockname()[:2]
        return Address(self._asked.host if self._asked.host in ("", host, LOCALHOST) else host, port)

    def bind(self) -> None:
        """Take the address.  Connections wait in the backlog until `start`.

        Raises:
            ListenError: the operating system refused it.
        """
        try:
            self._sockets = _bound(self._asked)
        except OSError as error:
            raise ListenError(_sentence(self._asked, error)) from error

    def start(self) -> None:
        """Begin to accept."""
        assert self._sockets, "bind comes first"
        loop = asyncio.get_running_loop()
        self._poll = running_poll()
        self._ground = Ground(
            self._poll, Wheel(loop.time, loop.call_at), Decisions(), memoryview(bytearray(BUFFER_BYTES))
        )
        self._leave = self._route.registry.on_leave(self._slot_is_free)
        self._watch()

    def stop(self) -> None:
        """Accept no more and close the socket; live sessions go on.  May be called again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._leave is not None:
            self._leave()
            self._leave = None
        self._unwatch()
        for sock in self._sockets:
            sock.close()
        self._sockets = ()

    async def drained(self) -> None:
        """Wait until all sessions of the tunnel are over."""
        await self._route.registry.drained()

    def _watch(self) -> None:
        if not self._watching and self._poll is not None:
            for sock in self._sockets:
                self._poll.watch(sock.fileno(), READ, partial(self._acceptable, sock))
            self._watching = True

    def _unwatch(self) -> None:
        if self._watching and self._poll is not None:
            for sock in self._sockets:
                self._poll.forget(sock.fileno())
            self._watching = False

    def _slot_is_free(self) -> None:
        if not self._pause and not self._watching:
            self._try_again()

    def _full(self) -> bool:
        return len(self._route.registry) >= self._route.proxy().max_connections

    def _acceptable(self, listening: socket.socket, _: int) -> None:
        if self._full():
            return self._wait(FULL_RECHECK_SECONDS)
        # One for each wake-up: more that wait are reported again at once, and asking in vain costs more than that.
        try:
            sock, where = listening.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            return None if error.errno in _OF_THE_PEER else self._back_off(error)
        if self._pause:
            self._pause = 0.0
            emit(INFO, "listener: accepting again", listen=self.address, tunnel=self._route.name or None)
        return self._begin(sock, where)

    def _begin(self, sock: socket.socket, where: tuple[str, int]) -> None:
        assert self._ground is not None
        sock.setblocking(False)
        session = Session(sock, _remote(where), self._route, self._ground)
        self._route.meters.accepted()
        self._route.registry.add(session)
        session.start()

    def _back_off(self, error: OSError) -> None:
        if error.errno not in _OUT_OF:
            # Not a lack that passes.  The descriptor is ours, so this is a fault in the program or the kernel.
            self._pause = LONGEST_PAUSE_SECONDS
        if not self._pause or error.errno not in _OUT_OF:
            why = _OUT_OF.get(error.errno or 0, str(error))
            emit(WARN, "listener: cannot accept, backing off", listen=self.address, error=why,
                 tunnel=self._route.name or None)  # fmt: skip
        self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._wait(self._pause)

    def _wait(self, seconds: float) -> None:
        """Leave the backlog alone for a while."""
        self._unwatch()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch()


def _bound(address: Address) -> tuple[socket.socket, ...]:
    """Listening sockets; an empty host is every address of both families, where the machine has both."""
    if address.host.lower() != LOCALHOST:
        return (_bound_to(*_family(address), any_family=address.host == ""),)
    # Not looked up: RFC 6761 section 6.3 says what it is, and a container may have no hosts file.
    first = _bound_to(socket.AF_INET, ("127.0.0.1", address.port))
    try:
        return first, _bound_to(socket.AF_INET6, ("::1", first.getsockname()[1]))
    except OSError as error:
        # A machine without IPv6 has one of them; and a port that the kernel has picked may be taken on the other.
        if error.errno in _NO_SUCH_FAMILY or (address.port == 0 and error.errno == errno.EADDRINUSE):
            return (first,)
        first.close()
        raise


def _bound_to(family: socket.AddressFamily, where: tuple[str, int], *, any_family: bool = False) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        smooth(made)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if any_family else 1)
        made.setblocking(False)
        made.bind(where)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _family(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    if address.host == "":
        if socket.has_dualstack_ipv6():
            return socket.AF_INET6, ("::", address.port)
        return socket.AF_INET, ("", address.port)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, where  # type: ignore[return-value]  # an IPv6 address has two more fields


def _sentence(address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {address}: {address.host} is no address of this machine"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {address}: the port is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {address}: {address.host} is no address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"cannot listen on {address}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    return f"cannot listen on {address}: {os.strerror(error.errno or 0).lower()}"


def _remote(where: tuple[str, int]) -> str:
    host, port = where[:2]
    if host.startswith("::ffff:"):
        host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
