"""The Secrets of a tunnel: each holds a valid leaf with its key and the bundle, and is made so again when it is not.

A Secret is written once and whole, in one server-side apply, and never deleted first: the certificate before
serves until the next is there.  Before a key is made the API server itself is asked, not only the view: a
process that died between two writes, or an event that is late, must not lead to a second key in use.  An
attempt that fails leaves everything as it was and is repeated with growing pauses.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mtls_tunnel_operator import names as words
from mtls_tunnel_operator.authority import leaf, renewal
from mtls_tunnel_operator.authority.leaf import LeafFacts, Names
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.authority.state import entry
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.clocks import check_clocks
from mtls_tunnel_operator.control.telling.picture import Held, Problem, held_at
from mtls_tunnel_operator.control.tunnels.ownership import check_owner, refused
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.desired import objects
from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.desired.places import Place
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.errors import ApiError, AuthorityError, NotFound, SpecError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import epoch
from mtls_tunnel_operator.model.resources import Tunnel

LOG = logging.getLogger(__name__)

Raw = dict[str, Any]

# Where Secrets are not watched, each is read again at every resync (ten minutes; a tunnel's place in the row moves),
# and not at each look in between.
READ_AGAIN_SECONDS = 400.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a look at the Secrets of a tunnel found and did."""

    held: tuple[Held, ...] = ()
    issued: tuple[Place, ...] = ()
    renewed: tuple[Place, ...] = ()
    conflicts: tuple[Problem, ...] = ()
    errors: tuple[ApiError, ...] = ()

    @property
    def next(self) -> float | None:
        """When the next leaf is due, or the next attempt."""
        return min((one.renew_at for one in self.held if one.renew_at), default=None)


@dataclass(slots=True)
class _Attempt:
    """Failures in a row of one Secret with one signer: another signer is another matter."""

    signer: tuple[object, ...]
    failures: int
    again: float
    problem: Problem


@dataclass(frozen=True, slots=True)
class _Found:
    """A stored Secret, judged: `facts` None where its content cannot be used."""

    raw: Raw | None
    facts: LeafFacts | None = None
    due: float = 0.0
    why: str = "Missing"


