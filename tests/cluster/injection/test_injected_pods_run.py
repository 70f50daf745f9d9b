"""Injected pods on a real node, in a `restricted` namespace: what the injector puts together works as a whole.

Everything is made here as the operator would make it; no operator and no webhook is needed.
"""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.desired import objects
from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.desired.places import places_of
from mtls_tunnel_operator.desired.staging import everything_served
from mtls_tunnel_operator.desired.world import Peers
from mtls_tunnel_operator.injection.patch import inject
from mtls_tunnel_operator.injection.sidecar import TOKEN_PATH
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import CaSpec, PrivateKey, Tunnel
from mtls_tunnel_operator.settings import Defaults
from support.kube import Kube
from support.plain_pods import pod, python
from support.processes import Child
from support.tunnel_resources import space, tunnel_raw

TRUST_DOMAIN = "cluster.local"
SERVE = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello through the tunnel")
http.server.HTTPServer(("127.0.0.1", 5432), Answer).serve_forever()
"""
# One try: a sidecar that is not there yet would refuse the connection.
ASK = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:5432/', timeout=20).read().decode())"
LAST_WORDS = f"""
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the first process of a container ignores it else
print("waiting", flush=True)
signal.sigwait([signal.SIGTERM])
time.sleep(2)
{ASK}
"""
HELLO = "hello through the tunnel"


@pytest.fixture
def shop(cluster: Kube, namespace: str) -> Tunnel:
    """A tunnel in *namespace* with its Secrets, ConfigMaps and Service, and the server's pod, ready."""
    made = tunnel_of(tunnel_raw(namespace=namespace, uid="0"))
    now = time.time()
    pair = ca.make_root(CaSpec(), TRUST_DOMAIN, now)
    signer = Signer("default", TRUST_DOMAIN, pair, (pair.certificate,))
    accepted = {client.name: (namespace,) for client in made.clients}
    peers = Peers(TRUST_DOMAIN, spaces=accepted)
    manifests: list[Any] = [objects.service(made, everything_served(made))]
    for place in places_of(made, accepted):
        names = leaf_names(place.part, namespace, place.account, TRUST_DOMAIN, "cluster.local")
        usage: Any = "server" if place.part.client is None else "client"
        issued = leaf.issue(signer, names, 86400, PrivateKey(), usage, now)
        manifests += [
            objects.secret(
                place,
                cert_pem=issued.cert_pem,
                key_pem=issued.key_pem,
                signer=signer,
                issuer_fingerprint=issued.issuer_fingerprint,
                renew_at=now,
            ),
            objects.config_map(place, peers),
        ]
    for manifest in manifests:
        manifest["metadata"].pop("ownerReferences", None)  # the resource itself is not in this cluster
    cluster.apply(*manifests, namespace=namespace)
    return made


def injected(made: Tunnel, image: str, raw: Any, app: str) -> Any:
    raw["metadata"]["labels"]["app"] = app
    where = space(made.key.namespace)
    parts = parts_of(where, raw["metadata"]["labels"], "default", [made])
    result = inject(raw, parts, where, Defaults(sidecar_image=image, sidecar_pull_policy="Never"))
    assert (result.skipped, result.revision != "") == ("", True)
    return result.pod


def test_pain_01_a_job_with_a_sidecar_completes(cluster: Kube, namespace: str, shop: Tunnel, tunnel_image: str) -> None:
    """And its first connection passes: the application starts after the sidecar is ready."""
    server(cluster, shop, tunnel_image)
    job = pod("job", python("job", ASK, tunnel_image), restartPolicy="Never", terminationGracePeriodSeconds=40)
    cluster.apply(injected(shop, tunnel_image, job, "orders-api"), namespace=namespace)

    cluster.wait_phase("job", "Succeeded", namespace)

    assert cluster.logs("job", namespace).strip() == HELLO


def test_pain_04_the_last_words_of_an_application_still_pass(
    cluster: Kube, namespace: str, shop: Tunnel, tunnel_image: str
) -> None:
    server(cluster, shop, tunnel_image)
    polite = pod("polite", python("app", LAST_WORDS, tunnel_image), terminationGracePeriodSeconds=40)
    cluster.apply(injected(shop, tunnel_image, polite, "orders-api"), namespace=namespace)
    cluster.wait_phase("polite", "Running", namespace)

    with Child(cluster.command("logs", "-f", "polite", f"--namespace={namespace}")) as log:
        log.wait_for_line("waiting")
        cluster.delete("pod", "polite", namespace, wait=False)
        log.wait_for_line(HELLO)


def server(cluster: Kube, made: Tunnel, image: str) -> None:
    raw = pod("postgres", python("db", SERVE, image), terminationGracePeriodSeconds=40)
    cluster.apply(injected(made, image, raw, "postgres"), namespace=made.key.namespace)
    cluster.wait_ready(made.key.namespace, "app=postgres")


def test_the_sidecar_runs_without_rights_and_tells_its_state(
    cluster: Kube, namespace: str, shop: Tunnel, tunnel_image: str
) -> None:
    grouped = pod("postgres", python("db", SERVE, tunnel_image), securityContext={"fsGroup": 2000})
    cluster.apply(injected(shop, tunnel_image, grouped, "postgres"), namespace=namespace)
    (ready,) = cluster.wait_ready(namespace, "app=postgres")

    def inside(*command: str) -> str:
        return cluster.exec("postgres", namespace, *command, container="mtls-tunnel")

    assert ready["status"]["initContainerStatuses"][0]["restartCount"] == 0
    assert inside("ls", "-A", TOKEN_PATH) == ""
    assert inside("id", "-u").strip() == "65532"
    with cluster.forwarded("pod/postgres", 15971, namespace) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert json.load(answer) == {"status": "ready"}
        with pytest.raises(urllib.error.HTTPError):  # what is for people inside only
            urllib.request.urlopen(f"http://127.0.0.1:{port}/nowhere")


def test_pain_03_a_classic_container_works_and_exec_finds_the_application(
    cluster: Kube, namespace: str, shop: Tunnel, tunnel_image: str
) -> None:
    classic = tunnel_of(tunnel_raw(namespace=namespace, uid="0", proxy={"injection": "Container"}))
    made = injected(classic, tunnel_image, pod("postgres", python("db", SERVE, tunnel_image)), "postgres")
    assert [one["name"] for one in made["spec"]["containers"]] == ["db", "mtls-tunnel"]

    cluster.apply(made, namespace=namespace)
    cluster.wait_ready(namespace, "app=postgres")

    assert cluster.exec("postgres", namespace, "python", "-c", "print(1)") == "1\n", "the application is the default"
