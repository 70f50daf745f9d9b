"""What the managed Secrets of a trust domain hold, and since when: the facts on which a rotation waits.

A Secret counts only while it holds a leaf that a CA of the domain really signed and that has not expired: nobody
accepts the others, so no connection hangs on them, and whatever was written by whomever is over with that leaf.

When a Secret was written is not asked of the Secret: this process notes when it first saw a content there, which is
never before that, and starts from its own beginning after a restart.  So a wait may last longer than it must, and
never shorter.  A Secret that is made while we look, under a name not seen before, counts as held since ever: no pod
can have read anything older from it, and new tunnels cannot hold up a rotation for ever.  Nor can one that is
written or deleted again and again: PATIENCE after it first held what the phase waits for, that begins no wait anew.
No I/O.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.rotation import PATIENCE, Holder, Holders
from mtls_tunnel_operator.authority.state import State
from mtls_tunnel_operator.control.domains.proofs import Authorities, Proof, Proofs
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.pods import Space

Raw = Mapping[str, Any]


class _Goal(NamedTuple):
    """What every Secret is to hold before the phase may end: the whole bundle, or a leaf of the CA that signs."""

    what: Literal["bundle", "issuer"]
    mark: str  # its fingerprint


@dataclass(frozen=True, slots=True)
class _Seen:
    uid: str
    owner: str  # UID of the tunnel
    proof: Proof
    bundle: str
    bundle_since: float
    issuer_since: float
    gone: float = 0.0  # when it was missed first; 0.0 while it is there
    goal: _Goal | None = None
    reached: float | None = None  # since when it held that, the first time


class Sightings:
    """One for the process.  It begins to look when it is first asked: a standby has seen nothing before."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._seen: dict[str, dict[Ref, _Seen]] = {}  # by domain
        self._proofs = Proofs()

    def look(
        self,
        domain: str,
        objects: Iterable[tuple[Ref, Raw]],
        spaces: Mapping[str, Space],
        owners: Collection[str],
        now: float,
        propagation_seconds: float,
        known: State,
    ) -> Holders:
        """What is held now of the CAs in *known*; *owners* are the UIDs of the tunnels that exist.

        Secrets of namespaces that are being deleted do not count.  One that is gone while its tunnel is not counts
        as vanished until it is back, for twice *propagation_seconds* at most: the tunnel may not want it any more.
        """
        leaves = {ref: raw for ref, raw in objects if is_held(ref, raw, domain, spaces)}
        # Where the clock was set back, what it said before is later than now.
        started = self._started = now if self._started is None else min(self._started, now)
        before = self._seen.get(domain, {})
        settled = now > started + propagation_seconds
        authorities, goal = authorities_of(known), _goal(known)
        current: dict[Ref, _Seen] = {}
        for ref, raw in leaves.items():
            proof = self._proofs.of(domain, ref, raw, authorities)
            seen = _sight(raw, proof, before.get(ref), now, settled)
            current[ref] = _towards(goal, seen, before.get(ref), now)
        for ref, seen in before.items():
            if ref in leaves or seen.owner not in owners or _leaving(spaces.get(ref.namespace)):
                continue
            gone = min(seen.gone or now, now)
            if now < gone + 2 * propagation_seconds:
                current[ref] = _towards(goal, replace(seen, gone=gone), seen, now)
        self._seen[domain] = current
        self._proofs.retain(domain, leaves)
        return _holders(current, authorities, now, PATIENCE * propagation_seconds, started)

    def unproved(
        self, domain: str, objects: Iterable[tuple[Ref, Raw]], spaces: Mapping[str, Space], known: State
    ) -> list[tuple[Ref, Raw]]:
        """The Secrets for which `look` would have to verify a signature, a third of a millisecond each."""
        authorities = authorities_of(known)
        return [
            (ref, raw)
            for ref, raw in objects
            if is_held(ref, raw, domain, spaces) and not self._proofs.has(domain, ref, raw, authorities)
        ]

    def prove(self, domain: str, some: Iterable[tuple[Ref, Raw]], known: State) -> None:
        """Do that work now, so that `look` need not."""
        authorities = authorities_of(known)
        for ref, raw in some:
            self._proofs.of(domain, ref, raw, authorities)

    def forget(self, domain: str) -> None:
        """The domain is gone."""
        self._seen.pop(domain, None)
        self._proofs.forget(domain)


