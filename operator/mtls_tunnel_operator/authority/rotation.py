"""What to do next for the CAs of a trust domain: state, wishes, what the managed Secrets hold, and the time.

    Stable ── Next is made ──> Distributing ── everyone trusts Next ──> Issuing ── no leaf of the old CA ──> Retiring
      ^                                                                                                        │
      └───────────────────────────── the old CA leaves the bundles and is deleted ─────────────────────────────┘

`decide` returns the steps that may be taken now.  They may be taken in any order, in part, or twice: whoever takes
them reads the state again and asks again until there are none.  What changes a phase is one step on one object.

Rules that hold for every path, crashes included:
* a CA signs only after every managed Secret has held its certificate for propagationSeconds;
* a CA leaves the bundles only after no managed Secret has held a leaf of it for twice that time;
* both waits begin anew with each write of what they wait for, and with each Secret that has vanished, up to PATIENCE;
* only Secrets with a leaf that somebody may still accept are waited for, so no wait is longer than a leaf lives;
* only a CA named compromised, or one that has expired anyway, is exempt: it leaves at once.

A Current CA whose key is gone goes on being trusted, signs nothing, and a rotation to a new CA begins.
PURE: nothing is written here and no key is made.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mtls_tunnel.trust import pki
from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Phase
from mtls_tunnel_operator.authority.state import Authority, Progress, State, is_compromised
from mtls_tunnel_operator.model.resources import TrustDomain

AHEAD_SECONDS = 5.0  # a phase that began later than this from now was written by a clock that was wrong
PATIENCE = 10  # times propagationSeconds: for a Secret that had what a phase waits for and was disturbed since
JUST_NOW_SECONDS = 30.0  # an emergency that began within that needs not begin anew: the steps of one look
RECHECK_SECONDS = 300.0  # what somebody else has to do is looked at this often; changes wake up earlier


@dataclass(frozen=True, slots=True)
class Holder:
    """A managed Secret: whose leaf and which bundle it holds, and since when at the latest.

    `bundle_since` and `issuer_since` are 0.0 for a Secret that was new when this content was written: no pod
    can have read anything older from it.
    """

    name: str  # namespace/name
    issuer: str  # fingerprint
    bundle: str  # fingerprint of the whole bundle
    bundle_since: float = 0.0
    issuer_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Holders:
    """The managed Secrets with a valid leaf of a CA of the domain, except in namespaces that are being deleted.

    `strangers` hold a leaf of a CA that the domain does not know (any more).  `vanished` are Secrets that were there
    and whose tunnel still is: pods hold files of them that nobody sees, until they are made anew.  `since` is when
    anybody began to look: what was written before is not known.
    """

    secrets: tuple[Holder, ...] = ()
    vanished: tuple[str, ...] = ()
    since: float = 0.0
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a new CA could come from: we make it, or `candidate` lies in somebody's Secret ("": not usable now)."""

    self_signed: bool = True
    candidate: str = ""


# Steps.


@dataclass(frozen=True, slots=True)
class Make:
    """Make the next CA (with role Current if it is the first) and store it under `sequence`; there already: reuse."""

    sequence: int
    first: bool
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Store the CA with this role and progress."""

    authority: Authority


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the CA's Secret, key and all."""

    authority: Authority


Step = Make | Write | Remove


class Finding(NamedTuple):
    """Something to tell; `reason` is one of those below."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`steps` now; with none, `wait_until` is when to ask again if nothing changes (None: never by itself)."""

    steps: tuple[Step, ...]
    phase: Phase
    wait_until: float | None = None
    findings: tuple[Finding, ...] = ()


def decide(state: State, domain: TrustDomain, holders: Holders, now: float, origin: Origin | None = None) -> Decision:
    """The next steps.  Reasons of findings: CAKeyMissing, CACompromised, CAExpired, CAExpiring, RotationWaiting,
    NewCANeeded."""
    return _Deciding(state, domain, holders, now, origin or Origin(domain.ca.type == "SelfSigned")).decide()


def due(current: Authority, domain: TrustDomain) -> float:
    """When a CA of ours is to be replaced."""
    return _due(current, domain.ca.renew_before_seconds)


def _due(current: Authority, margin: float) -> float:
    # A margin that is longer than the CA's life would rotate without end: a tenth of its life it stays.
    start = current.pair.certificate.not_valid_before_utc.timestamp() + pki.SKEW_SECONDS
    end = current.pair.not_after
    return max(end - margin, start + (end - start) / 10)


