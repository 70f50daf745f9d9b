"""The sidecar's files: a part of a tunnel becomes tunnel.yaml and process-PORT.yaml.

Written from the values of `mtls_tunnel.config`, so that nothing can be rendered which the tunnel does not
read; no text of the resource is ever pasted into YAML.  A listener is named after the port on which it
accepts, which tells it apart in every pod and survives a change of everything else.

    server  :TLSPORT on all addresses -> 127.0.0.1:TARGETPORT
    client  localhost:LOCALPORT (both loopback addresses) -> the server's TLSPORT
"""

import hashlib
import sys
from collections.abc import Iterable

from mtls_tunnel.config.dump import dump
from mtls_tunnel.config.schema import (
    Address,
    Config,
    Expiry,
    Health,
    Logging,
    Metrics,
    MinVersion,
    Proxy,
    Tls,
    TrustDomain,
    Tunnel,
)
from mtls_tunnel_operator import names as fixed
from mtls_tunnel_operator.desired import acl, names
from mtls_tunnel_operator.desired.staging import Dial, Served, everything_dialed, everything_served
from mtls_tunnel_operator.desired.world import Peers
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model import resources as nouns
from mtls_tunnel_operator.model.parts import Part

SERVER_CA = "server-ca.crt"  # the key of an external server's bundle
LONGEST_TUNNEL_NAME = 63
NOT_AT_ALL = 0.001  # seconds: to the tunnel, a shutdown timeout of 0 means to wait for ever
MOST_TEXTS = 8192

_texts: dict[bytes, str] = {}  # by the digest of their configuration
_MIN_TLS: dict[str, MinVersion] = {"VersionTLS12": "TLS1.2", "VersionTLS13": "TLS1.3"}


def tunnel_yaml(part: Part, peers: Peers, *, served: Iterable[Served] = (), dials: Iterable[Dial] = ()) -> str:
    """tunnel.yaml of *part*, the same in every namespace and for every account.

    *served* (for a server) and *dials* (for a client) are the ports open at this stage of a change; without
    them, those that the resource names.

    Raises:
        SpecError: something in the resource that no configuration can hold.
    """
    if part.client is None:
        return _text(_server(part, peers, tuple(served) or everything_served(part.tunnel)))
    host = names.server_host(part.tunnel, peers.cluster_domain)
    return _text(_client(part, peers, tuple(dials) or everything_dialed(part.tunnel, part.client, host)))


def process_yaml(part: Part, admin_port: int = 0) -> str:
    """The process-wide sections: what the pod's leading part decides for the whole sidecar.

    The admin port listens on all addresses for kubelet and Prometheus; what is not theirs (/statusz) answers
    clients on the loopback only, which the tunnel sees to.  *admin_port* is for pods that were made with another.
    """
    watched = part.tunnel.observability
    admin = Address("", admin_port or watched.admin_port)
    levels: dict[str, Logging] = {
        "Error": Logging(level="error"),
        "Warning": Logging(level="warn"),
        "Info": Logging(level="info"),
        "Debug": Logging(level="debug"),
    }
    access: dict[str, Logging] = {
        "None": Logging(access="none"),
        "Denied": Logging(access="denied"),
        "All": Logging(access="all"),
    }
    return _text(
        Config(
            tunnels=(),
            health=Health(enabled=True, listen=admin),
            metrics=Metrics(enabled=True, listen=admin),
            logging=Logging(level=levels[watched.log_level].level, access=access[watched.access_log].access),
            expiry=_expiry(part.tunnel.certificate),
        )
    )


def bundle_files(part: Part, peers: Peers) -> dict[str, str]:
    """The bundles beside tunnel.yaml that it names, by file."""
    files = {_federated(index): pem for index, (_, pem) in enumerate(peers.federated)}
    if part.client is not None and part.tunnel.external is not None and part.tunnel.external.ca_bundle:
        files[SERVER_CA] = peers.server_ca
    return files


