"""kopf inside of the operator: no peering with other operators of the cluster, and no admission server of its own.

kopf pauses an operator as soon as a peering object of another one asks for it, and its own admission endpoint
answers before the operator knows anything.  Neither is used; nothing else in the cluster can stop this operator.
"""

from collections.abc import Mapping
from pathlib import Path

from mtls_tunnel_operator.control.watching.handlers import settings_of
from mtls_tunnel_operator.control.watching.resync import Selection
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, Trouble
from support.kube_store import Answer, Store
from support.operators import NAME, OperatorProcess, condition, installed, tunnel
from support.waiting import eventually

MANY = 1000
TUNNEL = Ref("mtlstunnels", "shop", "orders-db")
GROUP = {"groupVersion": "kopf.dev/v1", "version": "v1"}
PEERING = {
    "apiVersion": "kopf.dev/v1",
    "kind": "ClusterKopfPeering",
    "metadata": {"name": "default", "uid": "1", "resourceVersion": "1"},
    "status": {"stranger": {"priority": 1000, "lifetime": 86400, "lastseen": "2100-01-01T00:00:00Z"}},
}


class Crowded(Store):
    """A cluster in which another kopf operator asks all that share the peering `default` to pause."""

    def __init__(self) -> None:
        super().__init__()
        self.peered: list[str] = []  # requests for the peering
        for raw in installed("shop").objects.values():
            self.put(raw)

    def respond(
        self, method: str, path: str, query: Mapping[str, str], content: str, body: bytes, agent: str = ""
    ) -> Answer:
        if path == "/apis/kopf.dev/v1":
            kind = {"name": "clusterkopfpeerings", "kind": "ClusterKopfPeering", "namespaced": False}
            kind |= {"singularName": "clusterkopfpeering", "verbs": ["get", "list", "watch", "patch"]}
            return Answer(200, {"kind": "APIResourceList", "resources": [kind]})
        if path.startswith("/apis/kopf.dev/v1/"):
            self.peered.append(f"{method} {path}")
            listed = {"metadata": {"resourceVersion": "1"}, "items": [PEERING]}
            return Answer(200, PEERING if path.endswith("/default") else listed)
        answer = super().respond(method, path, query, content, body, agent)
        if path == "/apis":
            answer.body["groups"].append({"name": "kopf.dev", "versions": [GROUP], "preferredVersion": GROUP})
        return answer


def test_pain_31_a_peering_of_other_operators_pauses_nobody_here(tmp_path: Path) -> None:
    store = Crowded()
    with ServerThread(store) as server, OperatorProcess(server, tmp_path) as operator:
        eventually(operator.works, "ready")
        eventually(lambda: server.server.watches >= 7, "kopf watches")
        server.call(lambda: store.put(tunnel()))
        eventually(
            lambda: server.call(lambda: condition(store, TUNNEL, "CertificatesReady")) == "True/Issued",
            "certificates are there",
        )
    assert store.peered == []


def test_pain_32_kopf_serves_no_webhook_and_registers_none(tmp_path: Path) -> None:
    settings = settings_of(Selection(webhook=NAME))
    assert (settings.admission.server, settings.admission.managed) == (None, None)

    configurations = Trouble(method="POST|PUT|DELETE", path=r".*webhookconfigurations.*", times=MANY)
    with ServerThread(installed("shop")) as server:
        server.call(lambda: server.server.trouble(configurations))
        with OperatorProcess(server, tmp_path) as operator:
            eventually(operator.works, "ready")
            eventually(lambda: server.server.watches >= 7, "kopf watches")
            assert all("WebhookServer" not in line for line in operator.lines)
        (configuration,) = (one for ref, one in server.store.objects.items() if "webhook" in ref.plural)
    assert configurations.times == MANY
    assert [one["name"] for one in configuration["webhooks"]] == ["inject.mtlstunnel.dev"]
