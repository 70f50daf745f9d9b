"""`tunnel-operator check`: a line for all that is well or wrong, with the remedy; exit code 1 when one failed."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.check_cluster import clock_finding, replicas_finding
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.control.webhook import trust
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import rfc3339
from support.kube_api import ServerThread
from support.kube_store import Store
from support.operator_process import RELEASE, command, environment, operator, release
from support.processes import run
from support.tunnel_resources import NOON, pod_raw, space_raw, tunnel_raw
from support.waiting import eventually

SERVICE = ("mtls-tunnel-injector.mtls-tunnel-system.svc",)


def installed(store: Store, replicas: int = 2) -> Store:
    """What the chart makes, as if its pods ran."""
    for name in ("mtls-tunnel-operator", "mtls-tunnel-injector"):
        metadata = {"name": name, "namespace": RELEASE}
        status = {"availableReplicas": replicas}
        store.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {"replicas": 2},
                "status": status,
            }
        )
    store.put(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "mtls-tunnel"},
            "webhooks": [{"name": "inject.mtlstunnel.dev", "clientConfig": {"service": {}}, "failurePolicy": "Fail"}],
        }
    )
    return store


def checked(server: ServerThread, folder: Path, *words: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings."""
    kubeconfig = server.call(lambda: server.kubeconfig(folder))
    done = run(command("check", "--output=json", *words), env=environment(kubeconfig), seconds=60)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def failures(findings: list[dict[str, str]]) -> dict[str, str]:
    return {one["subject"]: one["text"] for one in findings if one["level"] == "fail"}


def test_a_healthy_installation_passes_and_what_breaks_is_named(tmp_path: Path) -> None:
    with ServerThread(installed(release("shop"))) as server:
        server.call(lambda: server.store.put(tunnel_raw()))
        with operator(server, tmp_path):
            ref = Ref(names.TUNNELS, "shop", "orders-db")
            eventually(lambda: server.call(lambda: server.store.objects[ref].get("status")), "there is a status")
            code, findings = checked(server, tmp_path)
            assert failures(findings) == {}
            assert code == 0
            subjects = {one["subject"] for one in findings}
            assert {
                "CRDs",
                "operator",
                "injector",
                "webhook",
                "trust domain default",
                "tunnel shop/orders-db",
            } <= subjects

            server.call(lambda: server.store.put(pod_raw("postgres-0")))
            code, findings = checked(server, tmp_path, "--quiet")
            assert code == 1
            assert "PodsNotInjected" in failures(findings)["tunnel shop/orders-db"]


def test_nothing_installed_is_said_first(tmp_path: Path) -> None:
    store = release()
    store.served -= {names.TUNNELS, names.DOMAINS}
    with ServerThread(store) as server:
        code, findings = checked(server, tmp_path)
    assert code == 1
    assert "kubectl apply -f crds/" in failures(findings)["CRDs"]


def test_each_thing_that_is_wrong_has_its_line_and_remedy(tmp_path: Path) -> None:
    store = installed(release("shop", "closed"), replicas=0)
    store.put(space_raw("closed", enabled=False))
    store.put(tunnel_raw("unseen", "closed"))
    store.put({**tunnel_raw(), "status": _status()})
    store.put(_secret("orders-db-mtls-server", {"tls.crt": b"rubbish", "tls.key": b""}, "shop"))
    with ServerThread(store) as server:
        code, findings = checked(server, tmp_path)
    found = failures(findings)
    assert code == 1
    assert "0 of 2 replicas" in found["injector"]
    assert "no Lease" in found["operator"]
    assert "no usable caBundle" in found["webhook"]
    assert "`kubectl label namespace closed mtlstunnel.dev/injection=enabled`" in found["namespace closed"]
    assert "is the operator running" in found["tunnel closed/unseen"]
    assert "orders-db-mtls-server" in found["tunnel shop/orders-db"]
    assert "there is none" in found["trust domains"]


def test_a_ca_bundle_that_does_not_fit_the_serving_certificate_fails(tmp_path: Path) -> None:
    now = time.time()
    served, other = trust.make_authority(SERVICE, now), trust.make_authority(SERVICE, now)
    serving = trust.make_serving(served, SERVICE, now)
    store = installed(release("shop"))
    configuration = store.objects[Ref("mutatingwebhookconfigurations", "", "mtls-tunnel")]
    bundle = base64.b64encode(ca.pem_of((other.certificate,))).decode()
    configuration["webhooks"][0]["clientConfig"]["caBundle"] = bundle
    store.put(_secret("mtls-tunnel-webhook-tls", {"tls.crt": serving.cert_pem, "tls.key": serving.key_pem}, RELEASE))
    with ServerThread(store) as server:
        _, findings = checked(server, tmp_path)
    assert "does not verify" in failures(findings)["webhook"]


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: a, user: {}}]}"
    )
    done = run(command("check"), env=environment(kubeconfig))
    assert done.returncode == 2
    assert done.stderr.startswith("fail  API server:")


@pytest.mark.parametrize(("offset", "level"), [(0, "ok"), (60, "warn"), (-60, "warn"), (400, "fail"), (-400, "fail")])
def test_a_clock_that_is_off_is_told(offset: int, level: str) -> None:
    said = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(NOON + offset))
    assert clock_finding(said, NOON, "v1.35").level == level


def test_one_replica_is_a_warning() -> None:
    raw = {"spec": {"replicas": 1}, "status": {"availableReplicas": 1}}
    assert replicas_finding(raw, RELEASE, "x", "injector").level == "warn"


def _status() -> dict[str, Any]:
    conditions = [
        {"type": name, "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": rfc3339(NOON)}
        for name in ("Ready", "Accepted")
    ]
    certificates = [
        {
            "name": "server",
            "secretName": "orders-db-mtls-server",
            "serviceAccount": "",
            "renewalTime": rfc3339(time.time()),
        }
    ]
    return {"observedGeneration": 1, "conditions": conditions, "certificates": certificates}


def _secret(name: str, content: dict[str, bytes], namespace: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}
