"""The application behind the proxy: answers the requests of streams.py, plain and over TLS.

A thread per connection with blocking calls, in a few processes that share the listeners: the simplest thing that
holds 10,000 idle connections and costs little per byte.  It prints its ports as one line of JSON and ends with its
standard input.
"""

import json
import os
import socket
import ssl
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.streams import (
    DONE,
    DOWNLOAD,
    ECHO,
    FULL,
    HOST,
    PLAIN,
    RESUMED,
    UPLOAD,
    PlainStream,
    Request,
    Stream,
    TlsStream,
    prepared,
    read_exactly,
    server_context,
)

_BACKLOG = 4096
_IDLE_SECONDS = 900  # opening 10,000 connections and using each takes minutes
_STACK_BYTES = 256 * 1024
_CHUNK = memoryview(bytes(120 * 1024))  # above 128 KiB malloc would map fresh pages for each copy


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the backend listens."""

    plain: int
    tls: int
    tls_without_tickets: int


def main() -> None:
    folder, processes = Path(sys.argv[1]), int(sys.argv[2])
    contexts = [None, server_context(folder, tickets=2), server_context(folder, tickets=0)]
    listeners = [socket.create_server((HOST, 0), backlog=_BACKLOG) for _ in contexts]
    print(json.dumps(asdict(Ports(*(listener.getsockname()[1] for listener in listeners)))), flush=True)
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    threading.stack_size(_STACK_BYTES)
    for listener, context in zip(listeners, contexts, strict=True):
        threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
    sys.stdin.read()
    os._exit(0)  # no waiting for 10,000 threads


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(
            target=_serve, args=(prepared(sock, patience_seconds=_IDLE_SECONDS), context), daemon=True
        ).start()


def _serve(sock: socket.socket, context: ssl.SSLContext | None) -> None:
    with sock, suppress(OSError):
        if context is None:
            _answer_all(PlainStream(sock), PLAIN)
        else:
            stream = TlsStream(sock, context, server_side=True)
            _answer_all(stream, RESUMED if stream.resumed else FULL)


def _answer_all(stream: Stream, state: bytes) -> None:
    while header := read_exactly(stream, Request.FORM.size):
        request = Request.of(header)
        if request.verb == UPLOAD:
            drop(stream, request.amount)
            stream.send(DONE)
        elif request.verb == DOWNLOAD:
            fill(stream, request.amount)
        elif request.verb == ECHO:
            _echo(stream)
        else:
            stream.send(state)
    stream.finish()


def _echo(stream: Stream) -> None:
    view = memoryview(bytearray(4096))
    while got := stream.read_into(view):
        stream.send(view[:got])


def fill(stream: Stream, amount: int) -> None:
    """Send *amount* bytes."""
    while amount:
        part = _CHUNK[:amount]
        stream.send(part)
        amount -= len(part)


def drop(stream: Stream, amount: int) -> None:
    """Receive *amount* bytes and forget them."""
    while amount:
        got = stream.skip(amount)
        if not got:
            raise ConnectionError(f"the stream ended {amount} bytes early")
        amount -= got


if __name__ == "__main__":
    main()
