"""What all sessions of a loop share: the poll, the wheel, the clocks, a buffer, and what was decided before."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mtls_tunnel.flow.loop import Poll
from mtls_tunnel.flow.timers import Wheel
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.policy import Decision, Policy

MOST_DECISIONS = 4096


class Decisions:
    """What the current policy said of each certificate, so that it is asked once for each and not at each handshake."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._made: dict[str, Decision] = {}

    def decide(self, policy: Policy, identity: Identity | None) -> Decision:
        """As *policy* decides; it never changes, and the fingerprint stands for all names of the identity."""
        if identity is None:
            return policy.decide(None)
        if policy is not self._policy or len(self._made) >= MOST_DECISIONS:
            self._policy, self._made = policy, {}
        made = self._made.get(identity.fingerprint)
        if made is None:
            made = self._made[identity.fingerprint] = policy.decide(identity)
        return made


@dataclass(frozen=True, slots=True)
class Ground:
    """What all sessions of a loop share."""

    poll: Poll
    wheel: Wheel
    decisions: Decisions
    scratch: memoryview  # see PlainStream
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
