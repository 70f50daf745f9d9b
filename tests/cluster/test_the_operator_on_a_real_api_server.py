"""The operator as a process against a real API server: what only a real server-side apply, CRD and audit log show."""

import base64
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.kube import Kube
from support.operator_process import DEFAULTS, RELEASE, command, environment
from support.ports import free_port
from support.processes import REPOSITORY, Child, run
from support.tunnel_resources import space_raw, tunnel_raw

AGENT = "mtls-tunnel-operator/"
SECONDS = 60.0
QUIET_SECONDS = 20.0
WEBHOOK: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "mtls-tunnel"},
    "webhooks": [
        {
            "name": "inject.mtlstunnel.dev",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Ignore",
            "clientConfig": {"service": {"name": "mtls-tunnel-injector", "namespace": RELEASE, "path": "/mutate"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        }
    ],
}
POD: dict[str, Any] = {"automountServiceAccountToken": False, "containers": [{"name": "app", "image": "app"}]}


@pytest.fixture(scope="module")
def installed(api_server: Kube) -> Iterator[Kube]:
    """An API server with the CRDs and an operator that works; `shop` has opted in and `bi` accepts its tunnels."""
    api_server.apply(*sorted((REPOSITORY / "crds").glob("*.yaml")))
    api_server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RELEASE}})
    api_server.apply(_bare(space_raw("shop")), _bare(space_raw("bi", accepts="shop")))
    api_server.apply(DEFAULTS, WEBHOOK)
    listens = (f"--health-listen=127.0.0.1:{free_port()}", f"--metrics-listen=127.0.0.1:{free_port()}")
    with Child(command("run", "--name=mtls-tunnel", *listens), env=environment(api_server.kubeconfig)) as process:
        process.wait_for_line("operator: working", seconds=SECONDS)
        yield api_server


def _bare(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key != "status"}


def _until(kube: Kube, condition: Callable[[], Any], what: str) -> Any:
    return kube.wait(condition, what, "shop", seconds=SECONDS)


def reason(kube: Kube, condition: str, name: str = "orders-db") -> str:
    """The reason of a condition of a tunnel; "" while there is none."""
    conditions = kube.get("mtlstunnel", name, "shop").get("status", {}).get("conditions", [])
    return next((str(one["reason"]) for one in conditions if one["type"] == condition), "")


def test_a_tunnel_comes_about_and_its_status_is_what_the_crd_declares(installed: Kube) -> None:
    installed.apply(tunnel_raw())
    _until(installed, lambda: reason(installed, "CertificatesReady") == "Issued", "certificates are issued")
    status = installed.get("mtlstunnel", "orders-db", "shop")["status"]
    assert [one["name"] for one in status["certificates"]] == ["server", "api"]
    columns = installed("get", "mtlstunnel", "orders-db", "-n", "shop").splitlines()
    assert columns[0].split() == ["NAME", "READY", "REASON", "SERVERS", "CLIENTS", "RENEWS", "AGE"]
    assert columns[1].split()[1:5] == ["Unknown", "NoPodsSelected", "0/0", "0/0"]


def test_the_steady_state_makes_no_write_but_the_lease(installed: Kube) -> None:
    installed.apply(tunnel_raw("quiet"))
    _until(installed, lambda: reason(installed, "Accepted", "quiet") == "Accepted", "the tunnel is accepted")
    time.sleep(5)
    before = len(_writes(installed))
    time.sleep(QUIET_SECONDS)
    assert _writes(installed)[before:] == []


def test_deleted_and_edited_objects_heal(installed: Kube) -> None:
    installed.apply(tunnel_raw("heals"))
    _until(installed, lambda: installed.get("service", "heals", "shop"), "there is a Service")
    for kind, name in (("secret", "heals-mtls-server"), ("configmap", "heals-mtls-server"), ("service", "heals")):
        uid = installed.get(kind, name, "shop")["metadata"]["uid"]
        installed.delete(kind, name, "shop")
        found = _until(installed, partial(installed.get, kind, name, "shop"), f"{kind} is back")
        assert found["metadata"]["uid"] != uid
    key = installed.get("secret", "heals-mtls-server", "shop")["data"]["tls.key"]
    installed.patch("service", "heals", {"spec": {"selector": {"app": "thief"}}}, "shop")
    installed.patch("secret", "heals-mtls-server", {"data": {"ca.crt": base64.b64encode(b"x").decode()}}, "shop")
    _until(installed, lambda: "app" not in installed.get("service", "heals", "shop")["spec"]["selector"], "selector")
    _until(
        installed,
        lambda: len(installed.get("secret", "heals-mtls-server", "shop")["data"]["ca.crt"]) > 100,
        "the bundle is restored",
    )
    assert installed.get("secret", "heals-mtls-server", "shop")["data"]["tls.key"] == key


