"""A hundred new certificates under two hundred busy connections: nothing is dropped, nothing grows.

Each reload brings a new key and leaf; the next handshake must be given exactly that one.  Connections that
were open before go on, and descriptors and memory are level afterwards.
"""

import ssl
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from support.clients import PING, ask, connect
from support.guarded import Guarded

CONNECTIONS, RELOADS, WORKERS = 200, 100, 4
SETTLED_AFTER = 20  # reloads until caches and arenas have their size
GROWTH_BYTES = 6 * 1024 * 1024


class Traffic:
    """Keeps asking over all its connections, in turn, until it is stopped."""

    def __init__(self, connections: Sequence[ssl.SSLSocket]) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_all, args=(connections[worker::WORKERS],)) for worker in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def _ask_all(self, connections: Sequence[ssl.SSLSocket]) -> None:
        while not self._stop.is_set():
            for connection in connections:
                try:
                    answer = ask(connection)
                except Exception as error:  # every kind of end is a lost connection
                    self.failures.append(repr(error))
                    return
                if answer != PING:
                    self.failures.append(f"{answer!r}")
                self.answers += 1
            self._stop.wait(0.05)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_hundred_reloads_lose_no_connection(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.greet()
        guarded.tunnel.wait_until_idle()
        descriptors = guarded.tunnel.descriptors
        tls = guarded.good
        with ExitStack() as stack:
            open_ones = [stack.enter_context(connect(guarded.port, tls)) for _ in range(CONNECTIONS)]
            traffic = Traffic(open_ones)
            try:
                sizes = [reload_and_look(guarded, tls) for _ in range(RELOADS)]
            finally:
                traffic.stop()
            assert traffic.failures == []
            assert traffic.answers > CONNECTIONS
            assert [ask(connection) for connection in open_ones] == [PING] * CONNECTIONS
            assert guarded.tunnel.value("mtlsd_active_connections") == CONNECTIONS
        guarded.tunnel.wait_until_idle()
        guarded.tunnel.wait_for_descriptors(descriptors)
        assert sizes[-1] - sizes[SETTLED_AFTER] < GROWTH_BYTES, sizes


def reload_and_look(guarded: Guarded, tls: ssl.SSLContext) -> int:
    """Bring a new certificate and see it in the next handshake; return the tunnel's memory."""
    new = guarded.authority.server()
    guarded.files.write("server", new)
    guarded.tunnel.hang_up()
    with connect(guarded.port, tls) as connection:
        assert connection.getpeercert(binary_form=True) == new.certificate.public_bytes(Encoding.DER)
    return guarded.tunnel.rss_bytes
