"""Where the CA of a trust domain comes from, and whom else it trusts: Secrets, cert-manager, ConfigMaps.

What lies there is judged and never trusted blindly; what cannot be used becomes a `Fault` with the remedy, and the
last good one stays.  All of it lies in the operator's namespace, and is not watched: it is read at each look.

A CA of somebody else is copied, key included, into a Secret of ours beside it when it becomes the next one: while a
rotation distributes its successor the old one has to go on signing, although its owner has replaced it already.
"""

from dataclasses import dataclass
from typing import Any

from cryptography import x509

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, state
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.rotation import Origin
from mtls_tunnel_operator.authority.signer import Refusal
from mtls_tunnel_operator.control.domains.store import DomainStore
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.errors import AuthorityError, NotFound
from mtls_tunnel_operator.model.resources import Federated, TrustDomain

Raw = dict[str, Any]
Bundles = tuple[tuple[str, tuple[x509.Certificate, ...]], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A CA that somebody else keeps: `pair` if it can be used, `fault` if not.  `raw` is its Secret."""

    origin: Origin
    pair: Pair | None = None
    fault: Refusal | None = None
    raw: Raw | None = None


async def look(store: DomainStore, domain: TrustDomain, namespace: str, now: float) -> Found:
    """What could become the next CA of *domain*."""
    match domain.ca.type:
        case "SelfSigned":
            return Found(Origin(self_signed=True))
        case "Secret":
            return await _in_secret(store, domain, domain.ca.secret, now)
        case "CertManager":
            waiting = await _requested(store, domain, namespace)
            found = await _in_secret(store, domain, source_name(domain.name), now)
            return found if found.raw is not None else Found(Origin(self_signed=False), fault=waiting)


async def _in_secret(store: DomainStore, domain: TrustDomain, name: str, now: float) -> Found:
    raw = await store.get("secrets", name)
    if raw is None:
        text = f"Secret {name} does not exist in the operator's namespace: make it, with tls.crt and tls.key of a CA."
        return Found(Origin(self_signed=False), fault=Refusal("CASecretNotFound", text))
    try:
        pair = ca.load(
            state.entry(raw, "tls.crt"),
            state.entry(raw, "tls.key"),
            now=now,
            trust_domain=domain.trust_domain,
            source=f"Secret {name}",
        )
    except AuthorityError as error:
        return Found(Origin(self_signed=False), fault=Refusal(error.reason, error.message), raw=raw)
    return Found(Origin(self_signed=False, candidate=pair.fingerprint), pair, raw=raw)


async def _requested(store: DomainStore, domain: TrustDomain, namespace: str) -> Refusal:
    """Ask cert-manager for the CA; what its Certificate says while there is no Secret yet."""
    wanted = certificate(domain, namespace)
    name = wanted["metadata"]["name"]
    try:
        observed = await store.get("certificates", name)
        if not same(wanted, observed):
            await store.apply(wanted)
    except NotFound:
        return Refusal("CertManagerNotFound", "The cluster has no cert-manager: install it, or change spec.ca.type.")
    said = _said(observed)
    text = f"Waiting for cert-manager to issue Certificate {name} in the operator's namespace{said}."
    return Refusal("CertificatePending", text)


def certificate(domain: TrustDomain, namespace: str) -> Raw:
    """The request for a CA.

    cert-manager writes no name constraints unless a feature gate is on, so none are asked for: what such a CA may
    sign is for the issuer above it to limit.
    """
    issuer, key = domain.ca.issuer, domain.ca.private_key
    assert issuer is not None
    wanted: Raw = {"algorithm": key.algorithm, "rotationPolicy": "Always"}
    if key.algorithm != "Ed25519":
        wanted["size"] = key.size_bits or (ca.RSA_BITS if key.algorithm == "RSA" else 256)
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {
            "name": request_name(domain.name),
            "namespace": namespace,
            "labels": {**labels, names.CA_LABEL: state.label_value(domain.name)},
        },
        "spec": {
            "secretName": source_name(domain.name),
            # So that a rotation that is asked for may delete it: the admission policy lets us touch only ours.
            "secretTemplate": {"labels": labels},
            "isCA": True,
            "commonName": f"{domain.trust_domain[:40]} {domain.name[:20]} CA"[:64],
            "duration": _go(domain.ca.duration_seconds),
            "renewBefore": _go(domain.ca.renew_before_seconds),
            "privateKey": wanted,
            "usages": ["cert sign", "crl sign", "digital signature"],
            "issuerRef": {"group": issuer.group, "kind": issuer.kind, "name": issuer.name},
        },
    }


def request_name(domain: str) -> str:
    """The Certificate."""
    return names.cut(f"{domain}-ca")


def source_name(domain: str) -> str:
    """The Secret that cert-manager writes."""
    return names.cut(f"{domain}-ca-source")


async def bundles(store: DomainStore, wanted: tuple[Federated, ...], last: Bundles) -> tuple[Bundles, list[Refusal]]:
    """The bundles of other trust domains; one that cannot be read keeps its last good state."""
    good, faults, before = [], [], dict(last)
    for one in wanted:
        try:
            certificates = await _bundle(store, one)
        except AuthorityError as error:
            faults.append(Refusal(error.reason, error.message))
            certificates = before.get(one.trust_domain, ())
        if certificates:
            good.append((one.trust_domain, certificates))
    return tuple(good), faults


async def _bundle(store: DomainStore, one: Federated) -> tuple[x509.Certificate, ...]:
    raw = await store.get("configmaps", one.config_map)
    place = f"ConfigMap {one.config_map} (trust domain {one.trust_domain})"
    if raw is None:
        text = f"{place} does not exist in the operator's namespace: make it, with the CAs of that domain in ca.crt."
        raise AuthorityError("BundleNotFound", text)
    return ca.bundle_of((raw.get("data") or {}).get("ca.crt", "").encode(), place)


def _go(seconds: int) -> str:
    """A duration as Go writes it: in another form cert-manager might write it anew, and we again."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h{minutes}m{left}s" if hours else f"{minutes}m{left}s" if minutes else f"{left}s"


def _said(observed: Raw | None) -> str:
    conditions = ((observed or {}).get("status") or {}).get("conditions") or []
    ready = next((one for one in conditions if one.get("type") == "Ready"), None)
    return f", which says: {ready.get('message', '')}" if ready else ""