class Leaves:
    """Keeps the Secrets of all tunnels; remembers failures, so one for the process."""

    def __init__(self, api: Api, view: View, *, now: Callable[[], float]) -> None:
        self._api = api
        self._view = view
        self._now = now
        self._attempts: dict[Ref, _Attempt] = {}
        # Parsing a leaf with its key takes a millisecond; pods come and go all the time.
        self._facts: dict[Ref, tuple[tuple[object, ...], LeafFacts | None]] = {}
        self._read_at: dict[Ref, float] = {}  # where Secrets are not watched

    async def keep(
        self,
        tunnel: Tunnel,
        places: Iterable[Place],
        signer: Signer,
        cluster_domain: str,
        *,
        terminating: frozenset[str] = frozenset(),
    ) -> Kept:
        """Make every Secret of *places* what it should be; a suspended tunnel gets no new ones."""
        held: list[Held] = []
        issued: list[Place] = []
        renewed: list[Place] = []
        conflicts: list[Problem] = []
        errors: list[ApiError] = []
        for place in places:
            try:
                one, made = await self._keep_one(tunnel, place, signer, cluster_domain, place.namespace in terminating)
            except SpecError as error:
                conflicts.append(Problem(error.reason, error.message))
                continue
            except ApiError as error:
                errors.append(error)
                held.append(self._stored(place, refused(place.secret, error)))
                continue
            if one is not None:
                held.append(one)
            if made:
                (issued if made == "Missing" else renewed).append(place)
        return Kept(tuple(held), tuple(issued), tuple(renewed), tuple(conflicts), tuple(errors))

    def stored(self, places: Iterable[Place]) -> tuple[Held, ...]:
        """What the Secrets hold, for a tunnel whose signer cannot be used: nothing is judged or written."""
        return tuple(self._stored(place, None) for place in places)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Drop what is remembered about Secrets that are gone."""
        for ref in refs:
            self._attempts.pop(ref, None)
            self._facts.pop(ref, None)
            self._read_at.pop(ref, None)

    def prune(self) -> None:
        """The same for all that the view does not have any more."""
        known = {*self._attempts, *self._facts, *self._read_at}
        self.forget([ref for ref in known if ref not in self._view.objects])

    async def _keep_one(
        self, tunnel: Tunnel, place: Place, signer: Signer, cluster_domain: str, leaving: bool
    ) -> tuple[Held | None, str]:
        """One Secret: how it stands, and why a new leaf was made ("" if none was)."""
        now = self._now()
        wanted = leaf_names(place.part, place.namespace, place.account, signer.trust_domain, cluster_domain)
        found = self._judge(tunnel, place, signer, wanted, await self._observed(place.secret), now)
        if (found.raw is None and tunnel.suspend) or leaving:
            # Nothing is written where nothing may be: what is due there must not be asked for each second.
            return (_held(place, replace(found, due=0.0)) if found.raw else None), ""
        attempt = self._attempts.get(place.secret)
        if attempt is not None and (attempt.signer != _sign_of(signer) or found.due > now):
            attempt = None
        made, entries = "", _entries(found.raw)
        if found.due <= now and (attempt is None or attempt.again <= now):
            # An event may be late: whether a new key is needed is asked of the API server itself.
            found = self._judge(tunnel, place, signer, wanted, await self.read(place.secret), now)
            made, entries = found.why, _entries(found.raw)
            if found.due <= now:
                try:
                    entries = self._issue(tunnel, place, signer, wanted, found, now)
                except AuthorityError as error:
                    made, attempt = "", self._failed(place, signer, error, now)
                else:
                    attempt = None
                    facts = leaf.read_pair(entries["tls.crt"], entries["tls.key"], signer)
                    found = self._judged(tunnel, place, signer, wanted, found.raw, facts, now)
            else:
                made, attempt = "", None
        if attempt is None:
            self._attempts.pop(place.secret, None)
        if found.facts is not None:
            await self._write(place, signer, found, entries, now)
        return _held(place, found, attempt), made

    async def _write(
        self, place: Place, signer: Signer, found: _Found, entries: Mapping[str, bytes], now: float
    ) -> None:
        """Apply the whole Secret unless it is there already as wanted."""
        assert found.facts is not None
        due = found.due
        if due <= now and found.raw is not None:  # a failed renewal is no reason to write
            due = epoch((found.raw["metadata"].get("annotations") or {}).get(words.RENEWAL_ANNOTATION))
        manifest = objects.secret(
            place,
            cert_pem=entries["tls.crt"],
            key_pem=entries["tls.key"],
            signer=signer,
            issuer_fingerprint=found.facts.issuer_fingerprint,
            renew_at=due,
        )
        if found.raw is not None:
            if same(manifest, found.raw):
                return
            # Whoever has written meanwhile is looked at first: 409, and the next look decides anew.
            manifest["metadata"]["resourceVersion"] = found.raw["metadata"]["resourceVersion"]
        await self._api.apply(manifest)

    def _issue(
        self, tunnel: Tunnel, place: Place, signer: Signer, wanted: Names, found: _Found, now: float
    ) -> dict[str, bytes]:
        check_clocks(self._api)
        asked = tunnel.certificate
        kept = _entries(found.raw).get("tls.key") if asked.private_key.rotation_policy == "Never" else None
        fresh = leaf.issue(
            signer, wanted, asked.duration_seconds, asked.private_key, place.part.role, now, key_pem=kept or None
        )
        LOG.info("%s: %s gets a leaf (%s), serial %s", tunnel.key, place.secret, found.why, fresh.serial)
        return {"tls.crt": fresh.cert_pem, "tls.key": fresh.key_pem}

    def _failed(self, place: Place, signer: Signer, error: AuthorityError, now: float) -> _Attempt:
        last = self._attempts.get(place.secret)
        failures = last.failures + 1 if last and last.signer == _sign_of(signer) else 1
        problem = Problem(error.reason, error.message)
        attempt = _Attempt(_sign_of(signer), failures, now + renewal.backoff(failures), problem)
        self._attempts[place.secret] = attempt
        return attempt

    async def _observed(self, ref: Ref) -> Raw | None:
        found = self._view.objects.get(ref)
        if self._view.watched("secrets"):
            return found
        # Nobody tells of what is deleted or edited by hand.
        age = self._now() - self._read_at.get(ref, -math.inf)
        return found if found is not None and 0 <= age < READ_AGAIN_SECONDS else await self.read(ref)

    async def read(self, ref: Ref) -> Raw | None:
        """A Secret as the API server has it now; the view knows it then."""
        found: Raw | None = None
        try:
            found = await self._api.get(ref)
            self._view.observe(found)
        except NotFound:
            self._view.forget(ref)
        if not self._view.watched("secrets"):
            self._read_at[ref] = self._now()
        return found

    def _judge(
        self, tunnel: Tunnel, place: Place, signer: Signer, wanted: Names, raw: Raw | None, now: float
    ) -> _Found:
        if raw is None:
            return _Found(None)
        check_owner(raw, tunnel, place.secret)
        stamp = (raw["metadata"].get("uid"), raw["metadata"].get("resourceVersion"), signer.fingerprints)
        known = self._facts.get(place.secret)
        if known is not None and known[0] == stamp:
            return self._judged(tunnel, place, signer, wanted, raw, known[1], now)
        entries = _entries(raw)
        facts: LeafFacts | None = None
        try:
            facts = leaf.read_pair(entries.get("tls.crt", b""), entries.get("tls.key", b""), signer)
        except AuthorityError as error:
            LOG.warning("%s: %s: a new leaf is made", place.secret, error)
        self._facts[place.secret] = (stamp, facts)
        return self._judged(tunnel, place, signer, wanted, raw, facts, now)

    def _judged(
        self,
        tunnel: Tunnel,
        place: Place,
        signer: Signer,
        wanted: Names,
        raw: Raw | None,
        facts: LeafFacts | None,
        now: float,
    ) -> _Found:
        if facts is None:
            return _Found(raw, None, 0.0, "Unusable")
        seed = f"{tunnel.uid}/{place.part.role}/{place.part.client_name}/{place.namespace}/{place.account}"
        due, why = renewal.renew_at(facts, tunnel.certificate, signer, seed, now, names=wanted, usage=place.part.role)
        return _Found(raw, facts, due, why)

    def _stored(self, place: Place, problem: Problem | None) -> Held:
        raw = self._view.objects.get(place.secret)
        facts: LeafFacts | None = None
        if raw is not None:
            try:
                facts = leaf.read(_entries(raw).get("tls.crt", b""))
            except AuthorityError:
                facts = None
        held = _held(place, _Found(raw, facts))
        return held if problem is None else replace(held, problem=problem)


def _sign_of(signer: Signer) -> tuple[object, ...]:
    return signer.pair.fingerprint, signer.refusal, signer.max_leaf_seconds


def _entries(raw: Mapping[str, Any] | None) -> dict[str, bytes]:
    known = raw or {}
    return {key: entry(known, key) for key in known.get("data") or {}}


def _held(place: Place, found: _Found, attempt: _Attempt | None = None) -> Held:
    if attempt is None:
        return held_at(place, found.facts, renew_at=found.due)
    return held_at(place, found.facts, renew_at=attempt.again, problem=attempt.problem, failures=attempt.failures)
