"""A plain socket with the verbs of `tls.engine.Engine`: read, write, end; and what both need at the end of a life.

Nothing blocks.  The socket belongs to whoever made the stream.  Errors are OSErrors, as the kernel gives them.
"""

import contextlib
import socket
import struct

from mtls_tunnel.tls.engine import END, Chunks

_RESET = struct.pack("ii", 1, 0)  # l_onoff, l_linger: close() sends an RST


class PlainStream:
    """TCP as it is.  Its input is never truncated: a FIN is all the end that TCP has.

    What is read lies in the scratch buffer, so it has to be written on, or copied, before anything else is read.
    """

    __slots__ = ("_scratch", "_sock")

    truncated = False
    wants_write = False

    def __init__(self, sock: socket.socket, scratch: memoryview) -> None:
        """*scratch* is shared with all streams of the thread; its length is the most that is read at once."""
        self._scratch = scratch
        self._sock = sock

    def read(self) -> Chunks | None:
        """Read what is there; END is the end of input, None nothing now."""
        try:
            count = self._sock.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return None
        return (self._scratch[:count],) if count else END

    def write(self, chunks: Chunks) -> int:
        """Write as much of *chunks* as the kernel takes now."""
        try:
            return self._sock.send(chunks[0]) if len(chunks) == 1 else self._sock.sendmsg(chunks)
        except (BlockingIOError, InterruptedError):
            return 0

    def end(self) -> bool:
        """Nothing to say but the FIN, which is the caller's to send."""
        return True

    def drop(self) -> None:
        """Nothing is held."""


def smooth(sock: socket.socket) -> None:
    """Small writes leave at once, and a peer that vanished is noticed.  Accepted sockets inherit it (tcp(7))."""
    with contextlib.suppress(OSError):  # it has gone already, as the first read will say
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset(sock: socket.socket) -> None:
    """Close with an RST, so that the peer cannot take what it got for the whole."""
    with contextlib.suppress(OSError):  # the peer was faster
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