@dataclass(frozen=True, slots=True)
class _Deciding:
    state: State
    domain: TrustDomain
    holders: Holders
    now: float
    origin: Origin

    def decide(self) -> Decision:
        current = self.state.current
        if current is None:
            return self._first()
        if steps := self._leftovers(current):
            return self._now(*steps)
        if current.distrusted or current.pair.not_after < self.now:
            return self._replace_at_once(current)
        if current.progress.phase == "Stable":
            return self._stable(current)
        if current.progress.phase == "Distributing":
            return self._distributing(current)
        if not current.signs:  # the key was lost after it had begun to sign: a rotation within the rotation
            return self._begin(current, self._key_missing(current))
        return self._issuing(current) if current.progress.phase == "Issuing" else self._retiring(current)

    # What comes before the phases.

    def _first(self) -> Decision:
        if not self._can_make(""):
            return self._wait(self.now + RECHECK_SECONDS)
        sequence = self.state.last_sequence + 1
        progress = Progress("Stable", self.now, self.domain.rotate_request)
        return self._now(Make(sequence, first=True, progress=progress))

    def _leftovers(self, current: Authority) -> tuple[Step, ...]:
        """What an earlier step left behind, or somebody deleted; these may be taken in any order."""
        if self._cuts_off(current):
            # Before it is removed: afterwards nothing would say any more that its connections are to be cut.
            return (Write(replace(current, progress=replace(current.progress, since=self.now, emergency=True))),)
        steps: list[Step] = []
        for one in self.state.authorities:
            if one is not current and self._is_over(one, current):
                steps += [] if one.stored_role is None else [Remove(one)]
            elif one is current and one.progress.since > self.now + AHEAD_SECONDS:
                steps.append(Write(replace(one, progress=replace(one.progress, since=self.now))))
            elif one.stored_role is None or (one is not current and one.stored_role != one.role):
                steps.append(Write(one))
        return tuple(steps)

    def _cuts_off(self, current: Authority) -> bool:
        """Whether a CA whose leaves may be in use, beside the current one, is named compromised: an emergency."""
        progress = current.progress
        begun = progress.emergency and progress.since >= self.now - JUST_NOW_SECONDS
        named = any(one.distrusted for one in self.state.retired)
        return named and progress.phase != "Stable" and not begun

    def _is_over(self, one: Authority, current: Authority) -> bool:
        """Whether nobody needs that CA any more: it is distrusted, has left the bundles, or lost its key unused."""
        left = one.role == "Retired" and current.progress.phase == "Stable"
        return one.distrusted or left or (one.role == "Next" and not one.signs)

    def _replace_at_once(self, current: Authority) -> Decision:
        """A compromised CA leaves all bundles now; an expired one verifies nothing any more."""
        following = self.state.next
        if following is not None:
            progress = Progress("Issuing", self.now, self._request(), emergency=True)
            return self._now(Write(replace(following, role="Current", progress=progress)))
        reason, what = ("CACompromised", "is named compromised") if current.distrusted else ("CAExpired", "has expired")
        finding = Finding(reason, f"CA {current.fingerprint[:16]} {what}, signs nothing and is being replaced.")
        return self._make_next(current, finding)

    # The phases.

    def _stable(self, current: Authority) -> Decision:
        if self.state.next is not None:
            return self._begin(current)
        if not current.signs:
            return self._begin(current, self._key_missing(current))
        if self.origin.self_signed:
            at = due(current, self.domain)
            unfit = current.source != "SelfSigned" or not ca.permits(current.pair.certificate, self.domain.trust_domain)
            wanted = at <= self.now or self._requested() or unfit
            return self._begin(current) if wanted else self._wait(at)
        if self._can_make(current.fingerprint):
            return self._begin(current)
        return self._external(current)

    def _external(self, current: Authority) -> Decision:
        """A CA that somebody else makes: we can only say that a new one is needed."""
        findings = []
        if self._requested():
            text = "A rotation was asked for: it begins when another CA lies in the Secret of the CA."
            findings.append(Finding("NewCANeeded", text))
        margin = self.domain.ca.renew_before_seconds
        # cert-manager renews at that time by itself: it has half of what is left then before it is talked about.
        at = _due(current, margin / 2 if self.domain.ca.type == "CertManager" else margin)
        if at <= self.now:
            text = f"CA {current.fingerprint[:16]} ends soon: put a new CA into its Secret."
            findings.append(Finding("CAExpiring", text))
        return self._wait(self.now + RECHECK_SECONDS if findings else at, *findings)

    def _begin(self, current: Authority, *findings: Finding) -> Decision:
        """Next exists before the phase changes; until then nothing has happened."""
        if self.state.next is None:
            return self._make_next(current, *findings)
        progress = Progress("Distributing", self.now, self._request())
        return self._now(Write(replace(current, progress=progress)), findings=findings)

    def _distributing(self, current: Authority) -> Decision:
        findings = () if current.signs else (self._key_missing(current),)
        following = self.state.next
        if following is None:
            return self._make_next(current, *findings)
        target = ca.bundle_fingerprint(self.state.bundle)
        over = self._outlived(max(current.progress.since, following.progress.since))
        missing = [one.name for one in self.holders.secrets if one.bundle != target]
        if (blockers := [*missing, *self.holders.vanished]) and not over:
            return self._blocked("without the new bundle", blockers, *findings)
        written = max([one.bundle_since for one in self.holders.secrets], default=0.0)
        # As long as an emergency lasts at least: what cuts connections has to reach the pods as well.
        waits = 2 if current.progress.emergency else 1
        at = self._after(current, written, waits * self.domain.rotation.propagation_seconds)
        if self.now < at and not over:
            return self._wait(at, *findings)
        progress = Progress("Issuing", self.now, current.progress.request)
        return self._now(Write(replace(following, role="Current", progress=progress)))

    def _issuing(self, current: Authority) -> Decision:
        if blockers := self._old_leaves(current):
            return self._blocked("with a leaf of the old CA", blockers)
        return self._now(Write(replace(current, progress=replace(current.progress, phase="Retiring", since=self.now))))

    def _retiring(self, current: Authority) -> Decision:
        if blockers := self._old_leaves(current):
            return self._blocked("once more with a leaf of the old CA", blockers)
        written = max([one.issuer_since for one in self.holders.secrets], default=0.0)
        at = self._after(current, written, 2 * self.domain.rotation.propagation_seconds)
        if self.now < at and (current.progress.emergency or self._verifiable(current)):
            return self._wait(at)
        progress = Progress("Stable", self.now, current.progress.request)
        return self._now(Write(replace(current, progress=progress)))

    # Parts of the phases.

    def _old_leaves(self, current: Authority) -> list[str]:
        until = current.progress.since + 2 * self.domain.rotation.propagation_seconds
        emergency = current.progress.emergency
        waiting = self.now < until if emergency else self._verifiable(current) and not self._outlived()
        if not waiting:
            return []
        held = [one.name for one in self.holders.secrets if one.issuer != current.fingerprint]
        # What was signed by a CA that has been removed is known by nothing else.
        removed = self.holders.strangers if emergency else ()
        return [*held, *removed, *self.holders.vanished]

    def _outlived(self, since: float | None = None) -> bool:
        """Whether every leaf that was there when the phase began has ended: what is waited for by now is a copy."""
        begun = self.state.progress.since if since is None else since
        waits = PATIENCE * self.domain.rotation.propagation_seconds
        return self.now >= begun + self.domain.max_leaf_seconds + pki.SKEW_SECONDS + waits

    def _verifiable(self, current: Authority) -> tuple[Authority, ...]:
        """Old CAs whose leaves may still be good for something: none of them is waited for once all expired."""
        others = [one for one in self.state.authorities if one is not current]
        return tuple(one for one in others if one.pair.not_after >= self.now)

    def _after(self, current: Authority, written: float, seconds: float) -> float:
        """*seconds* after the phase began, after the last write, and after anybody began to look."""
        return max(current.progress.since, written, self.holders.since) + seconds

    def _make_next(self, current: Authority, *findings: Finding) -> Decision:
        if not self._can_make(current.fingerprint):
            text = f"CA {current.fingerprint[:16]} has to be replaced: put another CA into its Secret."
            return self._wait(self.now + RECHECK_SECONDS, *findings, Finding("NewCANeeded", text))
        return self._now(Make(self._free_sequence(), first=False), findings=findings)

    def _free_sequence(self) -> int:
        """The next number whose Secret holds no CA that is still needed."""
        last = self.state.last_sequence
        taken = {names.ca_secret_name("", one.sequence) for one in self.state.authorities}
        candidates = range(last + 1, last + 1 + names.CA_NAMES)
        return next((number for number in candidates if names.ca_secret_name("", number) not in taken), last + 1)

    def _can_make(self, current: str) -> bool:
        candidate = self.origin.candidate
        return self.origin.self_signed or (
            candidate not in ("", current) and not is_compromised(candidate, self.domain.compromised)
        )

    def _requested(self) -> bool:
        return self.domain.rotate_request not in ("", self.state.progress.request)

    def _request(self) -> str:
        """What this rotation answers: a removed annotation is no request, and none is forgotten."""
        return self.domain.rotate_request or self.state.progress.request

    def _key_missing(self, current: Authority) -> Finding:
        text = (
            f"The key of CA {current.fingerprint[:16]} is gone: nothing is signed until a new CA has been distributed."
        )
        return Finding("CAKeyMissing", text)

    # Answers.

    def _now(self, *steps: Step, findings: Iterable[Finding] = ()) -> Decision:
        return Decision(steps, self.state.progress.phase, None, tuple(findings))

    def _wait(self, until: float, *findings: Finding) -> Decision:
        return Decision((), self.state.progress.phase, until, findings)

    def _blocked(self, why: str, blockers: list[str], *findings: Finding) -> Decision:
        shown = ", ".join(sorted(blockers)[:3]) + (", ..." if len(blockers) > 3 else "")
        noun = "Secret" if len(blockers) == 1 else "Secrets"
        text = f"{len(blockers)} {noun} {why}: {shown}. If it lasts, see the conditions of their MtlsTunnels."
        return self._wait(self.now + RECHECK_SECONDS, *findings, Finding("RotationWaiting", text))
