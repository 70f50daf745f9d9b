"""An address becomes a connected, non-blocking socket within a deadline.

Names are resolved at each dial.  With several addresses the attempts overlap: each gets a quarter of a second before
the next one starts beside it, families taking turns, and the first that connects wins (happy eyeballs).
The caller owns the socket that is returned; all others are closed here.

Sources: RFC 8305 (§4 order of addresses, §5 delay between attempts).
"""

import asyncio
import contextlib
import errno
import functools
import ipaddress
import itertools
import os
import socket
from collections.abc import Coroutine, Sequence
from typing import Any

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import UpstreamError
from mtls_tunnel.upstream.lookup import look_up

ATTEMPT_DELAY_SECONDS = 0.25
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6))

_Where = tuple[int, Any]  # family, address as the socket module takes it


async def dial(address: Address, *, timeout: float) -> socket.socket:
    """Connect to *address* within *timeout* seconds (0: as long as the kernel takes).

    An empty host is the loopback.

    Raises:
        UpstreamError: reason ``dial_failed``; its text names the address and what went wrong.
    """
    try:
        literal = _literal(address)
        if literal is None:
            return await _in_time(_by_name(address), timeout)
        made, connected = _begin(*literal)
        # On the loopback it is over at once, and nothing has to be waited for.
        return made if connected else await _in_time(_finish(made, literal[1]), timeout)
    except TimeoutError:
        raise UpstreamError("dial_failed", f"{address}: no connection within {timeout:g} s") from None
    except socket.gaierror as error:
        raise UpstreamError("dial_failed", f"{address}: the name does not resolve: {error.strerror}") from error
    except OSError as error:
        raise UpstreamError("dial_failed", f"{address}: {_words(error)}") from error


async def _in_time(dialling: Coroutine[Any, Any, socket.socket], timeout: float) -> socket.socket:
    """In a task of its own, because whoever dials may be none, and a deadline needs one."""

    async def limited() -> socket.socket:
        async with asyncio.timeout(timeout or None):
            return await dialling

    task = asyncio.get_running_loop().create_task(limited())
    try:
        return await task
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_close_late)
        raise


def _close_late(task: "asyncio.Task[socket.socket]") -> None:
    """Of a dial that nobody waits for any more, and that was over before it could be cancelled."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _by_name(address: Address) -> socket.socket:
    found = await _resolve(address)
    return await (_connect(*found[0]) if len(found) == 1 else _race(found))


@functools.lru_cache(maxsize=64)
def _literal(address: Address) -> _Where | None:
    """Addresses need no resolver, and no thread to run it in."""
    if "%" in address.host:
        return None  # which interface has that name may change
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        return None
    where = (address.host, address.port)
    return (socket.AF_INET6, (*where, 0, 0)) if version == 6 else (socket.AF_INET, where)


async def _resolve(address: Address) -> list[_Where]:
    by_family: dict[int, list[_Where]] = {}
    for family, _, _, _, where in await look_up(address):
        by_family.setdefault(family, []).append((family, where))
    turns = itertools.zip_longest(*by_family.values())
    return list(dict.fromkeys(one for turn in turns for one in turn if one is not None))


async def _connect(family: int, where: Any) -> socket.socket:
    made, connected = _begin(family, where)
    return made if connected else await _finish(made, where)


def _begin(family: int, where: Any) -> tuple[socket.socket, bool]:
    """A socket that is connecting, and whether it is connected already."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        code = made.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        return made, code == 0 or _has_peer(made)
    except BaseException:
        made.close()
        raise


def _has_peer(made: socket.socket) -> bool:
    try:
        peer = made.getpeername()
    except OSError:
        return False
    if peer == made.getsockname():
        # Nobody listens, and the kernel picked the target's own port: the socket is talking to itself.
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return True


async def _finish(made: socket.socket, where: Any) -> socket.socket:
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
        _has_peer(made)
    except BaseException:
        made.close()
        raise
    return made


async def _race(found: Sequence[_Where]) -> socket.socket:
    """Start the next attempt when the last one failed or took too long; the first to connect wins."""
    waiting = list(found)
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(*waiting.pop(0))))
            delay = ATTEMPT_DELAY_SECONDS if waiting else None
            done, running = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            won = [task for task in done if task.exception() is None]
            for late in won[1:]:
                late.result().close()
            if won:
                return won[0].result()
            errors += [error for task in done if isinstance(error := task.exception(), OSError)]
    finally:
        await _abandon(running)
    raise errors[0] if errors else OSError("no address")


async def _abandon(running: set[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError, OSError):
            (await task).close()


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
