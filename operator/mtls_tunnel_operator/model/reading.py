"""A stored MtlsTunnel becomes a `Tunnel`; the door also to `domain_of`, `pod_of` and `space_of`.

The schema's defaults are filled in where a file lacks them.  Refused with `SpecError` is what would make the
operator do something nobody asked for: above all a name that, put into a SPIFFE ID or an object's name,
would mean somebody else's.  Everything that the CRD's rules refuse is refused here too (`checks`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mtls_tunnel.config import patterns
from mtls_tunnel_operator.model import resources as nouns
from mtls_tunnel_operator.model.checks import check
from mtls_tunnel_operator.model.fields import LABEL, OWN_NAME, OWN_NAME_WORDS, SUBDOMAIN, TRUST_DOMAIN, Field
from mtls_tunnel_operator.model.metadata import meta_of
from mtls_tunnel_operator.model.reading_domains import domain_of, issuer_of, private_key_of
from mtls_tunnel_operator.model.reading_pods import pod_of, space_of
from mtls_tunnel_operator.model.selectors import selector_of

__all__ = ["domain_of", "pod_of", "space_of", "tunnel_of"]

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
_SPIFFE = re.compile(r"spiffe://[!-~]+")
_ACCOUNT = "service account name"


def tunnel_of(raw: Mapping[str, Any]) -> nouns.Tunnel:
    """Read an MtlsTunnel as the API server, or a file, has it.

    Raises:
        SpecError: reason ``InvalidSpec``, or ``InvalidSelector``; the message names the place.
    """
    meta = meta_of(raw, OWN_NAME, OWN_NAME_WORDS)
    spec = Field(raw, "").below("spec")
    server = spec.below("server")
    tunnel = nouns.Tunnel(
        key=nouns.Key(meta.namespace or "default", meta.name),
        uid=meta.uid,
        generation=meta.generation,
        created=meta.created,
        ports=_ports(server),
        workload=_workload(server),
        external=_external(server),
        suspend=spec.flag("suspend"),
        plaintext=server.choice("plaintextPolicy", ("Permit", "Block")),
        clients=tuple(_client(field) for field in spec.each("clients")),
        authorization=_authorization(spec.below("authorization")),
        certificate=_certificate(spec.below("certificate")),
        rollout=_rollout(spec.below("rollout")),
        proxy=_proxy(spec.below("proxy")),
        observability=_observability(spec.below("observability")),
        status=raw.get("status") or {},
    )
    check(tunnel, spec)
    return tunnel


def _ports(server: Field) -> tuple[nouns.Port, ...]:
    ports = tuple(
        nouns.Port(
            name=field.text("name", None, LABEL, "port name"),
            tls_port=field.number("tlsPort", None, 1, 65535),
            target_port=field.number_if_given("targetPort", 1, 65535),
        )
        for field in server.each("ports")
    )
    if not ports:
        server.wrong("ports", "is empty: name at least one port")
    return ports


def _workload(server: Field) -> nouns.Workload | None:
    if server.choice("type", ("Workload", "External")) == "External":
        return None
    workload, service = server.below("workload"), server.below("workload").below("service")
    address = service.text("address", "", _HOST, "host name")
    policy: Literal["Managed", "None"] = service.choice("policy", ("Managed", "None"))
    if (policy == "None") != bool(address):
        service.wrong("address", "give it with policy None, and only then")
    if policy == "None" and service.has("name"):
        service.wrong("name", "has no meaning with policy None: remove it")
    return nouns.Workload(
        selector=selector_of(workload.raw.get("selector"), workload.at("selector")),
        accounts=workload.texts("serviceAccounts", SUBDOMAIN, _ACCOUNT),
        service=nouns.Service(policy, service.text("name", "", LABEL, "Service name"), address),
    )


def _external(server: Field) -> nouns.External | None:
    if server.choice("type", ("Workload", "External")) == "Workload":
        return None
    external = server.below("external")
    bundle = external.below("caBundleRef")
    return nouns.External(
        host=external.text("host", None, _HOST, "host name or address"),
        server_name=external.text("serverName", "", _HOST, "host name"),
        spiffe_id=_spiffe_id(external),
        ca_bundle=bundle.text("name", None, SUBDOMAIN, "ConfigMap name") if external.has("caBundleRef") else "",
    )


def _spiffe_id(external: Field) -> str:
    text = external.text("spiffeID", "", _SPIFFE, "SPIFFE ID")
    try:
        return patterns.exact_uri(text) if text else ""
    except ValueError as fault:
        external.wrong("spiffeID", f"{text[:80]!r} {fault}")


def _client(field: Field) -> nouns.Client:
    name = field.text("name", None, LABEL, "client name")
    if name == "server":
        field.wrong("name", "is the name of the other side in status: rename the client")
    listeners = tuple(
        nouns.Listener(item.text("port", None, LABEL, "port name"), item.number("localPort", None, 1024, 65535))
        for item in field.each("listeners")
    )
    if not listeners:
        field.wrong("listeners", "is empty: name at least one")
    return nouns.Client(
        name=name,
        selector=selector_of(field.raw.get("selector"), field.at("selector")),
        listeners=listeners,
        accounts=field.texts("serviceAccounts", SUBDOMAIN, _ACCOUNT),
        namespaces=_namespaces(field.below("namespaces")),
    )


def _namespaces(field: Field) -> nouns.Namespaces:
    source: Literal["Same", "Names", "Selector"] = field.choice("from", ("Same", "Names", "Selector"))
    names = field.texts("names", LABEL, "namespace name")
    if (source == "Names") != bool(names) or (source == "Selector") != field.has("selector"):
        field.wrong("from", "give names with from: Names, selector with from: Selector, and only then")
    chosen = selector_of(field.raw["selector"], field.at("selector")) if source == "Selector" else None
    return nouns.Namespaces(source, names, chosen)


def _authorization(field: Field) -> nouns.Authorization:
    rules = tuple(_rule(item) for item in field.each("allow"))
    return nouns.Authorization(field.choice("mode", ("Enforce", "Audit")), rules)


def _rule(field: Field) -> nouns.Rule:
    rule = nouns.Rule(
        name=field.text("name", None, LABEL, "rule name"),
        spiffe_ids=_checked(field, "spiffeIDs", patterns.uri),
        dns_names=_checked(field, "dnsNames", patterns.dns),
        common_names=_checked(field, "commonNames", patterns.name),
        organizations=_checked(field, "organizations", patterns.name),
        ports=field.texts("ports", LABEL, "port name"),
    )
    if sum(map(bool, (rule.spiffe_ids, rule.dns_names, rule.common_names, rule.organizations))) != 1:
        field.wrong("name", f"{rule.name} must name one kind of principal: write one rule for each kind")
    return rule


def _checked(field: Field, key: str, check: Callable[[str], str]) -> tuple[str, ...]:
    """What the sidecar's ACL would refuse is refused here, in its words."""
    for index, text in enumerate(field.texts(key, _PRINTABLE, "name")):
        try:
            check(text)
        except ValueError as fault:
            field.wrong(f"{key}[{index}]", f"{text[:80]!r} {fault}")
    return field.texts(key)


