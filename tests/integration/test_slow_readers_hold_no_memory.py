"""A peer that does not read stops the one that sends: back-pressure, not memory, in both directions."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.clients import plain
from support.guarded import Guarded, client_settings
from support.ports import free_port
from support.servers import CHUNK, Backend, Source, Stubborn, digest_of, payload
from support.tunnels import Tunnel
from support.waiting import eventually

SIZE = 100 * 1024 * 1024
# Kernel buffers on six sockets, at most; a sender that is still going after this is not held back.
IN_FLIGHT = 48 * 1024 * 1024
GROWTH = 4 * 1024 * 1024


@contextmanager
def chain(folder: Path, backend: Backend) -> Iterator[tuple[Tunnel, Tunnel]]:
    with Guarded(folder, backend=backend) as guarded:
        address = f"127.0.0.1:{guarded.port}"
        with Tunnel(folder, client_settings(guarded.files, free_port(), address), name="client") as client:
            yield client, guarded.tunnel


def test_a_backend_that_does_not_read_holds_the_caller_back(tmp_path: Path) -> None:
    with Stubborn() as backend, chain(tmp_path, backend) as (client, server), plain(client.port, seconds=120) as caller:
        before = client.rss_bytes, server.rss_bytes
        sent = [0]

        def send() -> None:
            for chunk in payload(SIZE):
                caller.sendall(chunk)
                sent[0] += len(chunk)
            caller.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        held = wait_until_still(lambda: sent[0])
        assert held < IN_FLIGHT
        for tunnel, rss in zip((client, server), before, strict=True):
            assert tunnel.rss_bytes - rss < GROWTH
        backend.released.set()
        sender.join()
        eventually(lambda: backend.received == SIZE, "everything arrives once it reads", seconds=120)


def test_a_caller_that_does_not_read_holds_the_backend_back(tmp_path: Path) -> None:
    with Source(SIZE) as backend, chain(tmp_path, backend) as (client, server):
        before = client.rss_bytes, server.rss_bytes
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            caller.settimeout(120)
            caller.connect(("127.0.0.1", client.port))
            eventually(lambda: backend.sent > 0, "the backend has begun")
            held = wait_until_still(lambda: backend.sent)
            assert held < IN_FLIGHT
            for tunnel, rss in zip((client, server), before, strict=True):
                assert tunnel.rss_bytes - rss < GROWTH
            digest = hashlib.sha256()
            while chunk := caller.recv(CHUNK):
                digest.update(chunk)
        assert digest.hexdigest() == digest_of(SIZE)


def wait_until_still(progress: Callable[[], int]) -> int:
    """Wait until *progress* has stood at one figure for a while."""
    seen = [-1, 0]

    def still() -> bool:
        now = progress()
        seen[1] = seen[1] + 1 if now == seen[0] else 0
        seen[0] = now
        return seen[1] > 100  # looks, 10 ms apart

    eventually(still, "the sender is held back", seconds=120)
    return seen[0]
