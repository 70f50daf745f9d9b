"""The operator as a process, killed in each phase of a CA rotation: its successors end it, and no leaf is ever refused.

What every Secret held at every moment is read from the API server's history: each leaf must be verified by the
bundle of each other Secret, always.
"""

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread
from support.operator_process import RELEASE, operator, release
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually

TUNNELS = 4
DOMAIN = Ref(names.DOMAINS, "", "default")
PHASES = ("Distributing", "Issuing", "Retiring")


def domain(**annotations: str) -> dict[str, Any]:
    rotation = {"propagationSeconds": 2, "issuingSeconds": 6}
    said = {f"{names.GROUP}/{key}": value for key, value in annotations.items()}
    metadata = {"name": "default", "uid": "8d0d7a9e-0000-4000-8000-000000000001", "annotations": said}
    spec = {"trustDomain": "cluster.local", "rotation": rotation}
    return {"apiVersion": names.API_VERSION, "kind": "MtlsTrustDomain", "metadata": metadata, "spec": spec}


def rotate(server: ServerThread) -> None:
    now = server.store.objects[DOMAIN]
    server.store.put({**now, "metadata": {**now["metadata"], "annotations": {names.ROTATE_ANNOTATION: "1"}}})


def phase(server: ServerThread) -> str:
    """As it is stored with the keys, which is before any status says so."""
    said = [raw["metadata"]["annotations"] for raw in cas(server)]
    current = [one for one in said if one[names.CA_ROLE_ANNOTATION] == "Current"]
    return str(max(current, key=lambda one: int(one[names.CA_SEQUENCE_ANNOTATION]))[names.CA_PHASE_ANNOTATION])


def cas(server: ServerThread) -> list[dict[str, Any]]:
    return [raw for raw in server.store.of("secrets", RELEASE) if names.CA_LABEL in raw["metadata"].get("labels", {})]


def held_over_time(server: ServerThread) -> Iterator[dict[str, tuple[str, tuple[str, ...]]]]:
    """Issuer and bundle of all leaves' Secrets after each change to one of them."""
    held: dict[str, tuple[str, tuple[str, ...]]] = {}
    for moment in server.store.history:
        raw = moment.object
        if raw["kind"] == "Secret" and raw["metadata"]["namespace"] == "shop":
            bundle = ca.bundle_of(base64.b64decode(raw["data"]["ca.crt"]), "ca.crt")
            issuer = raw["metadata"]["annotations"][names.ISSUER_ANNOTATION]
            held[raw["metadata"]["name"]] = (issuer, tuple(ca.fingerprint(one) for one in bundle))
            yield dict(held)


def test_operator_domains_rotate_while_the_operator_is_killed(tmp_path: Path) -> None:
    store = release("shop")
    store.put(domain())
    for number in range(TUNNELS):
        store.put(tunnel_raw(f"t{number}"))
    with ServerThread(store) as server:
        with operator(server, tmp_path) as child:
            eventually(
                lambda: server.call(lambda: len(list(held_over_time(server))) >= 2 * TUNNELS), "all leaves", seconds=90
            )
            server.call(lambda: rotate(server))
            eventually(lambda: server.call(lambda: phase(server)) == PHASES[0], PHASES[0], seconds=60)
            child.signal(signal.SIGKILL)
            child.wait()
        for following in PHASES[1:]:
            with operator(server, tmp_path) as child:
                eventually(
                    lambda following=following: server.call(lambda: phase(server)) == following,  # type: ignore[misc]
                    following,
                    seconds=90,
                )
                child.signal(signal.SIGKILL)
                child.wait()
        with operator(server, tmp_path):
            at_rest = ("Stable", 1)
            eventually(lambda: server.call(lambda: (phase(server), len(cas(server)))) == at_rest, "rest", seconds=90)
            last = server.call(lambda: ca.bundle_of(base64.b64decode(cas(server)[0]["data"]["tls.crt"]), "ca"))
            wanted = (ca.fingerprint(last[0]), (ca.fingerprint(last[0]),))
            eventually(
                lambda: server.call(lambda: set(list(held_over_time(server))[-1].values())) == {wanted},
                "every Secret follows",
                seconds=60,
            )
        for held in server.call(lambda: list(held_over_time(server))):
            assert all(issuer in bundle for issuer, _ in held.values() for _, bundle in held.values())