def is_held(ref: Ref, raw: Raw, domain: str, spaces: Mapping[str, Space]) -> bool:
    """Whether an object says that it is a leaf's Secret of *domain*, and is not in a namespace that is being deleted.

    Anybody who may write Secrets there may say so.
    """
    return ref.plural == "secrets" and domain_of(raw) == domain and not _leaving(spaces.get(ref.namespace))


def domain_of(raw: Raw) -> str:
    """The trust domain whose leaf a managed Secret holds, "" if it holds none; a CA's own Secret holds none."""
    metadata = raw.get("metadata") or {}
    if names.CA_LABEL in (metadata.get("labels") or {}):
        return ""
    return str((metadata.get("annotations") or {}).get(names.DOMAIN_ANNOTATION, ""))


def authorities_of(known: State) -> Authorities:
    """All CAs that may have signed, by fingerprint: whatever their role, keys or not."""
    return {one.fingerprint: one.pair.certificate for one in known.authorities}


def _goal(known: State) -> _Goal:
    if known.progress.phase == "Distributing":
        return _Goal("bundle", ca.bundle_fingerprint(known.bundle))
    return _Goal("issuer", known.current.fingerprint if known.current is not None else "")


def _sight(raw: Raw, proof: Proof, before: _Seen | None, now: float, settled: bool) -> _Seen:
    metadata = raw["metadata"]
    uid = metadata.get("uid", "")
    bundle = (metadata.get("annotations") or {}).get(names.BUNDLE_ANNOTATION, "")
    since = 0.0 if before is None and settled else now
    same = before if before is not None and before.uid == uid and not before.gone else None
    as_before = same is not None and same.proof.issuer == proof.issuer
    return _Seen(
        uid=uid,
        owner=_owner(metadata),
        proof=proof,
        bundle=bundle,
        bundle_since=min(same.bundle_since, now) if same is not None and same.bundle == bundle else since,
        issuer_since=min(same.issuer_since, now) if same is not None and as_before else since,
    )


def _towards(goal: _Goal, seen: _Seen, before: _Seen | None, now: float) -> _Seen:
    if before is not None and before.goal == goal and before.reached is not None:
        return replace(seen, goal=goal, reached=min(before.reached, now))
    held = {"bundle": seen.bundle, "issuer": seen.proof.issuer}[goal.what]
    since = {"bundle": seen.bundle_since, "issuer": seen.issuer_since}[goal.what]
    return replace(seen, goal=goal, reached=since if held == goal.mark and not seen.gone else None)


def _holders(
    current: Mapping[Ref, _Seen], authorities: Authorities, now: float, patience: float, started: float
) -> Holders:
    held: list[Holder] = []
    vanished: list[str] = []
    strangers: list[str] = []
    for ref, seen in current.items():
        if not seen.proof.lives(now):
            continue
        over = seen.reached is not None and now >= seen.reached + patience
        if seen.proof.issuer not in authorities:
            strangers += [] if seen.gone else [_name(ref)]
        elif not seen.gone:
            held.append(_held(_name(ref), seen, patience if over else None))
        elif not over:
            vanished.append(_name(ref))
    return Holders(tuple(held), tuple(vanished), started, tuple(strangers))


def _held(name: str, seen: _Seen, patience: float | None) -> Holder:
    """With *patience* at its end, what was written again later holds up nothing; a leaf is always what it is."""
    one = Holder(name, seen.proof.issuer, seen.bundle, seen.bundle_since, seen.issuer_since)
    if patience is None or seen.reached is None or seen.goal is None:
        return one
    latest = seen.reached + patience
    if seen.goal.what == "bundle":
        return replace(one, bundle=seen.goal.mark, bundle_since=min(one.bundle_since, latest))
    return replace(one, issuer_since=min(one.issuer_since, latest))


def _owner(metadata: Raw) -> str:
    labelled = (metadata.get("labels") or {}).get(names.OWNER_LABEL, "")
    references = metadata.get("ownerReferences") or []
    return labelled or next((str(one.get("uid", "")) for one in references), "")


def _leaving(space: Space | None) -> bool:
    return space is not None and space.terminating


def _name(ref: Ref) -> str:
    return f"{ref.namespace}/{ref.name}"
