"""A thousand routes, five hundred connections at once, each led to its own backend; nothing is left of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.clients import ask, connect
from support.routed import ORG, USER, Routed, server_name
from support.routes import FileRoutes, Routes
from support.servers import Backend

ROUTES, CONNECTIONS, BACKENDS = 1000, 500, 5


class Named(Backend):
    """Answers each chunk with a name of its own."""

    def __init__(self, name: bytes) -> None:
        super().__init__()
        self.name = name

    def serve(self, connection: Any) -> None:
        while self.take(connection):
            connection.sendall(self.name)


@pytest.fixture(name="backends")
def _backends() -> Iterator[list[Named]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Named(b"backend-%d" % number)) for number in range(BACKENDS)]


def test_five_hundred_at_once_each_reach_their_own(tmp_path: Path, routes: Routes, backends: list[Named]) -> None:
    routes.putting(
        (
            "backend_hosts",
            {
                "connect_id": f"host-{number}",
                "internal_ip_addr": backends[number % BACKENDS].address,
                "org_id": ORG,
                "user_ids": [USER] if number % 2 else [],
                "team_ids": [] if number % 2 else [f"team-{number}"],
            },
        )
        for number in range(ROUTES)
    )
    routes.putting(("teams", {"team_id": f"team-{n}", "org_id": ORG, "user_ids": [USER]}) for n in range(0, ROUTES, 2))
    with Routed(tmp_path, routes, {"proxy": {"handshake_timeout": "60s"}}) as routed:
        routed.greet()
        routed.tunnel.wait_until_idle()
        before = routed.tunnel.descriptors
        tls = routed.good

        def reach(number: int) -> tuple[bytes, Any]:
            connection = connect(routed.port, tls, name=server_name(f"host-{number}"))
            return ask(connection, b"x" * len(b"backend-0")), connection

        with ThreadPoolExecutor(50) as crowd:
            reached = list(crowd.map(reach, range(0, ROUTES, ROUTES // CONNECTIONS)))
        assert routed.tunnel.value("mtlsd_active_connections") == CONNECTIONS
        expected = [b"backend-%d" % (number % BACKENDS) for number in range(0, ROUTES, ROUTES // CONNECTIONS)]
        assert [answer for answer, _ in reached] == expected
        for _, connection in reached:
            connection.close()
        routed.tunnel.wait_until_idle()
        grown = 0 if isinstance(routes, FileRoutes) else 10  # the pool keeps what it has opened for a while
        routed.tunnel.wait_for_descriptors(before + grown)