def _certificate(field: Field) -> nouns.Certificate:
    duration = field.number("durationSeconds", 86400, 300, 31536000)
    before = field.number_if_given("renewBeforeSeconds", 60)
    if before is not None and before > duration - 60:
        field.wrong("renewBeforeSeconds", "must be at least 60 less than durationSeconds: lower it")
    return nouns.Certificate(
        issuer=issuer_of(field.below("issuerRef"), given=field.has("issuerRef")),
        duration_seconds=duration,
        renew_before_seconds=before,
        subject=field.choice("subject", ("PerRole", "PerServiceAccount")),
        trust_domain=field.text("trustDomain", "", TRUST_DOMAIN, "SPIFFE trust domain"),
        private_key=private_key_of(field.below("privateKey")),
    )


def _rollout(field: Field) -> nouns.Rollout:
    return nouns.Rollout(
        strategy=field.choice("strategy", ("OnPodStart", "RestartWorkloads", "EvictPods")),
        max_concurrent_workloads=field.number("maxConcurrentWorkloads", 1, 1),
        progress_deadline_seconds=field.number("progressDeadlineSeconds", 600, 1),
    )


def _proxy(field: Field) -> nouns.Proxy:
    return nouns.Proxy(
        image=field.text("image", "", re.compile(r"[!-~]*"), "image reference"),
        image_pull_policy=field.choice("imagePullPolicy", ("", "Always", "IfNotPresent", "Never")),
        injection=field.choice("injection", ("Auto", "NativeSidecar", "Container")),
        resources=field.below("resources").raw if field.has("resources") else None,
        min_tls=field.choice("minTLSVersion", ("VersionTLS12", "VersionTLS13"), "VersionTLS13"),
        max_connections=field.number("maxConnections", 1000, 1),
        dial_timeout_seconds=field.number("dialTimeoutSeconds", 10, 1),
        handshake_timeout_seconds=field.number("handshakeTimeoutSeconds", 10, 1),
        idle_timeout_seconds=field.number("idleTimeoutSeconds", 0, 0),
        drain_timeout_seconds=field.number("drainTimeoutSeconds", 25, 0),
    )


def _observability(field: Field) -> nouns.Observability:
    return nouns.Observability(
        admin_port=field.number("adminPort", 15971, 1024, 65535),
        pod_monitor=field.choice("podMonitor", ("None", "Managed")),
        access_log=field.choice("accessLog", ("None", "Denied", "All"), "Denied"),
        log_level=field.choice("logLevel", ("Error", "Warning", "Info", "Debug"), "Info"),
    )
