"""The steps of a rotation, taken: read what is stored, decide, write one thing after the other, and read again.

Nothing is remembered between two rounds, so it does not matter which process took the steps before, or how far it
got.  A Conflict means that somebody else was there first: read again.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtls_tunnel_operator.authority import ca, rotation, state
from mtls_tunnel_operator.authority.rotation import Decision, Holders, Make, Remove, Step
from mtls_tunnel_operator.authority.signer import Refusal
from mtls_tunnel_operator.authority.state import Authority, Progress, State
from mtls_tunnel_operator.control.domains.sources import Found
from mtls_tunnel_operator.control.domains.store import DomainStore, Stored, memories_in_leaves
from mtls_tunnel_operator.errors import AuthorityError, Conflict
from mtls_tunnel_operator.model.resources import TrustDomain

LOG = logging.getLogger(__name__)

MOST_ROUNDS = 12  # in one look: an emergency in the middle of a rotation takes seven


@dataclass(frozen=True, slots=True)
class Settled:
    """Where it came to; with `decision.steps` left, it is to be looked at again.

    `fault` is what keeps a new CA from being made or taken.  `orphans` are Secrets with a leaf of a CA that nobody
    knew any more when the first CA of the domain was made.
    """

    state: State
    stored: Stored
    decision: Decision
    fault: Refusal | None
    holders: Holders
    orphans: tuple[str, ...] = ()


class Steps:
    """Takes steps for any domain."""

    def __init__(self, store: DomainStore, *, now: Callable[[], float], check_clocks: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._check_clocks = check_clocks

    async def settle(
        self,
        domain: TrustDomain,
        holders: Callable[[State], Awaitable[Holders]],
        found: Found,
        leaves: Callable[[], Sequence[Mapping[str, Any]]],
        own: Sequence[str] = (),
    ) -> Settled:
        """Take steps until there are none.  Raises ApiError.

        *leaves* finds the domain's managed Secrets; it is called only where neither a CA nor a memory is stored,
        and believed only of the CAs whose fingerprints are *own*.
        """
        left = MOST_ROUNDS
        orphans: tuple[str, ...] = ()
        while True:
            left -= 1
            stored = await self._store.read(domain.name)
            # With everything else gone, the leaves' own Secrets still say whom they trust: no silent new root.
            memories = stored.memories or (() if stored.authorities else memories_in_leaves(leaves(), own))
            known = state.assemble(stored.authorities, memories, domain.compromised)
            held = await holders(known)
            now = self._now()
            decision = rotation.decide(known, domain, held, now, found.origin)
            if not decision.steps:
                await self._ask_anew(domain, decision, known, found)
            if not decision.steps or not left:
                return Settled(known, stored, decision, found.fault, held, orphans)
            try:
                self._check_clocks()
                for step in decision.steps:
                    await self._take(step, domain, stored, found, now)
                    orphans = held.strangers if isinstance(step, Make) and step.first else orphans
            except Conflict as conflict:
                LOG.info("trust domain %s: %s; reading again", domain.name, conflict)
            except AuthorityError as error:
                return Settled(known, stored, decision, Refusal(error.reason, error.message), held, orphans)

    async def _take(self, step: Step, domain: TrustDomain, stored: Stored, found: Found, now: float) -> None:
        match step:
            case Make():
                pair = found.pair or ca.make_root(domain.ca, domain.trust_domain, now)
                role: state.Role = "Current" if step.first else "Next"
                one = Authority(step.sequence, role, pair, domain.ca.type, step.progress or Progress(since=now))
                await self._store.create(domain.name, one, stored)
            case Remove():
                one = step.authority
                await self._store.remove(domain.name, one, stored)
            case _:
                one = step.authority
                await self._store.write(domain.name, one, stored)
        what = "deleted" if isinstance(step, Remove) else f"{one.role}, {one.progress.phase}"
        LOG.info("trust domain %s: CA %s is %s", domain.name, one.fingerprint[:16], what)

    async def _ask_anew(self, domain: TrustDomain, decision: Decision, known: State, found: Found) -> None:
        """cert-manager issues anew when the Secret that it wrote is gone: that is how it is asked for another CA."""
        wanted = any(one.reason == "NewCANeeded" for one in decision.findings)
        current = known.current.fingerprint if known.current is not None else ""
        if wanted and domain.ca.type == "CertManager" and found.raw is not None and found.origin.candidate == current:
            await self._store.delete_secret(found.raw)
