"""What spans the fields of an MtlsTunnel, refused as the CRD's rules refuse it.

The API server has applied those rules to what it stores; files that are rendered offline, and objects that
were stored before a rule was there, come past here only.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain

from mtls_tunnel_operator.model.fields import Field
from mtls_tunnel_operator.model.resources import Client, Tunnel

_EXPONENTS = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_SCALES = {suffix: Decimal(10) ** power for suffix, power in _EXPONENTS.items()}
_SCALES |= {suffix: Decimal(2) ** power for suffix, power in (("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40))}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")


def check(tunnel: Tunnel, spec: Field) -> None:
    """Raises: SpecError, reason ``InvalidSpec``, for the first thing that does not fit another."""
    server = spec.below("server")
    if server.has("workload") and server.has("external"):
        server.wrong("type", "set workload with type Workload, external with type External, never both")
    _check_ports(tunnel, server)
    _check_external(tunnel, spec)
    _check_clients(tunnel, spec)
    _check_admin_port(tunnel, spec)
    _check_accounts(tunnel, spec)
    _check_resources(spec.below("proxy").below("resources"))


def _check_ports(tunnel: Tunnel, server: Field) -> None:
    targets = {port.target_port for port in tunnel.ports} - {None}
    tls_ports = {port.tls_port for port in tunnel.ports}
    if len({port.name for port in tunnel.ports}) < len(tunnel.ports):
        server.wrong("ports", "two ports have one name: rename one")
    if len(tls_ports) < len(tunnel.ports):
        server.wrong("ports", "two ports have one tlsPort: each needs its own")
    if tls_ports & targets:
        server.wrong("ports", "a tlsPort must differ from every targetPort: the application already listens there")
    if tunnel.workload and any(port.target_port is None for port in tunnel.ports):
        server.wrong("ports", "targetPort is required when type is Workload: it is the port of the application")
    if tunnel.workload and min(tls_ports) < 1024:
        server.wrong("ports", "tlsPort must be 1024 or higher when type is Workload: the sidecar has no privileges")


def _check_external(tunnel: Tunnel, spec: Field) -> None:
    if tunnel.external is None:
        return
    if any(port.target_port is not None for port in tunnel.ports):
        spec.wrong("server.ports", "targetPort has no meaning when type is External: remove it")
    if tunnel.plaintext == "Block":
        spec.wrong("server.plaintextPolicy", "Block has no meaning when type is External: remove it")
    if tunnel.authorization.allow or tunnel.authorization.mode == "Audit":
        spec.wrong("authorization", "has no meaning when server.type is External, its owner decides: remove it")


def _check_clients(tunnel: Tunnel, spec: Field) -> None:
    known = {port.name for port in tunnel.ports}
    if len({client.name for client in tunnel.clients}) < len(tunnel.clients):
        spec.wrong("clients", "two clients have one name: rename one")
    for index, client in enumerate(tunnel.clients):
        place = f"clients[{index}].listeners"
        _check_known(spec, place, (listener.port for listener in client.listeners), known)
        if len(_local_ports(client)) < len(client.listeners):
            spec.wrong(place, "two listeners of one client have one localPort: each needs its own")
    for index, rule in enumerate(tunnel.authorization.allow):
        _check_known(spec, f"authorization.allow[{index}].ports", rule.ports, known)


def _check_known(spec: Field, place: str, ports: Iterable[str], known: set[str]) -> None:
    for port in ports:
        if port not in known:
            spec.wrong(place, f"the server has no port {port!r}: use {' or '.join(sorted(known))}")


def _check_admin_port(tunnel: Tunnel, spec: Field) -> None:
    admin, place = tunnel.observability.admin_port, "observability.adminPort"
    if tunnel.workload and admin in {port.target_port for port in tunnel.ports}:
        spec.wrong(place, "is the targetPort of a server port: choose another")
    if tunnel.workload and admin in {port.tls_port for port in tunnel.ports}:
        spec.wrong(place, "is the tlsPort of a server port: change one of them")
    if admin in chain.from_iterable(map(_local_ports, tunnel.clients)):
        spec.wrong(place, "is the localPort of a client's listener: change one of them")


def _local_ports(client: Client) -> set[int]:
    return {listener.local_port for listener in client.listeners}


def _check_accounts(tunnel: Tunnel, spec: Field) -> None:
    for place, accounts in _sides(tunnel):
        if tunnel.certificate.subject == "PerServiceAccount" and not accounts:
            spec.wrong(f"{place}.serviceAccounts", "is missing: certificate.subject PerServiceAccount needs it")
        if tunnel.certificate.subject == "PerRole" and accounts:
            spec.wrong(f"{place}.serviceAccounts", "has no meaning with PerRole: set subject PerServiceAccount")


def _sides(tunnel: Tunnel) -> Iterator[tuple[str, tuple[str, ...]]]:
    if tunnel.workload:
        yield "server.workload", tunnel.workload.accounts
    for index, client in enumerate(tunnel.clients):
        yield f"clients[{index}]", client.accounts


def _check_resources(resources: Field) -> None:
    """Kubernetes refuses a pod whose requests are above its limits: the application would not start."""
    requests, limits = resources.below("requests"), resources.below("limits")
    for name in requests.raw.keys() & limits.raw.keys():
        if _quantity(requests, name) > _quantity(limits, name):
            requests.wrong(name, f"is above limits.{name}, no such pod could be made: raise the limit")


def _quantity(field: Field, name: str) -> Decimal:
    found = _QUANTITY.fullmatch(str(field.raw[name]))
    if not found or found[2] not in _SCALES:
        field.wrong(name, f"{field.raw[name]!r} is no quantity: write 10m or 40Mi")
    return Decimal(found[1]) * _SCALES[found[2]]
