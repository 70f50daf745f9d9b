"""Free TCP ports for processes that must be told a number before they bind.

They are taken from below the range that the kernel hands to outgoing connections, so that a busy test
cannot lose its port to one of its own clients between the choice and the bind; none is given out twice.
"""

import itertools
import os
import socket

_FIRST, _LAST = 12000, 32000
_next = itertools.count(os.getpid() * 211 % (_LAST - _FIRST))


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_LAST - _FIRST):
        port = _FIRST + next(_next) % (_LAST - _FIRST)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port on this machine")


def listening(port: int) -> bool:
    """Whether something listens on *port*, without touching it: a probe would count as a connection."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                rows = [line.split() for line in lines]
        except FileNotFoundError:
            continue
        if any(row[1].endswith(wanted) and row[3] == "0A" for row in rows[1:]):
            return True
    return False
