"""The ClientHello, read before there is a TLS connection, and left where it is: OpenSSL reads it again.

A library tells the server name too late to answer `unrecognized_name`, and not at all when it refuses for reasons
of its own.  So the bytes are peeked at.  Nothing is woken for a hello that is not complete yet: SO_RCVLOWAT says
how many bytes are waited for.  Nothing is decided here.

Sources: recv(2) MSG_PEEK, socket(7) SO_RCVLOWAT; RFC 8446 §6 (alerts), RFC 6066 §3 (unrecognized_name).
"""

import contextlib
import select
import socket

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.flow.loop import FAULT, READ, Poll
from mtls_tunnel.flow.steps import Later
from mtls_tunnel.tls.engine import Engine, Peer
from mtls_tunnel.tls.sni import MOST_OCTETS, Hello, client_hello, still_needed

UNRECOGNIZED_NAME = 112
_FATAL = 2
_ENDED = FAULT | select.EPOLLRDHUP
_FIRST_LOOK = 4096  # nearly every hello fits


class _Ear:
    """Listens on one socket until the hello is whole, or there will be none."""

    __slots__ = ("_low", "_over", "_sock", "hello")

    def __init__(self, sock: socket.socket, over: Later) -> None:
        self._sock = sock
        self._over = over
        self._low = 1
        self.hello: Hello | None = None

    def listen(self, mask: int) -> None:
        try:
            if self.heard(ended=bool(mask & _ENDED)):
                self._over.finish()
        except (PeerRejected, OSError) as error:
            self._over.finish(error)

    def heard(self, *, ended: bool) -> bool:
        """Look; say whether the hello is whole."""
        octets = b""
        with contextlib.suppress(BlockingIOError):
            octets = self._sock.recv(_FIRST_LOOK, socket.MSG_PEEK)
            if len(octets) == _FIRST_LOOK:
                octets = self._sock.recv(MOST_OCTETS, socket.MSG_PEEK)
        self.hello = client_hello(octets)
        if self.hello is not None:
            return True
        if ended:
            raise PeerRejected("closed", "the peer closed the connection before its ClientHello was complete")
        self.lower(len(octets) + still_needed(octets))
        return False

    def lower(self, count: int) -> None:
        """Be woken when *count* bytes are there."""
        if count != self._low:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low = count


async def greet(poll: Poll, sock: socket.socket, over: Later) -> Hello:
    """Wait for a whole ClientHello on *sock*, or be ended by *over*, with the error it is finished with.

    Raises:
        PeerRejected: `closed`, `not_tls`, or `bad_sni`; or what *over* was finished with.
    """
    ear = _Ear(sock, over)
    descriptor = sock.fileno()
    try:
        if ear.heard(ended=False):  # often it came with the connection
            over.finish()
        else:
            poll.watch(descriptor, READ | select.EPOLLRDHUP, ear.listen)
        await over
    finally:
        poll.forget(descriptor)
        ear.lower(1)
    assert ear.hello is not None
    return ear.hello


def refuse(sock: socket.socket, alert: int) -> None:
    """Send a fatal *alert* as a TLS record of its own; best effort, and nothing may be sent after it."""
    with contextlib.suppress(OSError):
        sock.send(bytes((21, 3, 3, 0, 2, _FATAL, alert)))


def same_name(engine: Engine, peer: Peer, name: str) -> bool:
    """Whether the library has understood the *name* that was heard: a second ClientHello could have another one."""
    told = engine.server_name()
    if told is None and peer.resumed and peer.version == "TLSv1.2":
        return True  # there is one hello only, and of a resumed session the library tells the name that it was made for
    return (told or "").lower().rstrip(".") == name
