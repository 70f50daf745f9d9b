"""Large payloads through a chain of proxies, in both directions, judged by checksums at both ends.

`INTEROP_BYTES` sets the size: 64 MB by default.
"""

import hashlib
import os
import socket
from collections.abc import Callable

from support.clients import plain
from support.servers import CHUNK, Sink, payload

BULK_BYTES = int(os.environ.get("INTEROP_BYTES", str(64 * 1024 * 1024)))
# A slow machine gets a second per half megabyte, and never less than the usual deadline.
BULK_SECONDS = max(60.0, BULK_BYTES / 500_000)


def upload_digest(port: int, size: int, *, half_close: bool = True) -> str:
    """Send *size* bytes to *port*, end the output if *half_close*, and return what the sink behind it answers."""
    with plain(port, seconds=BULK_SECONDS) as connection:
        for chunk in payload(size):
            connection.sendall(chunk)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(100), b"")).decode()


def download_digest(port: int) -> str:
    """Read everything that comes from *port* while this side stays silent; return its SHA-256."""
    digest = hashlib.sha256()
    with plain(port, seconds=BULK_SECONDS) as connection:
        while chunk := connection.recv(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class FramedSink(Sink):
    """Answers after *size* bytes in place of waiting for the end: for peers that do not keep half-close."""

    def __init__(self, size: int, port: int = 0) -> None:
        super().__init__(port)
        self.size = size

    def serve(self, connection: socket.socket) -> None:
        digest, left = hashlib.sha256(), self.size
        while left > 0 and (chunk := self.take(connection, min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        connection.sendall(digest.hexdigest().encode())
        connection.shutdown(socket.SHUT_WR)
        while self.take(connection):
            pass


def half_closed_download_digest(port: int, established: Callable[[], object] = lambda: None) -> str:
    """End the output first, then read: what comes back comes over a half-closed connection.

    *established* returns once every leg is there: some proxies give a dial up whose client has already ended.
    """
    digest = hashlib.sha256()
    with plain(port, seconds=BULK_SECONDS) as connection:
        established()
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