def _text(config: Config) -> str:
    """The YAML of *config*, remembered: pod events plan their tunnels anew, and writing it is most of a plan.

    Remembered by digest: thousands of configurations as keys would take more memory than their texts, which are
    interned, as those of the ConfigMaps that were read.
    """
    assert not any(tunnel.router for tunnel in config.tunnels)  # whose password a repr does not show
    digest = hashlib.blake2b(repr(config).encode(), digest_size=16).digest()
    if (text := _texts.get(digest)) is None:
        if len(_texts) >= MOST_TEXTS:
            _texts.clear()
        text = _texts[digest] = sys.intern(dump(config))
    return text


def _server(part: Part, peers: Peers, served: tuple[Served, ...]) -> Config:
    tunnel = part.tunnel
    return Config(
        tuple(
            Tunnel(
                name=_name(part, one.tls_port),
                mode="server",
                listen=Address("", one.tls_port),
                target=Address("127.0.0.1", one.target_port),
                tls=_tls(part, peers),
                acl=acl.server_acl(tunnel, one.port, one.client_names, peers),
                proxy=_proxy(tunnel.proxy),
            )
            for one in served
        )
    )


def _client(part: Part, peers: Peers, dials: tuple[Dial, ...]) -> Config:
    return Config(
        tuple(
            Tunnel(
                name=_name(part, one.local_port),
                mode="client",
                listen=Address("localhost", one.local_port),
                target=Address(one.host, one.tls_port),
                tls=_tls(part, peers),
                acl=acl.client_acl(part.tunnel, peers),
                proxy=_proxy(part.tunnel.proxy),
            )
            for one in dials
        )
    )


def _name(part: Part, port: int) -> str:
    """Different for all parts that a pod can have; namespaces and names of tunnels and clients hold no dot."""
    home, tunnel = part.tunnel.key
    role = f"client.{part.client.name}" if part.client else "server"
    return fixed.cut(f"{home}.{tunnel}.{role}.{port}", LONGEST_TUNNEL_NAME)


def _tls(part: Part, peers: Peers) -> Tls:
    folder = f"{fixed.MOUNT_ROOT}/{part.volume_id}"
    external = part.tunnel.external if part.client else None
    if external and external.ca_bundle and not peers.server_ca:
        text = (
            f"spec.server.external.caBundleRef: ConfigMap {part.tunnel.key.namespace}/{external.ca_bundle} has no key "
            "ca.crt yet: create it with the CA certificates of the server"
        )
        raise SpecError("CABundleNotFound", text)
    uris = names.server_identities(part.tunnel, peers.trust_domain) if part.client else ()
    if external and external.spiffe_id:
        uris = (external.spiffe_id,)
    return Tls(
        cert=f"{folder}/tls.crt",
        key=f"{folder}/tls.key",
        ca=(f"{folder}/{SERVER_CA if external and external.ca_bundle else 'ca.crt'}",),
        server_name=names.server_name(part.tunnel, peers.cluster_domain) if part.client else "",
        server_uri=uris,
        min_version=_MIN_TLS[part.tunnel.proxy.min_tls],
        trust=tuple(
            TrustDomain(domain, (f"{folder}/{_federated(index)}",)) for index, (domain, _) in enumerate(peers.federated)
        ),
    )


def _federated(index: int) -> str:
    return f"federated-{index}.crt"


def _proxy(proxy: nouns.Proxy) -> Proxy:
    return Proxy(
        dial_timeout_seconds=float(proxy.dial_timeout_seconds),
        handshake_timeout_seconds=float(proxy.handshake_timeout_seconds),
        idle_timeout_seconds=float(proxy.idle_timeout_seconds),
        max_connections=proxy.max_connections,
        shutdown_timeout_seconds=float(proxy.drain_timeout_seconds) or NOT_AT_ALL,
    )


def _expiry(certificate: nouns.Certificate) -> Expiry:
    """Warn when a renewal is long overdue: a leaf of a day is always within days of its end."""
    before = certificate.renew_before_seconds or certificate.duration_seconds // 3
    days = before / 86400
    return Expiry(warn_days=min(30, int(days / 2)), critical_days=min(7, int(days / 8)))
