"""The injector as a process, asked by a real API server: what it answers is valid where it counts.

Nothing runs here; the API server validates, defaults, admits and calls other webhooks as in any cluster.
"""

import base64
import http.server
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_tunnel.trust.pki import Credential
from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection.sidecar import TOKEN_PATH
from support.crds import DOMAINS, TUNNELS
from support.injectors import HOME, RELEASE, Running, defaults_map, serving_secret
from support.kube import RESTRICTED, Kube, Refused
from support.ports import free_port
from support.raw_pods import container
from support.tunnel_resources import tunnel_raw

SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def kube(api_server: Kube) -> Kube:
    for file in (TUNNELS, DOMAINS):
        api_server.apply(file.read_text(encoding="utf-8"))
    for name in (names.TUNNELS, names.DOMAINS):
        api_server("wait", "--for=condition=Established", f"crd/{name}.{names.GROUP}", "--timeout=30s")
    api_server.wait(lambda: api_server("get", "mtlstunnels", "-A") is not None, "the kind is served")
    return api_server


@pytest.fixture(scope="module")
def injector(kube: Kube) -> Iterator[Running]:
    running = Running(kube.kubeconfig)
    kube.apply(_namespace(HOME), defaults_map(), serving_secret(running.certificate()))
    running.start()
    with running.child:
        kube.apply(webhook(RELEASE, running.port, running.authority.pem))
        yield running
        kube.delete("mutatingwebhookconfiguration", RELEASE)


@pytest.fixture
def shop(kube: Kube, injector: Running, request: pytest.FixtureRequest) -> str:
    """A namespace that has opted in and is `restricted`, with a tunnel that the injector knows."""
    name = f"shop-{abs(hash(request.node.name)) % 10**8}"
    labels = {names.INJECTION_LABEL: names.ENABLED, **RESTRICTED}
    kube.apply(_namespace(name, labels), _account(name), tunnel_raw(namespace=name))
    kube.wait(lambda: "patch" in injector.review(pod("db"), name), "the injector knows the tunnel", name)
    return name


def test_an_injected_pod_is_valid_and_restricted(kube: Kube, shop: str) -> None:
    made = kube.create(pod("db"), shop)

    first = made["spec"]["initContainers"][0]
    assert (first["name"], first["restartPolicy"]) == ("mtls-tunnel", "Always")
    assert made["metadata"]["labels"]["server.mtlstunnel.dev/orders-db"] == "true"


def test_the_sidecar_has_no_token_of_the_application(kube: Kube, shop: str) -> None:
    made = kube.create(pod("db"), shop)

    mounted = {
        one: {mount["mountPath"]: mount["name"] for mount in container(made, one)["volumeMounts"]}
        for one in ("mtls-tunnel", "app")
    }
    assert mounted["mtls-tunnel"][TOKEN_PATH] == "mtls-tunnel-no-token"
    assert mounted["app"][TOKEN_PATH].startswith("kube-api-access-")


def test_every_mode_and_role_is_valid(kube: Kube, shop: str) -> None:
    classic = tunnel_raw("classic", shop, proxy={"injection": "Container"})
    classic["spec"]["server"]["workload"]["selector"] = {"matchLabels": {"app": "classic"}}
    client = {"name": "api", "selector": {"matchLabels": {"app": "orders-api"}}}
    classic["spec"]["clients"] = [{**client, "listeners": [{"port": "pg", "localPort": 5999}]}]
    kube.apply(classic)

    def parts_of(app: str) -> Any:
        return kube.create(pod("x", app), shop)["metadata"].get("annotations", {}).get(names.TUNNELS_ANNOTATION)

    kube.wait(lambda: parts_of("orders-api") == f"{shop}/classic,{shop}/orders-db", "both are known", shop)
    made = kube.create(pod("x", "classic"), shop)
    assert [one["name"] for one in made["spec"]["containers"]] == ["app", "mtls-tunnel"]


def test_what_is_injected_offline_is_accepted_as_it_is(kube: Kube, shop: str) -> None:
    """The object that the API server made, created once more: the sidecar is there once, and the same."""
    made = kube.create(pod("db"), shop)
    again = {"apiVersion": "v1", "kind": "Pod", "spec": made["spec"]}
    again["metadata"] = {key: made["metadata"][key] for key in ("labels", "annotations")} | {"generateName": "again-"}

    second = kube.create(again, shop)

    assert container(second) == container(made)
    ours = [
        [volume for volume in one["spec"]["volumes"] if volume["name"].startswith("mtls-tunnel-")]
        for one in (made, second)
    ]
    assert ours[0] == ours[1]


