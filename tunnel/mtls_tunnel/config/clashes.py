"""What no section can see alone: two tunnels of one name, two listeners on one port, a tunnel that dials itself.

Only spelling is compared; whether a port is really free shows when it is bound.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mtls_tunnel.config import addresses
from mtls_tunnel.config.findings import Findings, Spot
from mtls_tunnel.config.schema import Address, Tunnel


@dataclass(frozen=True, slots=True)
class Placed:
    """A tunnel, and where its name, its listen and its target stand."""

    tunnel: Tunnel
    name: Spot
    listen: Spot
    target: Spot


@dataclass(frozen=True, slots=True)
class Port:
    """An address that will be listened on, who asks for it, and where that stands."""

    address: Address
    owner: str
    spot: Spot
    admin: bool = False


def judge(tunnels: Sequence[Placed], admin: Sequence[Port], findings: Findings) -> None:
    """Report every name and every port that is taken twice, at the later of the two places."""
    _judge_names(tunnels, findings)
    ports = [*admin]
    for placed in tunnels:
        owner = f"the tunnel {placed.tunnel.name}" if placed.tunnel.name else "the tunnel"
        ports.append(Port(placed.tunnel.listen, owner, placed.listen))
        if placed.tunnel.listen == placed.tunnel.target and placed.tunnel.target.port:
            findings.error(placed.target, "is the tunnel's own listen address", "it would dial itself without end")
    _judge_ports(sorted(ports, key=lambda port: port.spot.position), findings)


def _judge_names(tunnels: Sequence[Placed], findings: Findings) -> None:
    first: dict[str, Spot] = {}
    for placed in tunnels:
        name = placed.tunnel.name
        if name and name in first:
            other = first[name]
            where = f"{other.path} of {other.file}" if other.path else other.file
            findings.error(placed.name, f'the name "{name}" is taken by {where}', "each tunnel needs a name of its own")
        first.setdefault(name, placed.name)


def _judge_ports(ports: Sequence[Port], findings: Findings) -> None:
    by_number: defaultdict[int, list[Port]] = defaultdict(list)
    for port in ports:
        for other in by_number[port.address.port]:
            if addresses.overlap(port.address, other.address) and not _may_share(port, other):
                text = f"{port.address} is taken by {other.owner} ({other.address})"
                findings.error(port.spot, text, "give each listener a port of its own")
                break
        by_number[port.address.port].append(port)


def _may_share(one: Port, other: Port) -> bool:
    """Health and metrics are served by one listener when both name exactly the same address."""
    return one.admin and other.admin and one.address == other.address
