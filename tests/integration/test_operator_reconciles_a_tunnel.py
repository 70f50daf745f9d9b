"""The operator as a process: a tunnel is brought about, heals, follows its resource, and then nothing is written."""

import base64
import copy
import time
from pathlib import Path
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread
from support.operator_process import operator, release
from support.tunnel_resources import pod_raw, tunnel_raw
from support.waiting import eventually

TUNNEL = Ref(names.TUNNELS, "shop", "orders-db")
SERVER = Ref("secrets", "shop", "orders-db-mtls-server")
QUIET_SECONDS = 5.0


def test_operator_reconciles_a_tunnel(tmp_path: Path) -> None:
    with ServerThread(release("shop")) as server, operator(server, tmp_path):

        def found(ref: Ref) -> dict[str, Any]:
            return server.call(lambda: copy.deepcopy(server.store.objects.get(ref, {})))

        def condition(name: str) -> tuple[str, str]:
            conditions = found(TUNNEL).get("status", {}).get("conditions", [])
            return next(((one["status"], one["reason"]) for one in conditions if one["type"] == name), ("", ""))

        server.call(lambda: server.store.put(tunnel_raw()))
        eventually(lambda: condition("CertificatesReady") == ("True", "Issued"), "certificates are issued")
        eventually(lambda: found(Ref("services", "shop", "orders-db")), "there is a Service")
        first = found(SERVER)["data"]

        server.call(lambda: server.store.remove(SERVER))
        eventually(lambda: found(SERVER), "a deleted Secret is there again")
        assert found(SERVER)["data"]["tls.key"] != first["tls.key"]

        server.call(lambda: server.store.put(pod_raw("postgres-0")))
        eventually(lambda: condition("Ready") == ("False", "PodsNotInjected"), "a pod without sidecar is told")
        events = eventually(lambda: server.call(lambda: server.store.of("events")), "there are events")
        assert {"Issued", "PodsNotInjected"} >= {event["reason"] for event in events}

        server.call(lambda: server.store.put(tunnel_raw(authorization={"allow": [RULE]})))
        config = Ref("configmaps", "shop", "orders-db-mtls-server")
        eventually(lambda: RULE["spiffeIDs"][0] in found(config)["data"]["tunnel.yaml"], "the ACL follows")

        eventually(
            lambda: found(TUNNEL).get("status", {}).get("observedGeneration") == 2, "the status is of this version"
        )
        _assert_quiet(server)
        assert base64.b64decode(found(SERVER)["data"]["tls.crt"]).startswith(b"-----BEGIN CERTIFICATE")

        server.call(lambda: server.store.remove(TUNNEL))
        eventually(lambda: server.call(lambda: not server.store.of("secrets", "shop")), "its objects go with it")


RULE = {"name": "ops", "spiffeIDs": ["spiffe://cluster.local/ns/ops/sa/ops"]}


def _assert_quiet(server: ServerThread) -> None:
    """No write for a while, once the last ones are through."""

    def writes() -> list[str]:
        return server.call(lambda: [f"{one.verb} {one.ref}" for one in server.store.writes()])

    def stays() -> bool:
        before = len(writes())
        time.sleep(QUIET_SECONDS)
        return len(writes()) == before

    eventually(stays, "no more writes", seconds=60)
