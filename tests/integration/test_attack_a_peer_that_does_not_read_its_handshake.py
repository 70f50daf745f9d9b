"""A client that fills our send buffer, reads nothing and says more than it was asked for: waited for, not polled.

The first flight of a server with a long list of CAs is longer than what a fresh connection takes.
"""

import asyncio
import contextlib
import socket
import ssl
import time

from mtls_tunnel.config.schema import Tls
from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.flow.handshake import shake
from mtls_tunnel.flow.loop import new_event_loop, running_poll
from mtls_tunnel.flow.steps import Later, Steps
from mtls_tunnel.tls.context import ServerContext
from mtls_tunnel.tls.engine import Engine
from mtls_tunnel.trust.material import parse
from support.leaves import files
from support.pki import Authority

MANY_AUTHORITIES = 80
LONGEST = 10  # steps of a handshake that gets nowhere


class Counted:
    """An engine whose steps are counted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.steps = 0

    @property
    def wants_write(self) -> bool:
        return self._engine.wants_write

    def handshake(self) -> bool:
        self.steps += 1
        return self._engine.handshake()


def server_context() -> ServerContext:
    authorities = [Authority(f"{number} {'x' * 60}") for number in range(MANY_AUTHORITIES)]
    material = parse(files(authorities[0].server(), *authorities), now=time.time())
    return ServerContext(material, Tls("server.pem", "server-key.pem", ("ca.pem",)), now=time.time)


def hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        made.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def test_what_it_says_meanwhile_costs_no_steps() -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
    near.setblocking(False)

    async def waited_for(engine: Counted) -> None:
        loop = asyncio.get_running_loop()
        over = Later()
        ended: asyncio.Future[str] = loop.create_future()

        async def story() -> None:
            try:
                await shake(running_poll(), near.fileno(), engine, over, at_once=False)  # type: ignore[arg-type]
            except PeerRejected as refusal:
                ended.set_result(refusal.reason)

        loop.call_later(0.5, over.finish, PeerRejected("timeout", "half a second is over"))
        Steps(story()).go()
        assert await ended == "timeout"

    with near, far, asyncio.Runner(loop_factory=new_event_loop) as runner:
        counted = Counted(server_context().engine(near))
        far.sendall(hello() + b"\x16\x03\x03")
        runner.run(waited_for(counted))
        assert counted.wants_write, "the flight fitted into the buffer"
    assert counted.steps < LONGEST
