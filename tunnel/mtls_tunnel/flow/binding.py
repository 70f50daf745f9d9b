"""Listening sockets: an address becomes bound sockets, or one sentence that says why it cannot.

A port that another program listens on is refused, a second `tunnel run` on the same configuration above all: nothing
is bound with SO_REUSEPORT, with which two processes would share the connections and nobody be told.  The exceptions
are sockets that this process is about to close (`ceded`), for a reload binds before it closes.  The very same address
is taken over, waiting connections and all; with one that overlaps (0.0.0.0 and 127.0.0.1) the port is shared until
then.

``localhost`` is both loopback addresses: a program that is told localhost may try ::1 first, and only that.  ``[::]``
and no host at all are every address of both families, ``0.0.0.0`` every IPv4 address.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from mtls_tunnel.config.addresses import overlap
from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ListenError
from mtls_tunnel.flow.stream import smooth
from mtls_tunnel.upstream.lookup import look_up

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
LOCALHOST = "localhost"
_NO_SUCH_FAMILY = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT))

Place = tuple[socket.AddressFamily, tuple[Any, ...]]  # as getsockname writes it
Bound = tuple[socket.socket, socket.socket | None]  # and the ceded one that it is a duplicate of


def places(address: Address) -> tuple[Place, ...]:
    """Where to bind for *address*; nothing for a name, which is `looked_up`."""
    if address.host.lower() == LOCALHOST:
        # Not looked up: RFC 6761 section 6.3 says what it is, and a container may have no hosts file.
        return _place(IPv4Address("127.0.0.1"), address), _place(IPv6Address("::1"), address)
    if address.host == "":
        return (_place(IPv6Address(0) if socket.has_dualstack_ipv6() else IPv4Address(0), address),)
    try:
        return (_place(ip_address(address.host), address),)
    except ValueError:
        return ()


def _place(host: IPv4Address | IPv6Address, address: Address) -> Place:
    if host.version == 4:
        return socket.AF_INET, (str(host), address.port)
    if host.scope_id is not None:
        raise ValueError("which interface has that name is looked up")
    return socket.AF_INET6, (str(host), address.port, 0, 0)


async def looked_up(address: Address) -> tuple[Place, ...]:
    """Where to bind for a name; the loop goes on meanwhile.

    Raises:
        ListenError: it does not resolve.
    """
    try:
        found = await look_up(address)
    except OSError as error:
        raise ListenError(sentence(address, error)) from error
    family, _, _, _, where = min(found, key=lambda one: one[0] != socket.AF_INET)
    return ((family, where),)


def bound(address: Address, where: Iterable[Place], ceded: Iterable[socket.socket]) -> list[Bound]:
    """Listening sockets for *address*, which is *where*; all, or none and an error.  The caller owns them.

    Raises:
        ListenError: the operating system refused one.
    """
    made: list[Bound] = []
    with contextlib.ExitStack() as closing:
        for place in where:
            # Port 0 is picked once, for all of them.
            port = made[0][0].getsockname()[1] if made else address.port
            try:
                made.append(_bound_to(_at_port(place, port), ceded))
            except OSError as error:
                # A machine without IPv6 has one half of localhost; and what was picked may be taken on the other.
                if made and (error.errno in _NO_SUCH_FAMILY or (not address.port and error.errno == errno.EADDRINUSE)):
                    continue
                raise ListenError(sentence(address, error)) from error
            closing.enter_context(made[-1][0])
        closing.pop_all()
    return made


def _at_port(place: Place, port: int) -> Place:
    family, (host, _, *more) = place
    return family, (host, port, *more)


def _bound_to(place: Place, ceded: Iterable[socket.socket]) -> Bound:
    for one in ceded:
        if (one.family, one.getsockname()) == place:
            return one.dup(), one
    try:
        return _listening(place, ()), None
    except OSError as error:
        near = [one for one in ceded if overlap(_address(one.getsockname()), _address(place[1]))]
        if error.errno != errno.EADDRINUSE or not near:
            raise
    return _listening(place, near), None


def _listening(place: Place, beside: Iterable[socket.socket]) -> socket.socket:
    """A listening socket that shares its port with those *beside* it."""
    family, where = place
    with contextlib.ExitStack() as closing:
        made = closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT only
        for one in beside:  # both must allow it, and it counts when the second is bound
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        smooth(made)
        if family == socket.AF_INET6:
            every = where[0] == "::" and socket.has_dualstack_ipv6()
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if every else 1)
        made.setblocking(False)
        made.bind(where)
        made.listen(BACKLOG)
        closing.pop_all()
    return made


def _address(where: tuple[Any, ...]) -> Address:
    return Address(where[0], where[1])


def sentence(address: Address, error: OSError) -> str:
    """What *error* means to whoever wrote *address*."""
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {address}: {address.host} is no address of this machine"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {address}: the port is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {address}: {address.host} is no address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"cannot listen on {address}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    return f"cannot listen on {address}: {os.strerror(error.errno or 0).lower()}"
