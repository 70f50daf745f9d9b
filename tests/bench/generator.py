"""One workload against one proxy, in a process of its own: an order on standard input, figures on standard output.

A process of its own because OPENSSL_CONF must be set before OpenSSL starts, and because the forks of a case
should begin from a small process.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import workloads
from bench.accounting import Tree
from bench.target import Target
from bench.workloads import Figures

WORKLOADS: dict[str, Callable[..., Figures]] = {
    "bulk": workloads.bulk,
    "ping_pong": workloads.ping_pong,
    "handshakes": workloads.handshakes,
    "idle": workloads.idle,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, against what.  *certificates* is empty for a proxy that takes plain connections."""

    workload: str
    port: int
    direct: int
    proxy_pid: int
    backend_pid: int
    certificates: str = ""
    options: dict[str, int | bool] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    order = Order(**json.load(sys.stdin))
    target = Target(
        port=order.port,
        direct=order.direct,
        certificates=Path(order.certificates) if order.certificates else None,
        proxy=Tree(order.proxy_pid),
        backend=Tree(order.backend_pid),
    )
    print(json.dumps(WORKLOADS[order.workload](target, **order.options)))


if __name__ == "__main__":
    main()
