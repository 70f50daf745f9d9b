"""A stored MtlsTrustDomain becomes a `TrustDomain`, its defaults filled in."""

from collections.abc import Mapping
from typing import Any, Literal

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model import resources as nouns
from mtls_tunnel_operator.model.fields import OWN_NAME, OWN_NAME_WORDS, SUBDOMAIN, TRUST_DOMAIN, Field
from mtls_tunnel_operator.model.metadata import listed, meta_of
from mtls_tunnel_operator.model.selectors import Selector, selector_of

_KINDS = {
    "": ("Secret",),
    "mtlstunnel.dev": ("MtlsTrustDomain",),
    "cert-manager.io": ("Issuer", "ClusterIssuer"),
}


def domain_of(raw: Mapping[str, Any]) -> nouns.TrustDomain:
    """Read an MtlsTrustDomain as the API server, or a file, has it.

    Raises:
        SpecError: reason ``InvalidSpec``, or ``InvalidSelector``; the message names the place.
    """
    meta = meta_of(raw, OWN_NAME, OWN_NAME_WORDS)
    spec = Field(raw).below("spec")
    rotation = spec.below("rotation")
    domain = nouns.TrustDomain(
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation,
        created=meta.created,
        trust_domain=spec.text("trustDomain", None, TRUST_DOMAIN, "SPIFFE trust domain"),
        ca=_ca(spec.below("ca")),
        rotation=nouns.Rotation(
            propagation_seconds=rotation.number("propagationSeconds", 180, 0),
            issuing_seconds=rotation.number("issuingSeconds", 3600, 0),
        ),
        federated=tuple(_federated(field) for field in spec.each("federatedBundles")),
        allowed_namespaces=_allowed(spec.below("allowedNamespaces")),
        max_leaf_seconds=spec.number("maxLeafDurationSeconds", 2592000, 300),
        rotate_request=meta.annotations.get(names.ROTATE_ANNOTATION, ""),
        compromised=tuple(
            entry.replace(":", "").lower() for entry in listed(meta.annotations.get(names.COMPROMISED_ANNOTATION, ""))
        ),
        status=raw.get("status") or {},
    )
    _check(domain, spec)
    return domain


def _check(domain: nouns.TrustDomain, spec: Field) -> None:
    """What the CRD's rules say of several fields."""
    ca, rotation = domain.ca, domain.rotation
    if ca.renew_before_seconds >= ca.duration_seconds:
        spec.wrong("ca.renewBeforeSeconds", "must be below durationSeconds: lower it")
    least = domain.max_leaf_seconds + rotation.issuing_seconds + 5 * rotation.propagation_seconds
    if ca.type != "Secret" and ca.renew_before_seconds < least:
        spec.wrong(
            "ca.renewBeforeSeconds",
            f"must be at least {least} (maxLeafDurationSeconds + rotation.issuingSeconds + 5 x "
            "rotation.propagationSeconds), or a rotation could not end in time: raise it, or lower the first",
        )
    if domain.trust_domain in {one.trust_domain for one in domain.federated}:
        spec.wrong("federatedBundles", "names this trust domain itself: remove that entry")


def issuer_of(field: Field, *, given: bool) -> nouns.IssuerRef:
    """Read an issuerRef; one that is not *given* means the trust domain that the operator made."""
    if not given:
        return nouns.IssuerRef()
    group = field.choice("group", tuple(_KINDS), names.GROUP)
    kind: nouns.IssuerKind = field.choice("kind", ("MtlsTrustDomain", "Secret", "Issuer", "ClusterIssuer"))
    if kind not in _KINDS[group]:
        field.wrong("kind", f"{kind} is not of group {group!r}: use {' or '.join(_KINDS[group])}")
    return nouns.IssuerRef(group, kind, field.text("name", None, SUBDOMAIN, "object name"))


def private_key_of(field: Field) -> nouns.PrivateKey:
    """Read a privateKey; a size that the algorithm does not have is refused."""
    algorithm: Literal["ECDSA", "RSA", "Ed25519"] = field.choice("algorithm", ("ECDSA", "RSA", "Ed25519"))
    bits = field.number_if_given("sizeBits", 1)
    fitting = {"ECDSA": (256, 384), "RSA": (2048, 3072, 4096), "Ed25519": ()}[algorithm]
    if bits is not None and bits not in fitting:
        remedy = f"use {' or '.join(map(str, fitting))}" if fitting else "remove it"
        field.wrong("sizeBits", f"{bits} does not fit {algorithm}: {remedy}")
    return nouns.PrivateKey(algorithm, bits, field.choice("rotationPolicy", ("Always", "Never")))


def _ca(field: Field) -> nouns.CaSpec:
    kind: Literal["SelfSigned", "Secret", "CertManager"] = field.choice("type", ("SelfSigned", "Secret", "CertManager"))
    for key, owner in (("secretRef", "Secret"), ("issuerRef", "CertManager")):
        if field.has(key) != (kind == owner):
            field.wrong(key, f"give it with type {owner}, and only then")
    secret = field.below("secretRef").text("name", None, SUBDOMAIN, "Secret name") if kind == "Secret" else ""
    return nouns.CaSpec(
        type=kind,
        secret=secret,
        issuer=_ca_issuer(field.below("issuerRef")) if kind == "CertManager" else None,
        duration_seconds=field.number("durationSeconds", 31536000, 600),
        renew_before_seconds=field.number("renewBeforeSeconds", 7776000, 60),
        private_key=private_key_of(field.below("privateKey")),
    )


def _ca_issuer(field: Field) -> nouns.IssuerRef:
    group = field.choice("group", ("cert-manager.io",))
    return nouns.IssuerRef(
        group, field.choice("kind", ("ClusterIssuer", "Issuer")), field.text("name", None, SUBDOMAIN, "object name")
    )


def _federated(field: Field) -> nouns.Federated:
    return nouns.Federated(
        trust_domain=field.text("trustDomain", None, TRUST_DOMAIN, "SPIFFE trust domain"),
        config_map=field.below("configMapRef").text("name", None, SUBDOMAIN, "ConfigMap name"),
    )


def _allowed(field: Field) -> Selector | None:
    if field.choice("from", ("All", "Selector")) == "All":
        if field.has("selector"):
            field.wrong("selector", "give it with from: Selector, and only then")
        return None
    return selector_of(field.raw.get("selector"), field.at("selector"))
