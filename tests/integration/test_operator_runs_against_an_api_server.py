"""The operator as a process: from an empty cluster to a tunnel that stands, and to its end."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, namespace
from support.kube_store import Store
from support.operators import NAME, SPACE, OperatorProcess, condition, installed, tunnel
from support.waiting import eventually

TUNNEL = Ref("mtlstunnels", "shop", "orders-db")
SERVER = Ref("secrets", "shop", "orders-db-mtls-server")
CLIENT = Ref("secrets", "shop", "orders-db-mtls-client-api")


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread(installed("shop")) as thread:
        yield thread


def stands(server: ServerThread, ref: Ref = TUNNEL) -> bool:
    return server.call(lambda: condition(server.store, ref, "CertificatesReady")) == "True/Issued"


def test_a_tunnel_that_is_applied_stands_soon_and_sigterm_ends_the_process_well(
    server: ServerThread, tmp_path: Path
) -> None:
    with OperatorProcess(server, tmp_path) as operator:
        eventually(operator.works, "ready")
        server.call(lambda: server.store.put(tunnel()))
        eventually(lambda: stands(server), "certificates are there")
        assert {SERVER, CLIENT, Ref("services", "shop", "orders-db")} <= server.call(lambda: set(server.store.objects))
        operator.signal(signal.SIGTERM)
        assert operator.wait() == 0
    spec = server.store.objects[Ref("leases", SPACE, f"{NAME}-operator")]["spec"]
    assert spec["holderIdentity"] == ""


def test_pain_29_nothing_of_kopf_is_left_on_anybodys_object(server: ServerThread, tmp_path: Path) -> None:
    """No finalizer, no annotation, no field in a status: neither now nor when the operator is gone."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "db-0", "labels": {"app": "postgres"}},
        "spec": {"containers": [{"name": "db", "image": "postgres"}]},
    }
    server.call(lambda: server.store.put(pod))
    server.call(lambda: server.store.put(tunnel()))
    with OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: stands(server), "certificates are there")
        eventually(lambda: server.server.watches >= 7, "kopf watches")
        server.call(lambda: server.store.put({**pod, "status": {"phase": "Running"}}))
        eventually(lambda: condition(server.store, TUNNEL, "PodsReady") == "False/PodsNotInjected", "the pod is seen")
        operator.signal(signal.SIGTERM)
        assert operator.wait() == 0
    assert all("finalizers" not in item["metadata"] for item in server.store.objects.values())
    assert "kopf" not in json.dumps([*server.store.objects.values()])


def test_in_steady_state_nothing_is_written_but_the_lease(server: ServerThread, tmp_path: Path) -> None:
    server.call(lambda: server.store.put(tunnel()))
    with OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: stands(server), "certificates are there")
        eventually(lambda: operator.number("mtls_tunnel_operator_workqueue_depth") == 0, "the queue is empty")
        server.call(server.server.cut_watches)
        eventually(lambda: server.server.watches >= 7, "watches are back")
        before = server.call(lambda: len(server.store.writes()))
        server.call(lambda: server.store.put(namespace("elsewhere")))
        lease = server.call(lambda: server.store.objects[Ref("leases", SPACE, f"{NAME}-operator")]["spec"]["renewTime"])
        eventually(
            lambda: server.store.objects[Ref("leases", SPACE, f"{NAME}-operator")]["spec"]["renewTime"] > lease,
            "the Lease is renewed",
        )
        assert server.call(lambda: server.store.writes()[before:]) == []


def test_what_happened_while_it_was_away_is_found_at_the_next_start_and_nothing_is_issued_twice(
    server: ServerThread, tmp_path: Path
) -> None:
    server.call(lambda: server.store.put(tunnel()))
    with OperatorProcess(server, tmp_path) as first:
        eventually(lambda: stands(server), "certificates are there")
        first.signal(signal.SIGKILL)
        first.wait()
    key = server.call(lambda: server.store.objects[CLIENT]["data"]["tls.key"])
    lost = server.call(lambda: server.store.objects[SERVER]["data"]["tls.key"])
    server.call(lambda: server.store.remove(SERVER))
    server.call(lambda: server.store.remove(Ref("leases", SPACE, f"{NAME}-operator")))
    with OperatorProcess(server, tmp_path, "operator-2"):
        eventually(lambda: SERVER in server.store.objects, "the deleted Secret is there again")
        eventually(lambda: stands(server), "certificates are there")
        assert server.call(lambda: server.store.objects[SERVER]["data"]["tls.key"]) != lost
        assert server.call(lambda: server.store.objects[CLIENT]["data"]["tls.key"]) == key


