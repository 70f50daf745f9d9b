"""Who a pod is: the SPIFFE IDs and DNS names of a tunnel's roles.

    PerRole            spiffe://TD/ns/NS/mtlstunnel/NAME/server, .../mtlstunnel/NAME/client/CLIENT
    PerServiceAccount  spiffe://TD/ns/NS/sa/ACCOUNT

NS is always the namespace in which the pod runs, so that one namespace's consent can be taken back alone.  A
client in another namespace than its tunnel's has HOME.NAME in place of NAME: names of tunnels hold no dot, so
two tunnels never share an ID.

A server's DNS names are those of its Service, never an address that the resource merely names: whoever
writes a resource would else get a certificate for any host.  Clients of ours verify the SPIFFE ID.
"""

from mtls_tunnel.config import addresses, patterns
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.fields import LABEL
from mtls_tunnel_operator.model.parts import Part
from mtls_tunnel_operator.model.resources import Tunnel


def identity(part: Part, namespace: str, account: str, trust_domain: str) -> str:
    """The SPIFFE ID of pods in *namespace* that have *part* (and run as *account*, where that matters).

    Raises:
        SpecError: InvalidIdentity, if no SPIFFE ID can be made of these names.
    """
    home, name = part.tunnel.key
    if part.per_account:
        path = ("sa", account or "default")
    else:
        role = ("client", part.client_name) if part.client else ("server",)
        path = ("mtlstunnel", name if namespace == home else f"{home}.{name}", *role)
    words = (trust_domain, "ns", namespace, *path)
    text = f"spiffe://{'/'.join(words)}"
    try:
        if any("/" in word for word in words):
            raise ValueError("has a name with a slash - that would make it somebody else's")
        return patterns.exact_uri(text)
    except ValueError as fault:
        raise SpecError("InvalidIdentity", f"{text[:200]!r} {fault}") from None


def leaf_names(part: Part, namespace: str, account: str, trust_domain: str, cluster_domain: str) -> Names:
    """What the certificate of such pods proves."""
    dns = _service_names(part.tunnel, cluster_domain) if part.client is None else ()
    return Names(identity(part, namespace, account, trust_domain), dns)


def server_identities(tunnel: Tunnel, trust_domain: str) -> tuple[str, ...]:
    """Every SPIFFE ID that the server may have; none for an external one."""
    if tunnel.workload is None:
        return ()
    part = Part(tunnel, "server")
    accounts = tunnel.workload.accounts if part.per_account else ("",)
    return tuple(identity(part, tunnel.key.namespace, account, trust_domain) for account in accounts)


def server_host(tunnel: Tunnel, cluster_domain: str) -> str:
    """The host that clients dial.

    Raises:
        SpecError: InvalidSpec, if the host that the resource names can be none.
    """
    if tunnel.external is not None:
        return _host("server.external.host", tunnel.external.host)
    if tunnel.workload is not None and tunnel.workload.service.policy == "None":
        return _host("server.workload.service.address", tunnel.workload.service.address)
    return service_host(tunnel, tunnel.service_name, cluster_domain)


def service_host(tunnel: Tunnel, service: str, cluster_domain: str) -> str:
    """The full name of a Service beside *tunnel*."""
    return f"{service}.{tunnel.key.namespace}.svc.{cluster_domain.strip('.')}"


def server_name(tunnel: Tunnel, cluster_domain: str) -> str:
    """The name that clients send, and verify where there is no SPIFFE ID to expect."""
    if tunnel.external is not None and tunnel.external.server_name:
        return _host("server.external.serverName", tunnel.external.server_name)
    return server_host(tunnel, cluster_domain)


def _host(place: str, text: str) -> str:
    try:
        return addresses.name_or_ip(text.removeprefix("[").removesuffix("]"))
    except ValueError as fault:
        raise SpecError("InvalidSpec", f"spec.{place}: {text[:80]!r} {fault}") from None


def _service_names(tunnel: Tunnel, cluster_domain: str) -> tuple[str, ...]:
    service = tunnel.service_name or _service_in_address(tunnel, cluster_domain)
    if not service:
        return ()
    # Not SERVICE.NAMESPACE: with a namespace named like a top-level domain that is somebody's host.
    full = service_host(tunnel, service, cluster_domain)
    return (full, f"{service}.{tunnel.key.namespace}.svc")


def _service_in_address(tunnel: Tunnel, cluster_domain: str) -> str:
    """The Service that an address names, if it is one of the tunnel's own namespace."""
    if tunnel.workload is None:
        return ""
    address = tunnel.workload.service.address.lower().removesuffix(".").removesuffix(f".{cluster_domain.strip('.')}")
    service, _, rest = address.partition(".")
    return service if rest == f"{tunnel.key.namespace}.svc" and LABEL.fullmatch(service) else ""
