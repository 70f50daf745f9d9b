"""A plain socket with the verbs of `tls.engine.Engine`: read, write, end; and what both need at the end of a life.

Nothing blocks.  The socket belongs to whoever made the stream.  Errors are OSErrors, as the kernel gives them.
"""

import contextlib
import socket
import struct

from mtls_tunnel.tls.engine import NOTHING_NOW

_RESET = struct.pack("ii", 1, 0)  # l_onoff, l_linger: close() sends an RST


class PlainStream:
    """TCP as it is.  Its input is never truncated: a FIN is all the end that TCP has."""

    __slots__ = ("_recv_into", "_send", "_socket")

    truncated = False
    wants_write = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._recv_into = sock.recv_into
        self._send = sock.send

    def read(self, into: memoryview) -> int:
        """Read what is there into *into*; 0 is the end, -1 nothing now."""
        try:
            return self._recv_into(into)
        except (BlockingIOError, InterruptedError):
            return NOTHING_NOW

    def write(self, view: memoryview | bytes) -> int:
        """Write as much of *view* as the kernel takes now."""
        try:
            return self._send(view)
        except (BlockingIOError, InterruptedError):
            return 0

    def end(self) -> bool:
        """Nothing to say but the FIN, which is the caller's to send."""
        return True

    def drop(self) -> None:
        """Nothing is held."""


def smooth(sock: socket.socket) -> None:
    """Small writes leave at once, and a peer that vanished is noticed."""
    with contextlib.suppress(OSError):  # it has gone already, as the first read will say
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset(sock: socket.socket) -> None:
    """Close with an RST, so that the peer cannot take what it got for the whole."""
    with contextlib.suppress(OSError):  # the peer was faster
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
