"""The control plane: etcd and the API server, and what moves the objects in them.

Without a node that is all that tests of CRDs, CEL rules, RBAC and admission policies need; the controller
manager is left out then, so nothing fills ServiceAccounts or deletes the contents of namespaces.
"""

import json
import ssl
import urllib.error
import urllib.request

from local_cluster.build import binary
from local_cluster.daemons import Daemons
from local_cluster.place import NODE_ADDRESS, POD_RANGE, SERVICE_RANGE, WIDE_SERVICE_RANGE, Place

# Without RequestReceived each request is one line, written with its outcome.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def start_store(place: Place, daemons: Daemons) -> None:
    """etcd on the loopback, with a fresh folder, and without waiting for the disk: nothing in it outlives the test."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (place.etcd_port, place.etcd_peer_port))
    urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    urls += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    daemons.start("etcd", [binary("etcd"), f"--data-dir={place.state('etcd')}", "--unsafe-no-fsync", *urls])
    daemons.wait("etcd", "its health endpoint", lambda: _answers(f"{client}/health"))


def start_api_server(place: Place, daemons: Daemons, *, node: bool) -> None:
    """The API server with RBAC, an audit log, and every admission plugin of its defaults."""
    policy = place.written("audit-policy.json", json.dumps(AUDIT_POLICY))
    pki = place.pki
    words = [
        f"--etcd-servers=http://127.0.0.1:{place.etcd_port}",
        f"--bind-address={place.address}",
        f"--secure-port={place.api_port}",
        # The loopback is refused here, though with a single API server nobody reads it but the Service `kubernetes`.
        f"--advertise-address={NODE_ADDRESS}",
        f"--service-cluster-ip-range={SERVICE_RANGE if node else WIDE_SERVICE_RANGE}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={place.audit}",
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]
    if node:
        words += [
            # Without a DNS name for the node there are no logs otherwise.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            # Webhooks by Service reach the pod itself, so that they do not wait for kube-proxy.
            "--enable-aggregator-routing=true",
        ]
    else:
        words.append("--endpoint-reconciler-type=none")
    daemons.start("kube-apiserver", [binary("kube-apiserver"), *words])
    daemons.wait("kube-apiserver", "its readiness", lambda: is_ready(place))


def start_controllers(place: Place, daemons: Daemons) -> None:
    """Controller manager and scheduler; with one of each there is no leader to elect, and nobody asks their ports."""
    pki = place.pki
    common = ["--leader-elect=false", "--secure-port=0", "--profiling=false"]
    common += ["--kube-api-qps=500", "--kube-api-burst=1000"]  # the default of 20 a second would be what is measured
    words = [
        f"--kubeconfig={pki}/kube-controller-manager.kubeconfig",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--cluster-cidr={POD_RANGE}",
        *common,
    ]
    daemons.start("kube-controller-manager", [binary("kube-controller-manager"), *words])
    daemons.start(
        "kube-scheduler", [binary("kube-scheduler"), f"--kubeconfig={pki}/kube-scheduler.kubeconfig", *common]
    )
    account = "/api/v1/namespaces/default/serviceaccounts/default"  # without it no pod is admitted
    daemons.wait("kube-controller-manager", "the default service account", lambda: _exists(place, account))


def is_ready(place: Place) -> bool:
    """Whether the API server says so: its hooks have made the default roles and priority classes."""
    try:
        return ask(place, "/readyz") == b"ok"
    except (OSError, ssl.SSLError):
        return False


def _exists(place: Place, path: str) -> bool:
    try:
        return bool(ask(place, path))
    except OSError:
        return False


def ask(place: Place, path: str) -> bytes:
    """GET *path* from the API server, as the administrator.

    Raises:
        OSError: nobody answers, or not with 200.
    """
    context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    context.load_cert_chain(place.pki / "admin.crt", place.pki / "admin.key")
    # No proxy of the environment stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{place.server}{path}", timeout=10) as answer:
        return bytes(answer.read())


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
