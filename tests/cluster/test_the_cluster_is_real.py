"""What the other tests of this folder rely on, shown once: pods run, are isolated, found, fed and collected."""

import re
import urllib.request
from typing import Any

from support.kube import RESTRICTED, Kube, forbidden, is_ready, verbs_used
from support.plain_pods import SLEEP, pod, python

# Answers after it has slept a little: what starts after it can see whether it was waited for.
SERVE = """
import http.server, os, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["POD"].encode())
time.sleep(2)
print("serving", flush=True)
http.server.HTTPServer(("", 8080), Answer).serve_forever()
"""
ASK = "import urllib.request; print(urllib.request.urlopen('http://{}', timeout=20).read().decode(), flush=True)"


def test_a_native_sidecar_is_ready_before_the_application_starts(
    cluster: Kube, namespace: str, tunnel_image: str
) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 120}
    sidecar = python("sidecar", SERVE, tunnel_image, restartPolicy="Always", startupProbe=probe)
    application = python("application", f"{ASK.format('127.0.0.1:8080')}; {SLEEP}", tunnel_image)
    cluster.apply(pod("pair", application, initContainers=[sidecar]), namespace=namespace)

    cluster.wait_ready(namespace, "app=pair")

    assert cluster.logs("pair", namespace, "sidecar").startswith("serving\n")
    assert cluster.logs("pair", namespace, "application") == "pair\n"
    status = cluster.get("pod", "pair", namespace)["status"]
    began = [
        status[kind][0]["state"]["running"]["startedAt"] for kind in ("initContainerStatuses", "containerStatuses")
    ]
    assert began == sorted(began)
    assert status["containerStatuses"][0]["restartCount"] == 0
    assert cluster.exec("pair", namespace, "id", "-u", container="application") == "65532\n"


def test_a_restricted_namespace_refuses_a_pod_that_asks_for_rights(
    cluster: Kube, namespace: str, tunnel_image: str
) -> None:
    privileged = python("main", SLEEP, tunnel_image, securityContext={"privileged": True})
    assert 'violates PodSecurity "restricted' in cluster.refusal(pod("greedy", privileged), namespace)


def test_a_changed_secret_reaches_a_running_pod(cluster: Kube, namespace: str, tunnel_image: str) -> None:
    def secret(word: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"}, "stringData": {"word": word}}

    volume = {"name": "word", "projected": {"sources": [{"secret": {"name": "word"}}]}}
    mount = {"name": "word", "mountPath": "/word", "readOnly": True}
    reader = python("main", SLEEP, tunnel_image, volumeMounts=[mount])
    cluster.apply(secret("first"), pod("reader", reader, volumes=[volume]), namespace=namespace)
    cluster.wait_ready(namespace, "app=reader")
    assert cluster.exec("reader", namespace, "cat", "/word/word") == "first"

    cluster.apply(secret("second"), namespace=namespace)

    def arrived() -> bool:
        return cluster.exec("reader", namespace, "cat", "/word/word") == "second"

    cluster.wait(arrived, "the new word in the volume", namespace)


def test_a_service_is_found_by_name_and_leads_to_ready_pods(cluster: Kube, namespace: str, tunnel_image: str) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    server = python("main", SERVE, tunnel_image, readinessProbe=probe)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(pod("web", server), service, namespace=namespace)
    cluster.wait_ready(namespace, "app=web")

    name = f"front.{namespace}.svc.cluster.local"
    asking = {"containers": [python("main", ASK.format(name), tunnel_image)], "restartPolicy": "OnFailure"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "asker"},
        "spec": {"template": {"spec": asking}},
    }
    cluster.apply(job, namespace=namespace)
    cluster.wait_condition("job", "asker", "Complete", namespace)
    assert cluster.logs("job/asker", namespace).splitlines()[-1] == "web"

    with cluster.forwarded("service/front", 80, namespace) as port:
        assert _get(port) == "web"


def test_a_deployment_replaces_a_pod_that_is_gone(cluster: Kube, namespace: str, tunnel_image: str) -> None:
    labels = {"app": "twice"}
    template = {"metadata": {"labels": labels}, "spec": pod("x", python("main", SLEEP, tunnel_image))["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "twice"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    cluster.apply(deployment, namespace=namespace)
    before = {one["metadata"]["name"] for one in cluster.wait_ready(namespace, "app=twice", 2)}
    lost = min(before)
    cluster.delete("pod", lost, namespace)
    after = {one["metadata"]["name"] for one in cluster.wait_ready(namespace, "app=twice", 2)}
    assert len(before & after) == 1
    assert lost not in after

    cluster.delete("deployment", "twice", namespace)
    cluster.wait(lambda: not cluster.items("pods", namespace), "no pod outlives its deployment", namespace)


def test_a_deleted_namespace_takes_everything_along(cluster: Kube, tunnel_image: str) -> None:
    with cluster.namespace(RESTRICTED) as name:
        cluster.apply(pod("last", python("main", SLEEP, tunnel_image)), namespace=name)
        assert [is_ready(one) for one in cluster.wait_ready(name, "app=last")] == [True]
    cluster.wait(lambda: not cluster.get("namespace", name), "the namespace is gone")


def test_the_audit_log_tells_what_an_account_did_and_was_refused(api_server: Kube) -> None:
    """On the API server alone: it starts in seconds, and its rules are the same."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    }
    api_server.apply({**role, "rules": [rule]}, binding)
    user = "system:serviceaccount:default:reader"
    reader = api_server.as_user(user)

    assert reader.items("configmaps", "kube-system") is not None
    assert "forbidden" in reader.try_("get", "secrets").stderr

    def events() -> list[dict[str, Any]]:
        return [event for event in api_server.requests(user) if "resource" in event.get("objectRef", {})]

    # A line is written when the answer has been sent.
    api_server.wait(lambda: len(events()) == 2, "two lines in the audit log")
    assert verbs_used(events()) == {("", "configmaps", "list"), ("", "secrets", "list")}
    assert [re.sub(r"\?.*", "", line) for line in forbidden(events())] == ["list /api/v1/namespaces/default/secrets"]


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30) as answer:
        return str(answer.read().decode())
