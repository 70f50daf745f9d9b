"""Manifests of what a tunnel owns: Secrets, ConfigMaps, Services and cert-manager Certificates, as dicts.

Each carries our labels and, in the tunnel's own namespace, an ownerReference; a copy in another namespace has
the owner's UID in a label only, because Kubernetes deletes what has an owner in another namespace.  There is
never a finalizer.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mtls_tunnel_operator import names as fixed
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.desired import config, same, stamps
from mtls_tunnel_operator.desired.names import identity, leaf_names
from mtls_tunnel_operator.desired.places import Place
from mtls_tunnel_operator.desired.staging import Dial, Served
from mtls_tunnel_operator.desired.world import Manifest, Peers, Raw
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.moments import rfc3339
from mtls_tunnel_operator.model.resources import PrivateKey, Tunnel

__all__ = ["certificate_request", "config_map", "identity", "is_ours", "metadata", "secret", "service"]

SHORTEST_CERT_MANAGER_SECONDS = 3600  # its webhook refuses shorter ones (MinimumCertificateDuration)
SHORTEST_CERT_MANAGER_RENEWAL = 300  # and this (MinimumRenewBefore)
MOST_ADMIN_PORTS = 8
MOST_BYTES = 1_000_000  # what a ConfigMap holds (1 MiB), and a sidecar reads, with room for the rest of the object
_RSA_BITS = 3072
_PROCESS_FILE = re.compile(r"process-([0-9]{4,5})\.yaml")


def secret(
    place: Place, *, cert_pem: bytes, key_pem: bytes, signer: Signer, issuer_fingerprint: str, renew_at: float
) -> Manifest:
    """The Secret of *place*: its leaf and key, and the bundle that *signer* has now.

    *issuer_fingerprint* is that of the CA that signed the leaf, which a rotation tells apart from the bundle's first.
    """
    annotations = {
        fixed.DOMAIN_ANNOTATION: signer.name,
        fixed.ISSUER_ANNOTATION: issuer_fingerprint,
        fixed.BUNDLE_ANNOTATION: signer.bundle_fingerprint,
        fixed.RENEWAL_ANNOTATION: rfc3339(renew_at),
    }
    files = {"tls.crt": cert_pem, "tls.key": key_pem, "ca.crt": signer.bundle_pem}
    return same.sealed(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _placed(place, annotations),
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
        }
    )


def config_map(
    place: Place,
    peers: Peers,
    *,
    served: tuple[Served, ...] = (),
    dials: tuple[Dial, ...] = (),
    leaving: Mapping[str, float] | None = None,
    before: Raw | None = None,
) -> Manifest:
    """The ConfigMap of *place*; *before* is the one that is there.

    The process-wide file is there once for each admin port that running pods may have been made with: a
    sidecar whose probes ask one port must not begin to listen on another.

    Raises:
        SpecError: what cannot be rendered, or does not fit.
    """
    part = place.part
    ports = {part.tunnel.observability.admin_port, *_older_admin_ports(before)}
    data = {
        "tunnel.yaml": config.tunnel_yaml(part, peers, served=served, dials=dials),
        **{fixed.process_file(port): config.process_yaml(part, port) for port in sorted(ports)},
        **config.bundle_files(part, peers),
    }
    size = sum(len(key) + len(text.encode()) for key, text in data.items())
    if size > MOST_BYTES:
        text = f"the resource makes {size} bytes of configuration for a pod, at most {MOST_BYTES} fit: "
        remedy = (
            "name fewer principals in spec.authorization.allow (a last segment may be *), or fewer CAs in its bundles"
        )
        raise SpecError("InvalidSpec", text + remedy)
    state = {fixed.SERVED_ANNOTATION: stamps.served_text(served, leaving or {})} if part.client is None else {}
    if part.client is not None:
        state = {fixed.DIALED_ANNOTATION: stamps.dialed_text(dials)}
    return same.sealed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": _placed(place, state), "data": data})


def service(tunnel: Tunnel, served: Iterable[Served]) -> Manifest:
    """The Service that clients dial: pods with a sidecar only, each TLS port under its own number."""
    named = {port.tls_port: port.name for port in tunnel.ports}
    return same.sealed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(tunnel, tunnel.service_name, "server"),
            "spec": {
                "type": "ClusterIP",
                "selector": {fixed.server_label(tunnel.key.name): "true"},
                "ports": [
                    {
                        # Longer than a port of the resource may be, so that it meets none.
                        "name": named.get(one.tls_port, f"retiring-port-{one.tls_port}"),
                        "port": one.tls_port,
                        "targetPort": one.tls_port,
                        "protocol": "TCP",
                    }
                    for one in served
                ],
            },
        }
    )


def certificate_request(place: Place, trust_domain: str, cluster_domain: str) -> Manifest:
    """The cert-manager Certificate that keeps the Secret of *place*.

    Raises:
        SpecError: InvalidSpec, for what cert-manager would refuse.
    """
    tunnel = place.part.tunnel
    asked = tunnel.certificate
    before = asked.renew_before_seconds or asked.duration_seconds // 3
    for key, seconds, least in (
        ("durationSeconds", asked.duration_seconds, SHORTEST_CERT_MANAGER_SECONDS),
        ("renewBeforeSeconds", before, SHORTEST_CERT_MANAGER_RENEWAL),
    ):
        if seconds < least:
            text = f"spec.certificate.{key} is {seconds}: cert-manager needs at least {least}, raise it"
            raise SpecError("InvalidSpec", text)
    names = leaf_names(place.part, place.namespace, place.account, trust_domain, cluster_domain)
    meta = _placed(place, {})
    spec: dict[str, Any] = {
        "secretName": place.name,
        "duration": _go(asked.duration_seconds),
        "renewBefore": _go(before),
        "privateKey": _private_key(asked.private_key),
        "usages": ["digital signature", "server auth" if place.part.client is None else "client auth"],
        "uris": [names.uri],
        "issuerRef": {"group": asked.issuer.group, "kind": asked.issuer.kind, "name": asked.issuer.name},
        "secretTemplate": {"labels": meta["labels"]},
        "revisionHistoryLimit": 1,
    }
    if names.dns:
        spec["dnsNames"] = list(names.dns)
    return same.sealed({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": meta, "spec": spec})


def metadata(
    tunnel: Tunnel,
    name: str,
    role: str,
    *,
    namespace: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Names, labels and owner of an object of *tunnel* in *namespace* (default: its own)."""
    home = tunnel.key.namespace
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace or home,
        "labels": {
            fixed.MANAGED_BY_LABEL: fixed.MANAGED_BY,
            fixed.TUNNEL_LABEL: tunnel.key.name,
            fixed.TUNNEL_NAMESPACE_LABEL: home,
            fixed.ROLE_LABEL: role,
            **({fixed.OWNER_LABEL: tunnel.uid} if tunnel.uid else {}),
            **(labels or {}),
        },
    }
    if annotations:
        meta["annotations"] = dict(annotations)
    if tunnel.uid and namespace in ("", home):
        meta["ownerReferences"] = [
            {
                "apiVersion": fixed.API_VERSION,
                "kind": "MtlsTunnel",
                "name": tunnel.key.name,
                "uid": tunnel.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    return meta


def is_ours(raw: Raw, tunnel: Tunnel) -> bool:
    """Whether an object may be written for *tunnel*: it carries our label and this owner's UID."""
    labels = raw.get("metadata", {}).get("labels") or {}
    return labels.get(fixed.MANAGED_BY_LABEL) == fixed.MANAGED_BY and labels.get(fixed.OWNER_LABEL) == tunnel.uid


def _placed(place: Place, annotations: Mapping[str, str]) -> dict[str, Any]:
    part = place.part
    account = {fixed.ACCOUNT_ANNOTATION: place.account} if place.account else {}
    return metadata(
        part.tunnel,
        place.name,
        part.role,
        namespace=place.namespace,
        labels={fixed.CLIENT_LABEL: part.client.name} if part.client else {},
        annotations={**annotations, **account},
    )


def _older_admin_ports(before: Raw | None) -> list[int]:
    files = map(_PROCESS_FILE.fullmatch, (before or {}).get("data") or {})
    return sorted(int(file.group(1)) for file in files if file)[:MOST_ADMIN_PORTS]


def _private_key(asked: PrivateKey) -> dict[str, Any]:
    sizes = {"ECDSA": 256, "RSA": _RSA_BITS}
    size = asked.size_bits or sizes.get(asked.algorithm)
    return {
        "algorithm": asked.algorithm,
        "encoding": "PKCS8",
        "rotationPolicy": asked.rotation_policy,
        **({"size": size} if size else {}),
    }


def _go(seconds: int) -> str:
    """As Go writes a duration, so that what is stored equals what was sent."""
    return f"{seconds // 3600}h{seconds % 3600 // 60}m{seconds % 60}s"
