"""The trust domains: each MtlsTrustDomain becomes a `Signer` that tunnels ask for late, and its CA is kept and rotated.

`reconcile` reads what is stored, asks `authority.rotation` for the next steps, takes them one by one, and only then
hands out another Signer: what tunnels are given is always what is stored already.  Taken steps cannot be lost, and
those that were cut off are found again at the next look, by this process or by another.

A resource that becomes unreadable, a Secret whose CA breaks and a bundle that is gone leave the last good state in
force for verification; nothing is signed with a CA that its owner has taken away.  CA Secrets are never deleted but
at the end of a rotation, also when the resource itself is: what they signed is still in use.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.rotation import Holders
from mtls_tunnel_operator.authority.signer import Refusal, Signer
from mtls_tunnel_operator.authority.state import State
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.events import Events
from mtls_tunnel_operator.control.clocks import check_clocks
from mtls_tunnel_operator.control.domains import sources
from mtls_tunnel_operator.control.domains import status as domain_status
from mtls_tunnel_operator.control.domains.holders import Sightings, is_held
from mtls_tunnel_operator.control.domains.sources import Bundles, Found
from mtls_tunnel_operator.control.domains.status import Look
from mtls_tunnel_operator.control.domains.steps import Settled, Steps
from mtls_tunnel_operator.control.domains.store import DomainStore
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.errors import AuthorityError, Conflict
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import TrustDomain
from mtls_tunnel_operator.settings import Defaults

LOG = logging.getLogger(__name__)

ROTATING_SECONDS = 15.0  # between looks during a rotation, less where the waits are short
FOREIGN_SECONDS = 60.0  # between looks at what somebody else writes and nobody watches
PROVED_AT_ONCE = 50  # signatures: after a start there are thousands to verify, and a Lease to be renewed meanwhile


class Meters(Protocol):
    """What is told about trust domains (`control.meters`)."""

    def rotation(self, domain: str, phase: str, since: float) -> None: ...
    def authority(self, domain: str, not_after: float) -> None: ...
    def forget_domain(self, domain: str) -> None: ...


class Domains:
    """One for the process; `changed` is called with the name of a domain whose Signer is another by now."""

    def __init__(
        self,
        api: Api,
        view: View,
        events: Events,
        *,
        defaults: Callable[[], Defaults],
        namespace: str,
        now: Callable[[], float],
        meters: Meters,
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api = api
        self._view = view
        self._events = events
        self._defaults = defaults
        self._namespace = namespace
        self._now = now
        self._meters = meters
        self._changed = changed
        self._store = DomainStore(api, namespace)
        self._steps = Steps(self._store, now=now, check_clocks=lambda: check_clocks(api))
        self._sightings = Sightings()
        self._signers: dict[str, Signer] = {}
        self._refusals: dict[str, Refusal] = {}
        self._federated: dict[str, Bundles] = {}

    # What tunnels ask.

    def signer(self, name: str) -> Signer:
        """The signer of that trust domain ("" is the one of the installation).

        Raises:
            AuthorityError: reason IssuerNotFound, or IssuerNotReady with what the domain waits for.
        """
        name = name or self._defaults().trust_domain_name
        if name in self._signers:
            return self._signers[name]
        if name in self._view.domains or name in self._view.broken_domains:
            refusal = self._refusals.get(name)
            why = f": {refusal.message}" if refusal else " yet: wait, or kubectl describe mtlstrustdomain"
            raise AuthorityError("IssuerNotReady", f"MtlsTrustDomain {name} cannot sign{why}")
        text = f"MtlsTrustDomain {name} does not exist: make it, or name another in certificate.issuerRef"
        raise AuthorityError("IssuerNotFound", text)

    # What is kept.

    async def ensure_default(self) -> None:
        """Make the installation's trust domain if there is none of its name; an existing one is never changed."""
        defaults = self._defaults()
        name = defaults.trust_domain_name
        if not defaults.trust_domain_create or name in self._view.domains or name in self._view.broken_domains:
            return
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": "MtlsTrustDomain",
            "metadata": {"name": name},
            "spec": {**defaults.trust_domain_spec, "trustDomain": defaults.trust_domain},
        }
        try:
            await self._api.create(manifest)
        except Conflict:
            LOG.debug("MtlsTrustDomain %s is there already", name)

    async def reconcile(self, name: str) -> float | None:
        """Look at one domain, take what steps are due, say how it stands; when to look again.

        Raises:
            ApiError: what is stored could not be read or written; everything stays as it was.
        """
        domain = self._view.domains.get(name)
        if domain is None:
            await self._unreadable(name)
            return None
        found = await sources.look(self._store, domain, self._namespace, self._now())
        federated, faults = await sources.bundles(self._store, domain.federated, self._federated.get(name, ()))
        self._federated[name] = federated
        settled = await self._steps.settle(
            domain,
            lambda known: self._holders(domain, known),
            found,
            lambda: self._leaves(name),
            domain_status.own_fingerprints(domain.status, federated),
        )
        refusal = _refusal(domain, settled, found, self._now())
        await self._withdraw(domain)
        if settled.state.current is not None:
            await self._store.publish(name, settled.state, settled.stored.bundle)
            self._hand_out(domain, settled.state, refusal, federated)
        if refusal is not None or settled.fault is not None:
            self._refusals[name] = refusal or settled.fault or Refusal("", "")
        else:
            self._refusals.pop(name, None)
        look = Look(
            state=settled.state,
            findings=settled.decision.findings,
            refusal=refusal,
            fault=settled.fault,
            bundle_faults=tuple(faults),
            federated=federated,
            unverified=_unverified(settled.state, settled.holders),
            wait_until=settled.decision.wait_until,
        )
        await self._say(domain, domain_status.status_of(domain, look, self._now()), settled.orphans)
        return self._again(domain, settled)

    # What comes of it.

    def _hand_out(self, domain: TrustDomain, known: State, refusal: Refusal | None, federated: Bundles) -> None:
        current = known.current
        assert current is not None
        progress = current.progress
        others = [one.fingerprint for one in known.authorities if one.role == "Retired"]
        signer = Signer(
            name=domain.name,
            trust_domain=domain.trust_domain,
            pair=current.pair,
            bundle=known.bundle,
            federated=federated,
            phase=progress.phase,
            phase_since=progress.since,
            issuing_seconds=domain.rotation.issuing_seconds,
            propagation_seconds=domain.rotation.propagation_seconds,
            max_leaf_seconds=domain.max_leaf_seconds,
            emergency=progress.emergency,
            retired=frozenset([*others, *domain.compromised]),
            refusal=refusal,
        )
        self._meters.rotation(domain.name, progress.phase, progress.since)
        self._meters.authority(domain.name, current.pair.not_after)
        before = self._signers.get(domain.name)
        self._signers[domain.name] = signer
        if before is None or _differ(before, signer):
            self._changed(domain.name)

    async def _withdraw(self, domain: TrustDomain) -> None:
        """A CA that is not wanted from cert-manager any more is not asked for any more."""
        ref = Ref("certificates", self._namespace, sources.request_name(domain.name))
        if domain.ca.type != "CertManager" and ref in self._view.objects:
            await self._api.delete(ref, uid=self._view.objects[ref]["metadata"].get("uid", ""))

    async def _say(self, domain: TrustDomain, status: dict[str, Any], orphans: tuple[str, ...]) -> None:
        if status == domain.status:
            return
        for notice in domain_status.notices(domain.status, status, orphans):
            regarding = Ref(names.DOMAINS, "", domain.name)
            self._events.post(regarding, notice.type, notice.reason, notice.message, uid=domain.uid)
        await self._apply_status(domain.name, status)

    async def _unreadable(self, name: str) -> None:
        """A resource that is gone has no signer any more; one that does not parse keeps its last."""
        broken = self._view.broken_domains.get(name)
        if broken is None:
            self._sightings.forget(name)
            self._federated.pop(name, None)
            self._refusals.pop(name, None)
            self._meters.forget_domain(name)
            if self._signers.pop(name, None) is not None:
                self._changed(name)
            return
        self._refusals[name] = Refusal(broken.error.reason, broken.error.message)
        status = domain_status.broken(
            broken.status, broken.error.reason, broken.error.message, broken.generation, self._now()
        )
        if status != broken.status:
            await self._apply_status(name, status)

    async def _apply_status(self, name: str, status: dict[str, Any]) -> None:
        manifest = {"apiVersion": names.API_VERSION, "kind": "MtlsTrustDomain", "metadata": {"name": name}}
        await self._api.apply_status({**manifest, "status": status})

    async def _holders(self, domain: TrustDomain, known: State) -> Holders:
        objects, spaces = self._view.objects, self._view.spaces
        unproved = self._sightings.unproved(domain.name, objects.items(), spaces, known)
        while unproved:
            some, unproved = unproved[:PROVED_AT_ONCE], unproved[PROVED_AT_ONCE:]
            self._sightings.prove(domain.name, some, known)
            await asyncio.sleep(0)
        owners = {tunnel.uid for tunnel in self._view.tunnels.values()}
        owners |= {broken.uid for broken in self._view.broken.values()}
        waits = domain.rotation.propagation_seconds
        return self._sightings.look(domain.name, objects.items(), spaces, owners, self._now(), waits, known)

    def _leaves(self, name: str) -> list[Mapping[str, Any]]:
        """A look at everything that is known: on demand only."""
        return [raw for ref, raw in self._view.objects.items() if is_held(ref, raw, name, self._view.spaces)]

    def _again(self, domain: TrustDomain, settled: Settled) -> float | None:
        now = self._now()
        times = [settled.decision.wait_until] if settled.decision.wait_until is not None else []
        if settled.state.progress.phase != "Stable" or settled.decision.steps:
            times.append(now + min(ROTATING_SECONDS, domain.rotation.propagation_seconds / 4))
        if domain.ca.type != "SelfSigned" or domain.federated or settled.state.current is None:
            times.append(now + FOREIGN_SECONDS)
        return max(min(times), now + 1.0) if times else None