@pytest.mark.parametrize("stated", [("requests",), ("limits",), ("requests", "limits")], ids="+".join)
def test_a_pod_with_resources_of_its_own_stays_valid(kube: Kube, shop: str, stated: tuple[str, ...]) -> None:
    """Its container asks for all that the pod has; where the pod states only limits, requests come from there."""
    budget = {"cpu": "100m", "memory": "64Mi"}
    full = pod("db")
    full["spec"]["resources"] = dict.fromkeys(stated, budget)
    full["spec"]["containers"][0]["resources"] = {"requests": budget}

    made = kube.create(full, shop)

    assert container(made).get("resources", {}) == {}
    assert made["spec"]["resources"]["requests"] == budget


def test_what_a_limit_range_gives_to_containers_does_not_break_the_budget_of_the_pod(kube: Kube, shop: str) -> None:
    """LimitRanger fills in the sidecar too; the injector is asked again and takes it out."""
    amounts = {"cpu": "100m", "memory": "64Mi"}
    limits = [{"type": "Container", "defaultRequest": amounts}]
    metadata = {"name": "defaults", "namespace": shop}
    kube.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}})
    full = pod("db")
    full["spec"]["resources"] = {"requests": amounts}

    def requests_of(one: str) -> Any:
        return container(kube.create(full, shop), one).get("resources", {}).get("requests")

    kube.wait(lambda: requests_of("app") == amounts, "the limit range is known", shop)
    assert requests_of("mtls-tunnel") is None


def test_a_warning_reaches_whoever_creates_the_pod(kube: Kube, shop: str) -> None:
    words = ["create", f"--namespace={shop}", "-f", "-"]
    told = kube.try_(*words, text=json.dumps(pod("db", ports=[{"containerPort": 15432}])))

    assert told.returncode == 0
    assert "Warning: mtls-tunnel: not injected: port 15432 is wanted by" in told.stderr


def test_a_pod_that_must_be_injected_is_refused_with_the_remedy(kube: Kube, shop: str) -> None:
    required = pod("web", "web")
    required["metadata"]["labels"][names.INJECT_LABEL] = "true"

    with pytest.raises(
        Refused, match=r"mtls-tunnel: label .* requires the sidecar, but no MtlsTunnel selects this pod"
    ):
        kube.create(required, shop)


def test_pain_25_a_webhook_that_runs_later_and_puts_itself_first_does_not_stay_first(
    kube: Kube, shop: str, injector: Running
) -> None:
    with other_webhook(injector) as port:
        kube.apply(webhook("zz-mesh", port, injector.authority.pem, reinvocation="Never"))
        try:
            kube.wait(
                lambda: (
                    [one["name"] for one in kube.create(pod("db"), shop)["spec"]["initContainers"]]
                    == ["mtls-tunnel", "mesh-init"]
                ),
                "the sidecar is first again",
                shop,
            )
        finally:
            kube.delete("mutatingwebhookconfiguration", "zz-mesh")


def test_pain_26_tunnel_namespace_and_pod_may_come_in_one_request(kube: Kube, injector: Running) -> None:
    """The pod is faster than the watches: a live look finds the tunnel, or the pod would be refused."""
    name = "all-at-once"
    kube.apply(_namespace(name, {names.INJECTION_LABEL: names.ENABLED}), _account(name))
    required = pod("db")
    required["metadata"] |= {"namespace": name, "name": "db"}
    del required["metadata"]["generateName"]
    required["metadata"]["labels"][names.INJECT_LABEL] = "true"

    kube.apply(tunnel_raw(namespace=name), required)

    assert container(kube.get("pod", "db", name))["name"] == "mtls-tunnel"


def pod(name: str, app: str = "postgres", ports: Any = ()) -> dict[str, Any]:
    one = {"name": "app", "image": "app", "securityContext": SAFE, "ports": list(ports)}
    metadata = {"generateName": f"{name}-", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [one]}}


def webhook(name: str, port: int, bundle: bytes, reinvocation: str = "IfNeeded") -> dict[str, Any]:
    """What the chart installs, with an address on this machine."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": f"{name}.{names.GROUP}",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 5,
                "reinvocationPolicy": reinvocation,
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/mutate",
                    "caBundle": base64.b64encode(bundle).decode(),
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
                "namespaceSelector": {"matchLabels": {names.INJECTION_LABEL: names.ENABLED}},
            }
        ],
    }


@contextmanager
def other_webhook(injector: Running) -> Iterator[int]:
    """Puts an init container before all others, as a mesh does."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            first = {"name": "mesh-init", "image": "mesh", "securityContext": SAFE}
            there = any(one["name"] == "mesh-init" for one in request["object"]["spec"].get("initContainers", []))
            op = {"op": "add", "path": "/spec/initContainers/0", "value": first}
            patch = base64.b64encode(json.dumps([] if there else [op]).encode()).decode()
            response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
            body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, injector.certificate())
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder, "both.pem")
        both.write_bytes(credential.key_pem + credential.cert_pem)
        context.load_cert_chain(both)


def _namespace(name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def _account(namespace: str) -> dict[str, Any]:
    """No controller makes it here."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
