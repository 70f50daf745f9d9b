"""Which tunnels concern a pod, and as what: the injector and the operator must answer alike, so both ask here.

A pod has a part in a tunnel as its server, as one of its clients, or as several of them.  It has none unless
its namespace is labelled for injection, and none in a tunnel of another namespace unless the pod's own
accepts that one's tunnels (double opt-in).  A suspended tunnel counts as before: suspending changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.resources import Client, Role, Tunnel


@dataclass(frozen=True, slots=True)
class Part:
    """One volume of a pod: what it does in one tunnel.

    `abroad` is the pod's namespace when that is not the tunnel's own.
    """

    tunnel: Tunnel
    role: Role
    client: Client | None = None  # None for the server
    abroad: str = ""

    @property
    def namespace(self) -> str:
        """The namespace of the pod."""
        return self.abroad or self.tunnel.key.namespace

    @property
    def client_name(self) -> str:
        """The client's name, "" for the server."""
        return self.client.name if self.client else ""

    @property
    def volume_id(self) -> str:
        """The folder and volume with this part's files."""
        return names.volume_id(*self.tunnel.key, self.role, self.client_name)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The service accounts that the resource lists for this role."""
        if self.client is not None:
            return self.client.accounts
        return self.tunnel.workload.accounts if self.tunnel.workload else ()

    @property
    def per_account(self) -> bool:
        """Whether each service account has a certificate of its own."""
        return self.tunnel.certificate.subject == "PerServiceAccount"

    @property
    def sort_key(self) -> tuple[bool, str, str, str]:
        """The leading order: server role first, then namespace and name."""
        return (self.role == "client", *self.tunnel.key, self.client_name)

    def object_name(self, namespace: str, account: str = "") -> str:
        """The name of the Secret and of the ConfigMap that *namespace* holds for pods of *account*."""
        tunnel, home = self.tunnel.key.name, self.tunnel.key.namespace
        if namespace == home and not self.per_account:
            return names.object_name(tunnel, self.role, self.client_name)
        account = account if self.per_account else ""
        return names.object_name(tunnel, self.role, self.client_name, namespace=home, account=account)


def parts_of_tunnel(tunnel: Tunnel) -> tuple[Part, ...]:
    """Every part there is in *tunnel*, at home."""
    server = (Part(tunnel, "server"),) if tunnel.workload else ()
    return (*server, *(Part(tunnel, "client", client) for client in tunnel.clients))


def parts_of(namespace: Space, labels: Mapping[str, str], account: str, tunnels: Iterable[Tunnel]) -> tuple[Part, ...]:
    """The parts of a pod with *labels* that runs as *account*, in leading order.

    A pod that has opted out by its label has none.  Whether it can be injected at all (host network,
    another operating system) is not asked.
    """
    if not namespace.enabled or labels.get(names.INJECT_LABEL) == "false":
        return ()
    found = (part for tunnel in tunnels for part in _parts_in(tunnel, namespace, labels))
    fitting = (part for part in found if not part.per_account or (account or "default") in part.accounts)
    return tuple(sorted(fitting, key=lambda part: part.sort_key))


def client_spaces(
    tunnel: Tunnel, client: Client, spaces: Mapping[str, Space]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Namespaces whose pods may be this client's, and those that are asked for but have not consented.

    Both sorted.  The tunnel's own namespace needs no consent.  One that is named and does not exist counts
    as refused.  A terminating one counts as before (its pods still run), but nothing new can be made in it.
    """
    accepted: list[str] = []
    refused: list[str] = []
    for name in sorted(_asked(tunnel, client, spaces)):
        space = spaces.get(name)
        consents = name == tunnel.key.namespace or (space is not None and _consents(tunnel, space))
        (accepted if consents else refused).append(name)
    return tuple(accepted), tuple(refused)


def clashes(parts: Iterable[Part], pod_ports: Iterable[int]) -> tuple[str, ...]:
    """Sentences about ports that two would listen on in one pod; none means that the pod can be injected.

    *pod_ports* are the TCP ports of the pod's own containers.  Parts stand in leading order: the first
    one's admin port is the sidecar's.
    """
    parts = tuple(parts)
    taken = dict.fromkeys(pod_ports, "a container of the pod")
    taken |= {port: f"the application behind tunnel {part.tunnel.key}" for part in parts for port in _targets(part)}
    found = []
    for port, owner, remedy in _claims(parts):
        if port in taken:
            found.append(f"port {port} is wanted by {owner}, and {taken[port]} has it: {remedy}")
        else:
            taken[port] = owner
    return tuple(found)


def _parts_in(tunnel: Tunnel, space: Space, labels: Mapping[str, str]) -> Iterator[Part]:
    home = space.name == tunnel.key.namespace
    if home and tunnel.workload and tunnel.workload.selector.matches(labels):
        yield Part(tunnel, "server")
    if not home and not _consents(tunnel, space):
        return
    for client in tunnel.clients:
        if _asks(tunnel, client, space) and client.selector.matches(labels):
            yield Part(tunnel, "client", client, "" if home else space.name)


def _consents(tunnel: Tunnel, space: Space) -> bool:
    return space.enabled and tunnel.key.namespace in space.accepts


def _asks(tunnel: Tunnel, client: Client, space: Space) -> bool:
    where = client.namespaces
    if where.source == "Names":
        return space.name in where.names
    if where.source == "Selector":
        return where.selector is not None and where.selector.matches(space.labels)
    return space.name == tunnel.key.namespace


def _asked(tunnel: Tunnel, client: Client, spaces: Mapping[str, Space]) -> set[str]:
    if client.namespaces.source == "Same":
        return {tunnel.key.namespace}
    if client.namespaces.source == "Names":
        return set(client.namespaces.names)
    return {name for name, space in spaces.items() if _asks(tunnel, client, space)}


def _targets(part: Part) -> Iterator[int]:
    if part.role == "server":
        yield from (port.target_port for port in part.tunnel.ports if port.target_port is not None)


def _claims(parts: tuple[Part, ...]) -> Iterator[tuple[int, str, str]]:
    for part in parts:
        if part.client is None:
            for port in part.tunnel.ports:
                yield port.tls_port, f"tlsPort {port.name} of tunnel {part.tunnel.key}", "choose another tlsPort"
        else:
            owner = f"client {part.client.name} of tunnel {part.tunnel.key}"
            for listener in part.client.listeners:
                yield listener.local_port, owner, "choose another localPort"
    for part in parts[:1]:
        owner = f"the sidecar's admin port (tunnel {part.tunnel.key})"
        yield part.tunnel.observability.admin_port, owner, "choose another observability.adminPort"
