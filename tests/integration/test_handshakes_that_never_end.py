"""Connections that say nothing, and handshakes of a byte a second: each is cut at the handshake timeout.

A good client gets through while they wait.  The scale is set for a small machine.
"""

import selectors
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from support.clients import plain
from support.guarded import Guarded

SILENT, SLOW = 300, 60


def first_flight(tls: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        tls.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def drip(connections: list[socket.socket], flight: bytes, stop: threading.Event) -> None:
    """A byte a second on each of them, for as long as they are open."""
    for at in range(len(flight)):
        for connection in connections:
            try:
                connection.send(flight[at : at + 1])
            except OSError:
                continue
        if stop.wait(1):
            return


def wait_until_all_are_closed(connections: list[socket.socket]) -> None:
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(60)
            assert ready, f"{len(selector.get_map())} connections are still open"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                try:
                    ended = not key.fileobj.recv(4096)
                except OSError:
                    ended = True
                if ended:
                    selector.unregister(key.fileobj)


def test_each_is_cut_at_the_timeout_and_others_get_through(tmp_path: Path) -> None:
    stop = threading.Event()
    with Guarded(tmp_path, {"proxy": {"handshake_timeout": "5s"}}) as guarded, ExitStack() as stack:
        guarded.greet()
        guarded.tunnel.wait_until_idle()
        descriptors = guarded.tunnel.descriptors
        silent = [stack.enter_context(plain(guarded.port)) for _ in range(SILENT)]
        slow = [stack.enter_context(plain(guarded.port)) for _ in range(SLOW)]
        dripping = threading.Thread(target=drip, args=(slow, first_flight(guarded.good), stop))
        dripping.start()
        try:
            guarded.greet()
            guarded.greet()
            wait_until_all_are_closed(silent + slow)
        finally:
            stop.set()
            dripping.join()
        guarded.tunnel.wait_for_value(SILENT + SLOW, "mtlsd_handshake_failures_total", reason="timeout")
        guarded.tunnel.wait_for_line(r'level=WARN msg="tls handshake failed" .*reason=timeout\b')
        guarded.tunnel.wait_until_idle()
        guarded.tunnel.wait_for_descriptors(descriptors)
        guarded.greet()
        assert guarded.backend.accepted == 4