def _refusal(domain: TrustDomain, settled: Settled, found: Found, now: float) -> Refusal | None:
    """Why nothing may be signed now."""
    current = settled.state.current
    if current is None:
        return settled.fault
    mark = current.fingerprint[:16]
    if current.distrusted:
        text = f"CA {mark} is named compromised and signs nothing: put another CA into its place."
        return Refusal("CACompromised", text)
    if not current.signs:
        return Refusal("CAKeyMissing", f"The key of CA {mark} is gone: signing begins again when a new CA is trusted.")
    if not ca.permits(current.pair.certificate, domain.trust_domain):
        text = f"CA {mark} was made for another trust domain than {domain.trust_domain}: it is being replaced."
        return Refusal("CANotPermitted", text)
    if current.pair.not_after < now:
        return Refusal(
            "CAExpired", f"CA {mark} has expired, and with it every certificate: put a new CA into its place."
        )
    # Whoever keeps the CA in a Secret and takes it away, or breaks it, has a say: our copy does not go on signing.
    return found.fault if domain.ca.type == "Secret" else None


def _unverified(known: State, holders: Holders) -> tuple[str, ...]:
    trusted = set(known.fingerprints)
    if not trusted:
        return ()
    return (*(one.name for one in holders.secrets if one.issuer not in trusted), *holders.strangers)


def _differ(before: Signer, after: Signer) -> bool:
    """Whether tunnels have to look again; keys do not compare, and belong to their certificate."""
    return _seen(before) != _seen(after)


def _seen(one: Signer) -> tuple[object, ...]:
    waits = (one.issuing_seconds, one.propagation_seconds, one.max_leaf_seconds)
    phase = (one.phase, one.phase_since, one.emergency, one.refusal, one.retired)
    return one.trust_domain, one.pair.fingerprint, one.bundle, one.federated, waits, phase, one.pair.key is None
