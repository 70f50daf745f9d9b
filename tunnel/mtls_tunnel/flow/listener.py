"""Accepting: a bound address becomes sessions of its route, as many as there are slots.

A slot is taken before accept: with all of them in use the kernel's backlog holds the rest, and nothing is accepted
only to be closed.  Lack of descriptors or memory is waited out, 5 ms at first and 1 s at most, with one line in the
log for each spell; any other error of accept is the machine's and is raised.

Whoever is connected when it stops is served: by the listener that has taken the socket over, else by this one, which
accepts them before it closes.  To close with connections waiting would reset them.

The listener owns its listening sockets and nothing else: sessions belong to themselves and are in the registry.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from functools import partial

from mtls_tunnel.config.schema import Address
from mtls_tunnel.flow import binding
from mtls_tunnel.flow.binding import BACKLOG, LOCALHOST
from mtls_tunnel.flow.ground import Decisions, Ground
from mtls_tunnel.flow.loop import READ, Poll, running_poll
from mtls_tunnel.flow.pump import BUFFER_BYTES
from mtls_tunnel.flow.route import Route
from mtls_tunnel.flow.session import Session
from mtls_tunnel.flow.spell import Spell
from mtls_tunnel.flow.timers import Wheel
from mtls_tunnel.observe.logs import INFO, WARN, emit

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 1.0
FULL_RECHECK_SECONDS = 1.0  # a reload may have raised max_connections
_OUT_OF = {
    errno.EMFILE: "this process has no file descriptors left (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptors left",
    errno.ENOBUFS: "the kernel has no buffers left",
    errno.ENOMEM: "the kernel has no memory left",
}
# accept(2): errors of the connection, not of the listener; the next one may be fine.
_OF_THE_PEER = frozenset(
    getattr(errno, name)
    for name in ("ECONNABORTED", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH")
) | {errno.EPERM, errno.EINTR, errno.EOPNOTSUPP, errno.ENONET}


class Listener:
    """`resolve` if it is a name, `bind`, then `start` inside a running loop, then `stop`.  Each may happen once."""

    def __init__(self, address: Address, route: Route) -> None:
        self._asked = address
        self._route = route
        self._places = binding.places(address)
        self._sockets: tuple[socket.socket, ...] = ()
        self._taken: tuple[tuple[Listener, socket.socket], ...] = ()
        self._poll: Poll | None = None
        self._ground: Ground | None = None
        self._leave: Callable[[], None] | None = None
        self._pause = 0.0
        self._lack: Spell | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching = False

    @property
    def address(self) -> Address:
        """Where it is bound, with the port that the kernel picked."""
        if not self._sockets:
            return self._asked
        host, port = self._sockets[0].getsockname()[:2]
        return Address(self._asked.host if self._asked.host in ("", host, LOCALHOST) else host, port)

    async def resolve(self) -> None:
        """Look its host up, if that is a name.

        Raises:
            ListenError: it does not resolve.
        """
        self._places = self._places or await binding.looked_up(self._asked)

    def offers(self) -> "Offers":
        """What it will close, for those who bind before that."""
        return dict.fromkeys(self._sockets, self)

    def bind(self, offers: "Offers | None" = None) -> None:
        """Take the address.  Connections wait in the backlog until `start`.

        *offers* are sockets that are closed after `start`; one that is on this very address is taken out, and over.

        Raises:
            ListenError: the operating system refused it.
        """
        assert self._places, "a name is to be resolved first"
        offers = {} if offers is None else offers
        made = binding.bound(self._asked, self._places, tuple(offers))
        self._sockets = tuple(sock for sock, _ in made)
        self._taken = tuple((offers.pop(old), old) for _, old in made if old is not None)

    def start(self) -> None:
        """Begin to accept."""
        assert self._sockets, "bind comes first"
        loop = asyncio.get_running_loop()
        self._poll = running_poll()
        self._ground = Ground(
            self._poll, Wheel(loop.time, loop.call_at), Decisions(), memoryview(bytearray(BUFFER_BYTES))
        )
        self._lack = Spell(loop.call_later, self._say_accepting)
        self._leave = self._route.registry.on_leave(self._slot_is_free)
        for owner, sock in self._taken:
            owner._part_with(sock)
        self._taken = ()
        self._watch()

    def stop(self) -> None:
        """Accept who is connected already, then no more; live sessions go on.  May be called again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._lack is not None:
            self._lack.forget()
        if self._leave is not None:
            self._leave()
            self._leave = None
        self._unwatch()
        for sock in self._sockets:
            self._accept_waiting(sock)
            sock.close()
        self._sockets = ()

    def _part_with(self, sock: socket.socket) -> None:
        """Another listener accepts from its queue now."""
        if sock in self._sockets:
            if self._watching and self._poll is not None:
                self._poll.forget(sock.fileno())
            self._sockets = tuple(other for other in self._sockets if other is not sock)
            sock.close()

    def _accept_waiting(self, listening: socket.socket) -> None:
        if self._ground is None:
            return  # it was bound only
        for _ in range(BACKLOG):  # and not for ever, while others connect
            if self._full():
                return
            try:
                sock, where = listening.accept()
            except OSError as error:
                if error.errno in _OF_THE_PEER:
                    continue
                return
            self._begin(sock, where)

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
        self._pause = 0.0
        assert self._lack is not None
        self._lack.succeeded()
        return self._begin(sock, where)

    def _begin(self, sock: socket.socket, where: tuple[str, int]) -> None:
        assert self._ground is not None
        sock.setblocking(False)
        session = Session(sock, _remote(where), self._route, self._ground)
        self._route.meters.accepted()
        self._route.registry.add(session)
        session.start()

    def _back_off(self, error: OSError) -> None:
        assert self._lack is not None
        passes = error.errno in _OUT_OF
        if self._lack.failed() or not passes:
            why = _OUT_OF.get(error.errno or 0, str(error))
            emit(WARN, "listener: cannot accept, backing off", listen=self.address, error=why,
                 tunnel=self._route.name or None)  # fmt: skip
        # Not a lack that passes: the descriptor is ours, so this is a fault in the program or the kernel.
        pause = max(self._pause * 2, FIRST_PAUSE_SECONDS) if passes else LONGEST_PAUSE_SECONDS
        self._pause = min(pause, LONGEST_PAUSE_SECONDS)
        self._wait(self._pause)

    def _say_accepting(self) -> None:
        emit(INFO, "listener: accepting again", listen=self.address, tunnel=self._route.name or None)

    def _wait(self, seconds: float) -> None:
        """Leave the backlog alone for a while."""
        self._unwatch()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch()


Offers = dict[socket.socket, Listener]


def _remote(where: tuple[str, int]) -> str:
    host, port = where[:2]
    if host.startswith("::ffff:"):
        host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
