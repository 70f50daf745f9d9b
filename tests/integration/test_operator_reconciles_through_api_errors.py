"""An API server that refuses, delays and forgets: the operator lives through it and all tunnels come about."""

from pathlib import Path
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, Trouble
from support.operator_process import operator, release
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually

TUNNELS = 6


def test_operator_reconciles_through_api_errors(tmp_path: Path) -> None:
    with ServerThread(release("shop")) as server, operator(server, tmp_path) as process:
        server.call(
            lambda: server.server.trouble(
                Trouble(method="PATCH", path=".*/secrets/.*", status=409, times=2),
                Trouble(method="PATCH", path=".*/configmaps/.*", status=429, times=2, retry_after="1"),
                Trouble(method="PATCH", path=".*/services/.*", status=500, times=4),
                Trouble(method="PATCH", path=".*/mtlstunnels/.*/status", status=503, times=4),
                Trouble(method="GET", path=".*/secrets/.*", status=0, times=2),
            )
        )
        for number in range(TUNNELS):
            server.call(lambda name=f"t{number}": server.store.put(tunnel_raw(name)))  # type: ignore[misc]
            if number == TUNNELS // 2:
                server.call(server.store.compact)  # watches begin anew with 410
                server.call(server.server.cut_watches)

        def issued(name: str) -> bool:
            raw: dict[str, Any] = server.store.objects[Ref(names.TUNNELS, "shop", name)]
            conditions = raw.get("status", {}).get("conditions", [])
            states = {one["type"]: one["reason"] for one in conditions}
            return states.get("CertificatesReady") == "Issued" and states.get("Accepted") == "Accepted"

        eventually(
            lambda: server.call(lambda: all(issued(f"t{number}") for number in range(TUNNELS))),
            "all come about",
            seconds=90,
        )
        assert process.alive
