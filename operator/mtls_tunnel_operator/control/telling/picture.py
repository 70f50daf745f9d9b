"""What one look at a tunnel found: the values from which its conditions, counts and events are made.  PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mtls_tunnel_operator.authority.leaf import LeafFacts
from mtls_tunnel_operator.control.pods.census import Census
from mtls_tunnel_operator.control.pods.turns import Moving
from mtls_tunnel_operator.desired.places import Place
from mtls_tunnel_operator.model.resources import Tunnel

# The NetworkPolicy of plaintextPolicy Block as the cluster has it.  Open: it does not close every plaintext port;
# Older: it does, but is not what this look wanted (or none was planned).
PolicyStanding = Literal["Missing", "Open", "Older", "Current"]


class Problem(NamedTuple):
    """Something that somebody must put right: `reason` is the condition's, `message` says how."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Held:
    """A managed Secret, or the place of one that is not written yet (`not_after` 0)."""

    role: str  # "server", or the name of the client
    account: str
    namespace: str
    secret: str
    serial: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    renew_at: float = 0.0
    problem: Problem | None = None  # why the last attempt to write it failed
    failures: int = 0


def held_at(
    place: Place, facts: LeafFacts | None, *, renew_at: float, problem: Problem | None = None, failures: int = 0
) -> Held:
    """What is held at *place*; *facts* are those of the leaf there, None if there is none that can be read."""
    return Held(
        role=place.part.client_name or "server",
        account=place.account,
        namespace=place.namespace,
        secret=place.name,
        serial=facts.serial if facts else "",
        not_before=facts.not_before if facts else 0.0,
        not_after=facts.not_after if facts else 0.0,
        renew_at=renew_at,
        problem=problem,
        failures=failures,
    )


@dataclass(frozen=True, slots=True)
class Rotating:
    """The signer's rotation, as the tunnel sees it."""

    phase: Literal["Stable", "Distributing", "Issuing", "Retiring"] = "Stable"
    fingerprints: tuple[str, ...] = ()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One look.  `refused` names, for each client, the namespaces that did not consent."""

    tunnel: Tunnel
    census: Census
    problems: tuple[Problem, ...] = ()
    held: tuple[Held, ...] = ()
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enabled: bool = True  # the tunnel's namespace has opted in, or none of its pods run there
    excluded: bool = False  # its namespace is never injected: the operator's, or one of the system's
    rotating: Rotating = Rotating()
    moving: Moving = field(default_factory=Moving)
    revision: str = ""
    policy: PolicyStanding = "Missing"
    foreign_policies: tuple[str, ...] = ()  # of others, that may select the same pods
    too_late: str = ""  # a sentence, where renewal comes too late for a changed CA to reach the pods
    refused_image: Literal["", "everywhere", "abroad"] = ""  # where the image that it asks for is not used
    notes: tuple[str, ...] = ()  # what is carried out otherwise than one might think
    write_problem: Problem | None = None  # the API server refused an object that is not a Secret
