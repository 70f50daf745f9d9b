"""Which time limit of the contract a live session has reached, and when to look again if none.

PURE: the clocks are passed in.  Idle and half-close limits roll: they count from the last byte that moved.
"""

from collections.abc import Iterable

from mtls_tunnel.config.schema import Proxy
from mtls_tunnel.flow.pump import Pump
from mtls_tunnel.flow.timers import NEVER
from mtls_tunnel.tls.engine import Peer

EXPIRY_RECHECK_SECONDS = 60.0  # wall clocks jump


def overdue(pump: Pump, proxy: Proxy, started: float, active_at: float, now: float) -> tuple[str, float]:
    """(reason to cut it, or "" and when to look again), from the monotonic times of its start and last byte."""
    idle, half = proxy.idle_timeout_seconds, proxy.half_close_timeout_seconds
    quiet = half if pump.halfway else idle
    # An end of input wakes nobody here, so the shorter of the two says how often to look.
    next_look = now + min(idle or NEVER, half or NEVER) / 8
    if quiet:
        if now >= active_at + quiet:
            return "half_close" if pump.halfway else "idle", NEVER
        next_look = min(active_at + quiet, next_look)
    if lifetime := proxy.max_lifetime_seconds:
        if now >= started + lifetime:
            return "lifetime", NEVER
        next_look = min(next_look, started + lifetime)
    return "", next_look


def run_out(peers: Iterable[Peer], wall: float) -> tuple[list[Peer], float]:
    """(those whose certificate has expired, in how many seconds to look again at the others)."""
    expired: list[Peer] = []
    seconds = NEVER
    for peer in peers:
        if peer.identity is None:
            continue
        if wall > peer.identity.not_after:
            expired.append(peer)
        else:
            seconds = min(seconds, peer.identity.not_after - wall + 0.1, EXPIRY_RECHECK_SECONDS)
    return expired, seconds
