"""A host name becomes addresses, without anybody else waiting for the resolver.

The threads are not those of the event loop's executor: a resolver that hangs would keep reloads, revocations and
the end of the process waiting behind it.  They are daemons, so nothing joins them.  Dials that ask for the same
name at the same time share one lookup.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from mtls_tunnel.config.schema import Address

MAX_LOOKUPS = 64  # threads at a time; a further name waits until one of them is free

Found = list[tuple[Any, ...]]  # as `socket.getaddrinfo` gives them
_Key = tuple[asyncio.AbstractEventLoop, Address]

_asked: dict[_Key, asyncio.Future[Found]] = {}


async def look_up(address: Address) -> Found:
    """The addresses of *address* for TCP; an empty host is the loopback.

    Raises:
        OSError: a `socket.gaierror` where the name does not resolve.
    """
    key = (asyncio.get_running_loop(), address)
    while key not in _asked and len(running := _running(key[0])) >= MAX_LOOKUPS:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    # Whoever gives up leaves the lookup to the others.
    return await asyncio.shield(_asked.get(key) or _begin(key))


def _running(mine: asyncio.AbstractEventLoop) -> list[asyncio.Future[Found]]:
    return [future for (loop, _), future in _asked.items() if loop is mine]


def _begin(key: _Key) -> asyncio.Future[Found]:
    loop, address = key
    future: asyncio.Future[Found] = loop.create_future()
    _asked[key] = future
    future.add_done_callback(lambda _: _asked.pop(key))
    future.add_done_callback(asyncio.Future.exception)  # seen, even if nobody waits any more
    threading.Thread(target=_work, args=(loop, address, future), name="look up", daemon=True).start()
    return future


def _work(loop: asyncio.AbstractEventLoop, address: Address, future: asyncio.Future[Found]) -> None:
    found: Found = []
    error: OSError | None = None
    try:
        host = address.host or "localhost"
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as failed:
        error = failed
    except UnicodeError as failed:  # a label of more than 63 characters
        error = socket.gaierror(socket.EAI_NONAME, str(failed))
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
        loop.call_soon_threadsafe(_settle, future, found, error)


def _settle(future: asyncio.Future[Found], found: Found, error: OSError | None) -> None:
    if error is None:
        future.set_result(found)
    else:
        future.set_exception(error)
