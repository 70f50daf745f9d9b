"""How cert-manager is getting on with a tunnel's Certificates: what its Secrets hold, and what it says of the rest.

The Certificates themselves are part of the plan; renewal is cert-manager's.  A Secret without ca.crt (an
issuer that hands out no CA, such as ACME) is of no use to a tunnel, whose peers must know whom to trust.  PURE.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mtls_tunnel_operator.authority import leaf
from mtls_tunnel_operator.authority.leaf import LeafFacts
from mtls_tunnel_operator.authority.state import entry
from mtls_tunnel_operator.control.telling.picture import Held, Problem, held_at
from mtls_tunnel_operator.desired.places import Place
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import epoch
from mtls_tunnel_operator.model.resources import Tunnel

Raw = Mapping[str, Any]

GROUP = "cert-manager.io"
NOT_INSTALLED = (
    "The cluster has no cert-manager (kind Certificate of cert-manager.io): install cert-manager, or name an "
    "MtlsTrustDomain in spec.certificate.issuerRef."
)


def is_requested(tunnel: Tunnel) -> bool:
    """Whether cert-manager issues for *tunnel*."""
    return tunnel.certificate.issuer.group == GROUP


def held(places: Iterable[Place], objects: Mapping[Ref, Raw]) -> tuple[Held, ...]:
    """What there is for each place."""
    return tuple(_held(place, objects) for place in places)


def _held(place: Place, objects: Mapping[Ref, Raw]) -> Held:
    secret = objects.get(place.secret)
    certificate = objects.get(Ref("certificates", place.namespace, place.name))
    status = (certificate or {}).get("status") or {}
    facts, problem = _judge(place, secret)
    if facts is None and problem is None:
        problem = _complaint(place, status)
    return held_at(place, facts, renew_at=epoch(status.get("renewalTime")), problem=problem)


def _judge(place: Place, secret: Raw | None) -> tuple[LeafFacts | None, Problem | None]:
    if secret is None:
        return None, None
    where = f"{place.namespace}/{place.name}"
    cert_pem, bundle = entry(secret, "tls.crt"), entry(secret, "ca.crt")
    if not cert_pem:
        return None, None  # cert-manager writes the key first
    try:
        facts = leaf.read(cert_pem)
    except AuthorityError as error:
        return None, Problem(error.reason, f"Secret {where}: {error.message}; cert-manager makes it anew if deleted.")
    if not bundle.strip():
        return facts, Problem(
            "NoBundle",
            f"Secret {where} has no ca.crt: issuer {place.part.tunnel.certificate.issuer.name} hands out no CA. Use "
            "one that does (CA, Vault, ...), or an MtlsTrustDomain.",
        )
    return facts, None


def _complaint(place: Place, status: Raw) -> Problem | None:
    """What cert-manager has said about a Certificate that is not ready."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            message = str(condition.get("message") or "no reason given").rstrip(". ")
            return Problem(
                "IssuerNotReady",
                f"cert-manager has not issued {place.namespace}/{place.name}: {message}. "
                f"`kubectl -n {place.namespace} describe certificate {place.name}` says more.",
            )
    return None
