"""One look at a tunnel: what is found out step by step, and what is then to be told.  No I/O, no clock."""

from dataclasses import dataclass, field
from typing import Literal

from mtls_tunnel_operator.authority import renewal
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.control.pods.census import Census
from mtls_tunnel_operator.control.pods.turns import Moving
from mtls_tunnel_operator.control.remedies import several
from mtls_tunnel_operator.control.telling.picture import Picture, PolicyStanding, Problem, Rotating
from mtls_tunnel_operator.control.tunnels.leaves import Kept
from mtls_tunnel_operator.control.tunnels.surroundings import foreign_policies, is_enabled, is_excluded, owned
from mtls_tunnel_operator.control.tunnels.writing import Outcome
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.desired import network
from mtls_tunnel_operator.desired.places import Place
from mtls_tunnel_operator.desired.plan import Plan
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.errors import AuthorityError, SpecError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.model.revision import image_of, tunnel_revision
from mtls_tunnel_operator.settings import Defaults

PROBLEM_SECONDS = 60.0  # what is not watched (a CA Secret, a ConfigMap of the user's) is looked at again
UNWATCHED_SECONDS = 300.0


@dataclass(slots=True)
class Look:
    """`problems` are the reader's to put right, `times` when something is due, `notes` what one might not expect."""

    tunnel: Tunnel
    now: float
    accepted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    signer: Signer | None = None
    server_ca: str = ""
    kept: Kept = field(default_factory=Kept)
    census: Census = field(default_factory=Census)
    plan: Plan = field(default_factory=Plan)
    outcome: Outcome = field(default_factory=Outcome)
    moving: Moving = field(default_factory=Moving)
    times: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def trouble(self, error: SpecError | AuthorityError) -> None:
        """Note what somebody must put right."""
        self.problems.append(Problem(error.reason, error.message))

    @property
    def next(self) -> float | None:
        """When to look again; None if only a change may matter."""
        times = [*self.times, self.kept.next or 0.0, self.plan.wake_at or 0.0]
        times += [held.not_after + 1 for held in self.kept.held if held.not_after > self.now]
        if self.problems:
            times.append(self.now + PROBLEM_SECONDS)
        if self.tunnel.certificate.issuer.kind == "Secret" or self.server_ca:
            times.append(self.now + UNWATCHED_SECONDS)
        return min((max(time, self.now + 1.0) for time in times if time > 0), default=None)

    def picture(self, view: View, defaults: Defaults, domain: str) -> Picture:
        """What was found, for status and events."""
        tunnel, signer, home = self.tunnel, self.signer, self.tunnel.key.namespace
        is_home = any(place.namespace == home for place in self.places)
        rotating = Rotating() if signer is None else Rotating(signer.phase, signer.fingerprints, domain)
        return Picture(
            tunnel=tunnel,
            census=self.census,
            problems=tuple(self.problems),
            held=self.kept.held,
            refused=self.refused,
            enabled=not is_home or is_enabled(home, view),
            excluded=is_home and is_excluded(home, defaults),
            rotating=rotating,
            moving=self.moving,
            revision=tunnel_revision(tunnel, defaults),
            policy=self._policy(view),
            foreign_policies=foreign_policies(tunnel, view),
            too_late=_too_late(tunnel, signer),
            write_problem=self.outcome.refusal,
            refused_image=_refused_image(tunnel, self.places, defaults),
            notes=(*self.notes, *_shortened(tunnel, signer), *_waiting(self.plan)),
        )

    def _policy(self, view: View) -> PolicyStanding:
        """How the NetworkPolicy of plaintextPolicy Block stands in the cluster, whatever this look came to."""
        home, name = self.tunnel.key.namespace, network.object_name(self.tunnel)
        there = owned(view, self.tunnel.uid).get(Ref("networkpolicies", home, name))
        if there is None:
            return "Missing"
        if not network.closes(there, [port.target_port for port in self.tunnel.ports if port.target_port]):
            return "Open"
        wanted = (one for one in self.plan.desired if one["kind"] == "NetworkPolicy")
        return "Current" if any(same(one, there) for one in wanted) else "Older"


def _refused_image(
    tunnel: Tunnel, places: tuple[Place, ...], defaults: Defaults
) -> Literal["", "everywhere", "abroad"]:
    if not tunnel.proxy.image or not places:
        return ""
    if image_of(places[0].part, defaults) != tunnel.proxy.image:
        return "everywhere"
    return "abroad" if any(place.namespace != tunnel.key.namespace for place in places) else ""


def _shortened(tunnel: Tunnel, signer: Signer | None) -> tuple[str, ...]:
    if signer is None or tunnel.certificate.duration_seconds <= signer.max_leaf_seconds:
        return ()
    return (f"Certificates last {signer.max_leaf_seconds} s, the most that the issuer allows.",)


def _waiting(todo: Plan) -> tuple[str, ...]:
    clients = dict.fromkeys(place.part.client_name for place in todo.waiting)
    if not clients:
        return ()
    return (
        f"Not configured yet: client {several(clients)}. The servers get time to open the port first; new pods wait "
        "for it, and nobody has to do anything.",
    )


def _too_late(tunnel: Tunnel, signer: Signer | None) -> str:
    if signer is None or not renewal.too_late(tunnel.certificate, signer):
        return ""
    needed = signer.propagation_seconds
    return (
        f"A renewed certificate may reach a pod only after the old one has ended: pods take up to {needed} s to see a "
        f"changed Secret. Set spec.certificate.renewBeforeSeconds to {needed} or more and durationSeconds well above."
    )