def test_copies_come_with_consent_and_go_with_the_tunnel(installed: Kube) -> None:
    client = {
        "name": "reports",
        "namespaces": {"from": "Names", "names": ["bi"]},
        "selector": {"matchLabels": {"app": "report"}},
        "listeners": [{"port": "pg", "localPort": 5432}],
    }
    installed.apply(tunnel_raw("ledger", clients=[client]))
    ours = "mtlstunnel.dev/tunnel=ledger"
    _until(installed, lambda: installed.items("configmaps", "bi", ours), "there are copies")
    assert len(installed.items("secrets", "bi", ours)) == 1
    installed.delete("mtlstunnel", "ledger", "shop")
    _until(installed, lambda: not installed.items("configmaps,secrets", "bi", ours), "the copies are gone")


def test_the_ca_bundle_is_written_by_server_side_apply_and_restored(installed: Kube) -> None:
    def bundle() -> str:
        webhook = installed.get("mutatingwebhookconfiguration", "mtls-tunnel")["webhooks"][0]
        return str(webhook["clientConfig"].get("caBundle", ""))

    wanted = _until(installed, bundle, "a caBundle is there")
    installed.apply(WEBHOOK)  # as an upgrade of the chart does: the field is not the chart's
    assert bundle() == wanted
    spoilt = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    installed(
        "patch", "mutatingwebhookconfiguration", "mtls-tunnel", "--type=json", "-p", str(spoilt).replace("'", '"')
    )
    _until(installed, lambda: bundle() == wanted, "the caBundle is restored")


def test_a_deployments_template_is_stamped_and_nothing_else_of_it(installed: Kube) -> None:
    labels = {"app": "web"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": POD},
        },
    }
    installed.apply(deployment)
    before = installed.get("deployment", "web", "shop")["spec"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "u-1", "controller": True}
    metadata = {"name": "web-5d4f-1", "namespace": "shop", "labels": {**labels, "pod-template-hash": "5d4f"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "ownerReferences": [owner]}, "spec": POD}
    installed("create", "serviceaccount", "default", "-n", "shop")  # no controller makes it here
    installed.create(pod)
    server = {
        "workload": {"selector": {"matchLabels": labels}},
        "ports": [{"name": "http", "targetPort": 80, "tlsPort": 8443}],
    }
    installed.apply(tunnel_raw("web", server=server, clients=[], rollout={"strategy": "RestartWorkloads"}))

    def stamp() -> str:
        template = installed.get("deployment", "web", "shop")["spec"]["template"]["metadata"]
        return str((template.get("annotations") or {}).get("mtlstunnel.dev/restart", ""))

    _until(installed, stamp, "the template is stamped")
    after = installed.get("deployment", "web", "shop")["spec"]
    del after["template"]["metadata"]["annotations"]
    assert after == before


def test_check_looks_at_it_all(installed: Kube, tmp_path: Path) -> None:
    done = run(command("check"), env=environment(installed.kubeconfig), seconds=SECONDS)
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr  # there are no Deployments here
    assert any(line.startswith("ok    CRDs") for line in lines)
    assert any(line.startswith("ok    operator") for line in lines)
    assert any(line.startswith("ok    webhook: the serving certificate fits caBundle") for line in lines)
    assert any(line.startswith("fail  injector: no Deployment") for line in lines)


def _writes(kube: Kube) -> list[str]:
    """What the operator wrote, by the audit log."""
    assert kube.audit is not None
    found = []
    for line in kube.audit.read_text(encoding="utf-8").splitlines():
        if AGENT in line and '"ResponseComplete"' in line and '"leases"' not in line:
            verb = line.split('"verb":"')[1].split('"')[0]
            if verb not in ("get", "list", "watch"):
                found.append(line)
    return found