def test_it_waits_for_crds_and_defaults_and_says_what_is_missing(tmp_path: Path) -> None:
    store = Store()
    for name in (SPACE, "shop"):
        store.put(namespace(name, {"mtlstunnel.dev/injection": "enabled"}))
    store.served -= {"mtlstunnels", "mtlstrustdomains"}
    with ServerThread(store) as server, OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: any("waiting for the CRDs" in line for line in operator.lines), "it says so")
        assert (operator.ask("/healthz"), operator.ask("/readyz")) == (200, 503)
        server.call(lambda: store.served.update({"mtlstunnels", "mtlstrustdomains"}))
        eventually(lambda: any("waiting for ConfigMap" in line for line in operator.lines), "it says so")
        defaults = installed().objects[Ref("configmaps", SPACE, f"{NAME}-defaults")]
        server.call(lambda: store.put(defaults))
        eventually(operator.works, "ready")


def test_kinds_of_others_that_come_later_are_watched_and_stop_nothing(tmp_path: Path) -> None:
    store = installed("shop")
    others = {"certificates", "issuers", "clusterissuers", "podmonitors"}
    store.served -= others
    store.put(tunnel())
    flags = ("--optional-kinds", "certificates,podmonitors")
    with ServerThread(store) as server, OperatorProcess(server, tmp_path, "operator-1", *flags) as operator:
        eventually(lambda: stands(server), "certificates are there")
        operator.wait_for_line("watch of podmonitors: 404")
        before = server.server.watches
        server.call(lambda: store.served.update(others))
        eventually(lambda: server.server.watches >= before + 2, "both are watched")
        assert operator.ask("/healthz") == 200


def test_with_namespaces_in_scope_nothing_else_is_listed(tmp_path: Path) -> None:
    store = installed("shop", "other")
    store.put(tunnel())
    store.put(tunnel("other", "hidden"))
    flags = ("--scope", "Namespaces", "--watch-namespaces", "shop")
    with ServerThread(store) as server, OperatorProcess(server, tmp_path, "operator-1", *flags):
        eventually(lambda: stands(server), "certificates are there")
        asked = server.asked()
    cluster_wide = {"namespaces", "mtlstrustdomains", "mutatingwebhookconfigurations"}
    looked = {one.ref for one in asked if one.verb in ("list", "watch") and one.ref.plural not in cluster_wide}
    assert {ref.namespace for ref in looked} <= {"shop", SPACE}
    assert {ref.plural for ref in looked if ref.namespace == SPACE} == {"configmaps"}  # the defaults, by name
    assert not any(ref.namespace == "other" for ref in store.objects if ref.plural == "secrets")


def test_pain_18_secrets_of_users_are_never_listed(server: ServerThread, tmp_path: Path) -> None:
    server.call(lambda: server.store.put(tunnel()))
    with OperatorProcess(server, tmp_path):
        eventually(lambda: stands(server), "certificates are there")
        eventually(lambda: server.server.watches >= 7, "kopf watches")
        lists = [one for one in server.asked() if one.ref.plural == "secrets" and one.verb == "list"]
    assert lists
    assert {one.query["labelSelector"] for one in lists} == {"app.kubernetes.io/managed-by=mtls-tunnel"}
    assert all(one.query.get("limit") for one in lists)


def test_pain_19_secrets_can_be_read_by_name_only(server: ServerThread, tmp_path: Path) -> None:
    server.call(lambda: server.store.put(tunnel()))
    with OperatorProcess(server, tmp_path, "operator-1", "--secrets", "GetOnly"):
        eventually(lambda: stands(server), "certificates are there")
        asked = server.asked()
    assert not [one for one in asked if one.ref.plural == "secrets" and one.verb in ("list", "watch")]


def test_the_heavy_client_library_is_not_loaded(server: ServerThread, tmp_path: Path) -> None:
    with OperatorProcess(server, tmp_path) as operator:
        eventually(operator.works, "ready")
        maps = Path(f"/proc/{operator.pid}/maps").read_text()
    assert "pydantic_core" not in maps  # what the library `kubernetes` brings along
