"""Backends with real behaviour: each listens on the loopback and serves every connection in a thread.

A backend remembers what reached it (`accepted`, `received`), which is what "not one byte reaches the
backend" is judged by.  `serve` of a subclass owns the connection; the base class closes it.

    Echo      sends back what it gets, ends when the peer ends
    Sink      reads to the end of input, then answers with the SHA-256 of it: half-close must work
    Source    sends a given number of bytes, then ends its output and reads what is left
    Silent    reads and never answers
    Stubborn  accepts and never reads: back-pressure
    Resetter  reads until it has a number of bytes, then resets the connection
    Lines     answers each line with "echo: LINE"
"""

import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

CHUNK = 256 * 1024
_PATTERN = bytes(range(256)) * (CHUNK // 256)


def payload(size: int) -> Iterator[memoryview]:
    """*size* bytes that repeat only every 256, in chunks."""
    view = memoryview(_PATTERN)
    while size > 0:
        yield view[: min(size, CHUNK)]
        size -= CHUNK


def digest_of(size: int) -> str:
    """SHA-256 of `payload(size)`."""
    digest = hashlib.sha256()
    for chunk in payload(size):
        digest.update(chunk)
    return digest.hexdigest()


def reset(connection: socket.socket) -> None:
    """Close with an RST in place of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Backend:
    """Owns a listening socket and its connections until the `with` block ends."""

    def __init__(self, port: int = 0, *, receive_buffer: int = 0) -> None:
        self.accepted = 0
        self.received = 0
        self.open = 0
        self.endings: list[str] = []  # how each connection ended, as seen from here: "eof" or the error's name
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(4096)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        raise AssertionError("a subclass says what it does")

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and abort what is open; may be called twice."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._one, args=(connection,), daemon=True)
            with self._lock:
                self.accepted += 1
                self.open += 1
                self._connections.add(connection)
                self._threads = [old for old in self._threads if old.is_alive()]
                self._threads.append(thread)
                thread.start()

    def _one(self, connection: socket.socket) -> None:
        try:
            self.serve(connection)
            ending = "eof"
        except OSError as error:
            ending = type(error).__name__
        with self._lock:
            self._connections.discard(connection)
            self.open -= 1
            self.endings.append(ending)
            connection.close()

    def take(self, connection: socket.socket, size: int = CHUNK) -> bytes:
        """Read, and remember that it came."""
        chunk = connection.recv(size)
        with self._lock:
            self.received += len(chunk)
        return chunk


class Echo(Backend):
    def serve(self, connection: socket.socket) -> None:
        while chunk := self.take(connection):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


class Lines(Backend):
    def serve(self, connection: socket.socket) -> None:
        rest = b""
        while chunk := self.take(connection):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                connection.sendall(b"echo: " + line + b"\n")
        connection.shutdown(socket.SHUT_WR)


class Sink(Backend):
    def serve(self, connection: socket.socket) -> None:
        digest = hashlib.sha256()
        while chunk := self.take(connection):
            digest.update(chunk)
        connection.sendall(digest.hexdigest().encode())
        connection.shutdown(socket.SHUT_WR)


class Source(Backend):
    def __init__(self, size: int, port: int = 0) -> None:
        super().__init__(port)
        self.size = size
        self.sent = 0

    def serve(self, connection: socket.socket) -> None:
        for chunk in payload(self.size):
            connection.sendall(chunk)
            self.sent += len(chunk)
        connection.shutdown(socket.SHUT_WR)
        while self.take(connection):
            pass


class Silent(Backend):
    def serve(self, connection: socket.socket) -> None:
        while self.take(connection):
            pass
        connection.shutdown(socket.SHUT_WR)


class Stubborn(Backend):
    """Never reads before `released` is set; small receive buffer, so that the peer feels it soon."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port, receive_buffer=8192)
        self.released = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        self.released.wait()
        while self.take(connection):
            pass
        connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.released.set()
        super().close()


class Resetter(Backend):
    def __init__(self, after: int, port: int = 0) -> None:
        super().__init__(port)
        self.after = after

    def serve(self, connection: socket.socket) -> None:
        got = 0
        while got < self.after and (chunk := self.take(connection)):
            got += len(chunk)
        reset(connection)
