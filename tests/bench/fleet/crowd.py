"""What fills the cluster: namespaces, tunnels with a server and a client each, and pods for both.

Tunnel n belongs to namespace n modulo their number; its pods are labelled `app: app-<n>-server` and
`app-<n>-client`, by turns.  The pods ask for the nodes that only pretend to run them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from local_cluster.fake import PLACEMENT
from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import Conflict

Raw = dict[str, Any]

NAMESPACES = 50
AT_ONCE = 8


def spaces(count: int = NAMESPACES) -> list[str]:
    return [f"team-{number}" for number in range(count)]


def namespace(name: str) -> Raw:
    """One that has opted in."""
    labels = {names.INJECTION_LABEL: names.ENABLED}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def tunnel(number: int, prefix: str = "tunnel", **spec: Any) -> Raw:
    """A database and those who use it."""
    app = f"{'app' if prefix == 'tunnel' else prefix}-{number}"
    body: Raw = {
        "server": {
            "workload": {"selector": {"matchLabels": {"app": f"{app}-server"}}},
            "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
        },
        "clients": [
            {
                "name": "api",
                "selector": {"matchLabels": {"app": f"{app}-client"}},
                "listeners": [{"port": "pg", "localPort": 5432}],
            }
        ],
    }
    metadata = {"name": f"{prefix}-{number}", "namespace": f"team-{number % NAMESPACES}"}
    return {"apiVersion": names.API_VERSION, "kind": "MtlsTunnel", "metadata": metadata, "spec": {**body, **spec}}


def domain(name: str, propagation: int, issuing: int) -> Raw:
    """A trust domain that rotates in minutes."""
    spec = {
        "trustDomain": f"{name}.example",
        "rotation": {"propagationSeconds": propagation, "issuingSeconds": issuing},
    }
    return {"apiVersion": names.API_VERSION, "kind": "MtlsTrustDomain", "metadata": {"name": name}, "spec": spec}


def pod(number: int, tunnels: int) -> Raw:
    """Pod *number* of the tunnels, with the size that a small application's has."""
    of = number % tunnels
    role = "client" if number // tunnels % 2 else "server"
    env = [{"name": f"SETTING_{n}", "value": "x" * 40} for n in range(20)]
    container = {"name": "app", "image": "registry.example/app:1", "env": env}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{number}",
            "namespace": f"team-{of % NAMESPACES}",
            "labels": {"app": f"app-{of}-{role}"},
        },
        "spec": {**PLACEMENT, "containers": [container]},
    }


async def all_of(work: Callable[[Any], Awaitable[Any]], items: Iterable[Any], *, rate: float = 0.0) -> None:
    """*work* on each item, some at once; at most *rate* of them begin in a second."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(AT_ONCE)
    began = loop.time()

    async def one(item: Any) -> None:
        async with slots:
            try:
                await work(item)
            except Conflict as error:
                if error.reason != "AlreadyExists":  # the answer to the first try was lost
                    raise

    async with asyncio.TaskGroup() as group:
        for number, item in enumerate(items):
            if rate:
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            group.create_task(one(item))
