"""Whether anything has moved since the last look: bytes that were read, and bytes that have arrived since.

A slow reader takes its bytes long after the last of them was read here.  Until then they wait in the pump, or in the
kernel for the peer's acknowledgement; an idle or half-close limit counts from the last one that went.  Asked by the
wheel alone, so that a byte that moves costs nothing more.  What the peer's application takes from its own kernel
nobody sees.

Sources: tcp(7) (SIOCOUTQ).
"""

import fcntl
import sys
import termios
from collections.abc import Callable

from mtls_tunnel.flow.pump import Pump

_SIOCOUTQ = termios.TIOCOUTQ  # linux/sockios.h: the same number by another name
_C_INT = bytes(4)


def unsent(descriptor: int) -> int:
    """Bytes that were written to this socket and that its peer has not acknowledged."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, _SIOCOUTQ, _C_INT), sys.byteorder)
    except OSError:  # not every sandbox answers: then only what is read counts
        return 0


def progress(pump: Pump, seen: int, owed: int, *, unsent: Callable[[int], int] = unsent) -> tuple[int, int]:
    """(what was read in all, what is owed to either side); both are *seen* and *owed* if nothing has moved."""
    up, down = pump.up, pump.down
    now = up.moved + down.moved + up.ended + down.ended
    if now == seen and not owed:
        return seen, owed  # most are idle: two system calls for each of ten thousand would be felt
    waiting = len(up.pending or b"") + len(down.pending or b"")
    return now, waiting + unsent(pump.near.descriptor) + unsent(pump.far.descriptor)
