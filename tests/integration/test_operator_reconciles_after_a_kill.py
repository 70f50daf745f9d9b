"""Killed while it issues, the operator's successor goes on: no Secret is missing and none has had a second key."""

import signal
from pathlib import Path

from support.kube_api import ServerThread, Trouble
from support.operator_process import operator, release
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually

TUNNELS = 12


def keys_ever_stored(server: ServerThread) -> dict[str, int]:
    """How many keys each leaf's Secret has held, all told."""
    found: dict[str, set[str]] = {}
    for moment in server.store.history:
        held = moment.object
        if held["kind"] == "Secret" and held["metadata"]["namespace"] == "shop" and moment.type != "DELETED":
            found.setdefault(held["metadata"]["name"], set()).add(held["data"]["tls.key"])
    return {name: len(keys) for name, keys in found.items()}


def test_operator_reconciles_after_a_kill(tmp_path: Path) -> None:
    lost = Trouble(method="PATCH", path=".*/namespaces/shop/secrets/.*", status=0, times=3, hang=True, after=True)
    with ServerThread(release("shop")) as server:
        for number in range(TUNNELS):
            server.call(lambda name=f"t{number}": server.store.put(tunnel_raw(name)))  # type: ignore[misc]
        server.call(lambda: server.server.trouble(lost))
        with operator(server, tmp_path) as first:
            eventually(lambda: server.call(lambda: len(keys_ever_stored(server)) >= 4), "some leaves are issued")
            first.signal(signal.SIGKILL)
            first.wait()
        with operator(server, tmp_path):
            eventually(lambda: server.call(lambda: len(keys_ever_stored(server)) == 2 * TUNNELS), "all are", seconds=90)
        assert server.call(lambda: set(keys_ever_stored(server).values())) == {1}
