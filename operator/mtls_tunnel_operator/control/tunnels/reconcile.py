"""One tunnel, made as its resource asks: read, decide, apply, and always a status.

    view -> signer -> Secrets -> pods -> plan -> ConfigMaps, Service, policies -> rollout -> status, events

Each step is a room of its own; here is their order, and what happens when one fails.  What was there before
stays whenever something cannot be carried out.  Whatever happens, the status says so; an error is then raised
again, so that the queue repeats the work with growing pauses.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.pods.census import census
from mtls_tunnel_operator.control.pods.expectations import Expectations
from mtls_tunnel_operator.control.pods.rollout import Rollouts
from mtls_tunnel_operator.control.telling import status
from mtls_tunnel_operator.control.telling.reporting import Numbers, Posts, Reporting
from mtls_tunnel_operator.control.tunnels import requests
from mtls_tunnel_operator.control.tunnels.copies import Copies
from mtls_tunnel_operator.control.tunnels.leaves import Kept, Leaves
from mtls_tunnel_operator.control.tunnels.look import Look
from mtls_tunnel_operator.control.tunnels.served import Served
from mtls_tunnel_operator.control.tunnels.signers import DomainSigners, Signers, external_ca
from mtls_tunnel_operator.control.tunnels.surroundings import terminating, world_of
from mtls_tunnel_operator.control.tunnels.writing import carry_out
from mtls_tunnel_operator.control.view import Broken, View
from mtls_tunnel_operator.desired.places import Place, places_of
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.world import Peers, peers_of
from mtls_tunnel_operator.errors import ApiError, AuthorityError, NotLeader, SpecError
from mtls_tunnel_operator.model.parts import client_spaces
from mtls_tunnel_operator.model.resources import Key, Tunnel
from mtls_tunnel_operator.settings import Defaults

LOG = logging.getLogger(__name__)

PROPAGATION_SECONDS = 180  # where no trust domain says how long a changed Secret may take


class Reconciler:
    """Brings tunnels about; one for the process, because rollouts and failed renewals are remembered here."""

    def __init__(
        self,
        api: Api,
        view: View,
        domains: DomainSigners,
        *,
        events: Posts,
        meters: Numbers,
        defaults: Callable[[], Defaults],
        now: Callable[[], float],
    ) -> None:
        self._api = api
        self._view = view
        self._defaults = defaults
        self._now = now
        self._signers = Signers(api, view, domains, defaults=defaults, now=now)
        self._leaves = Leaves(api, view, now=now)
        self._expectations = Expectations(view, defaults)
        self._rollouts = Rollouts(api, now=now)
        self._reporting = Reporting(api, events, meters, now=now)
        self.copies = Copies(api, view)
        self._served = Served(api, now=now)
        self._uids: dict[Key, str] = {}

    async def tunnel(self, key: Key) -> float | None:
        """Bring one tunnel about; when to look again (epoch seconds), None if only a change may matter.

        Raises:
            ApiError: after the status has been written, if that was possible.
            NotLeader: at once.
        """
        if (broken := self._view.broken.get(key)) is not None:
            await self._tell_broken(key, broken)
            return None
        tunnel = self._view.tunnels.get(key)
        if tunnel is None:
            await self._clean_up(key)
            return None
        try:
            if self._uids.get(key) != tunnel.uid:  # one of this name may have been deleted while nobody looked
                await self.copies.sweep(key)
                self._uids[key] = tunnel.uid
            again, error = await self._tunnel(tunnel)
        except NotLeader:
            raise
        except Exception as fault:
            await self._tell_failure(tunnel, fault)
            raise
        if error is not None:  # the status tells already
            raise error
        return again

    async def sweep(self) -> int:
        """Delete what tunnels that are gone have left in other namespaces: at the start and at each resync."""
        self._leaves.prune()
        return await self.copies.sweep()

    async def _tunnel(self, tunnel: Tunnel) -> tuple[float | None, ApiError | None]:
        """A whole look: when to look again, and the first error of a write."""
        look = Look(tunnel, self._now())
        self._expectations.refresh()
        self._find_places(look)
        await self._find_signer(look)
        await self._keep_secrets(look)
        look.census = census(tunnel, look.accepted, self._view.tunnel_pods, self._expectations.of)
        await self._keep_objects(look)
        if not look.problems and not look.kept.errors:  # new pods need their Secrets
            limit = self._defaults().max_concurrent_rollouts
            look.moving, again = await self._rollouts.advance(tunnel, look.census, limit)
            look.times += [again] if again else []
        await self._reporting.tell(look.picture(self._view, self._defaults(), self._signers.domain_name(tunnel)))
        return look.next, next(iter(look.kept.errors), look.outcome.error)

    def _find_places(self, look: Look) -> None:
        """The namespaces of each client, and with them the places of all Secrets."""
        for client in look.tunnel.clients:
            accepted, refused = client_spaces(look.tunnel, client, self._view.spaces)
            permitted = tuple(name for name in accepted if self._signers.permits(look.tunnel, name))
            look.accepted[client.name] = permitted
            look.refused[client.name] = (*refused, *(name for name in accepted if name not in permitted))
        look.places = places_of(look.tunnel, look.accepted)

    async def _find_signer(self, look: Look) -> None:
        try:
            if not requests.is_requested(look.tunnel):
                look.signer = await self._signers.of(look.tunnel)
            elif not await self._served.has("certificates"):
                raise SpecError("IssuerNotFound", requests.NOT_INSTALLED)
            look.server_ca = await external_ca(self._api, look.tunnel)
        except (SpecError, AuthorityError) as error:
            look.trouble(error)

    async def _keep_secrets(self, look: Look) -> None:
        tunnel = look.tunnel
        if requests.is_requested(tunnel):
            if not self._view.watched("secrets"):
                for place in look.places:
                    await self._leaves.read(place.secret)
            look.kept = Kept(requests.held(look.places, self._view.objects))
        elif look.signer is None:
            look.kept = Kept(self._leaves.stored(look.places))
        else:
            look.kept = await self._leaves.keep(
                tunnel, look.places, look.signer, self._defaults().cluster_domain, terminating=terminating(self._view)
            )
        self._reporting.tell_leaves(tunnel.key, tunnel.uid, "Issued", map(_role, look.kept.issued))
        self._reporting.tell_leaves(tunnel.key, tunnel.uid, "Renewed", map(_role, look.kept.renewed))

    async def _keep_objects(self, look: Look) -> None:
        """Everything but Secrets; left as it is while nobody can sign, for then nobody knows who is who."""
        tunnel = look.tunnel
        if look.problems:
            return
        world = world_of(
            tunnel,
            self._view,
            self._peers(look),
            self._defaults(),
            propagation_seconds=look.signer.propagation_seconds if look.signer else PROPAGATION_SECONDS,
            pod_monitors=await self._serves_monitors(look),
        )
        try:
            look.plan = plan(tunnel, world, look.now)
        except SpecError as error:
            look.trouble(error)
            return
        look.outcome = await carry_out(self._api, self._view, self.copies, tunnel, look.plan)
        # Only now: a name that is taken in one namespace must not keep a narrowed ACL from the others.
        look.problems += (*look.kept.conflicts, *look.outcome.conflicts)
        self._leaves.forget(ref for ref in look.plan.delete if ref.plural == "secrets")

    def _peers(self, look: Look) -> Peers:
        defaults = self._defaults()
        if look.signer is not None:
            made = peers_of(look.tunnel, look.signer, self._view.spaces, defaults, server_ca=look.server_ca)
            return _with_spaces(made, look.accepted)
        trust_domain = look.tunnel.certificate.trust_domain or defaults.trust_domain
        return Peers(trust_domain, defaults.cluster_domain, dict(look.accepted), server_ca=look.server_ca)

    async def _serves_monitors(self, look: Look) -> bool:
        """Whether a PodMonitor can be made; asked only if somebody wants one."""
        if look.tunnel.observability.pod_monitor != "Managed" or look.tunnel.suspend:
            return False
        found = await self._served.has("podmonitors")
        if not found:
            look.notes.append(
                "No PodMonitor is made: the cluster does not know that kind. Install the Prometheus operator, or set "
                "spec.observability.podMonitor to None."
            )
        return found

    async def _tell_broken(self, key: Key, broken: Broken) -> None:
        said = f"{broken.error.message} What was made before stays as it is."
        made = status.broken(broken.status, broken.error.reason, said, broken.generation, self._now())
        await self._reporting.store(key, broken.uid, broken.status, made)

    async def _tell_failure(self, tunnel: Tunnel, error: Exception) -> None:
        """The status of a look that broke off; if even that cannot be written, the log has both."""
        if isinstance(error, ApiError):
            reason, said = "ApiUnavailable", f"The API server did not do its part ({error}); it is tried again."
        else:
            reason = "InternalError"
            said = f"The operator failed ({type(error).__name__}: {error}); its log says more, it is tried again."
        now = self._now()
        made = status.failed(tunnel.status, reason, said, tunnel.generation, now)
        try:
            await self._reporting.store(tunnel.key, tunnel.uid, tunnel.status, made)
        except (ApiError, NotLeader) as second:
            LOG.warning("%s: its status could not be written either: %s", tunnel.key, second)

    async def _clean_up(self, key: Key) -> None:
        self._uids.pop(key, None)
        self._reporting.forget(key)
        self._rollouts.forget(str(key))
        await self.copies.sweep(key)


def _role(place: Place) -> str:
    role = place.part.client_name or "server"
    return f"{role} ({place.account})" if place.account else role


def _with_spaces(peers: Peers, accepted: Mapping[str, tuple[str, ...]]) -> Peers:
    """Namespaces to which the trust domain gives no identity are nobody's clients."""
    return replace(peers, spaces=dict(accepted))
