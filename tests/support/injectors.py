"""The injector as a real process, beside an API server of ours; and what the API server would ask it.

with Injector(tmp_path) as injector:              # waits until it is ready
    injector.store.put(tunnel_raw())              # by way of injector.change(...)
    response = injector.review(raw_pod())         # over TLS, verified
"""

import base64
import http.client
import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mtls_tunnel.trust.pki import Credential
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, cluster
from support.kube_store import Store
from support.pki import Authority
from support.ports import free_port
from support.processes import REPOSITORY, Child
from support.raw_pods import DEFAULTS, admission_review
from support.waiting import DEADLINE_SECONDS, eventually

T = TypeVar("T")
Raw = dict[str, Any]

RELEASE, HOME = "mtls-tunnel", "mtls-tunnel-system"
SERVICE = f"{RELEASE}-injector.{HOME}.svc"


def defaults_map(**entries: str) -> Raw:
    """The ConfigMap that the chart makes."""
    metadata = {"name": f"{RELEASE}-defaults", "namespace": HOME}
    content = {"sidecarImage": DEFAULTS.sidecar_image, **entries}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}


def serving_secret(credential: Credential) -> Raw:
    """The Secret that the operator makes for the injector."""
    content = {"tls.crt": credential.cert_pem, "tls.key": credential.key_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": f"{RELEASE}-webhook-tls", "namespace": HOME},
        "data": {key: base64.b64encode(text).decode() for key, text in content.items()},
    }


class Running:
    """One injector process against any API server.  `authority` is the webhook's CA."""

    def __init__(self, kubeconfig: Path, *flags: str) -> None:
        self.kubeconfig = kubeconfig
        self.authority = Authority("Webhook CA")
        self.port, self.health, self.metrics = free_port(), free_port(), free_port()
        self.environ: dict[str, str] = {}  # more of it
        self._flags = flags
        self.child: Child

    def start(self, *, ready: bool = True) -> None:
        """Start the process (again) and wait until it is *ready*, or listens at least."""
        self.child = self.another()
        self.child.wait_for_line("injector listening")
        if ready:
            eventually(lambda: self.readiness()[0] == 200, "the injector is ready")

    def another(self) -> Child:
        """A process of the same command line; whoever starts it ends it."""
        flags = [f"--listen=127.0.0.1:{self.port}", f"--health-listen=127.0.0.1:{self.health}"]
        flags += [f"--metrics-listen=127.0.0.1:{self.metrics}", "--drain-seconds=0.2", *self._flags]
        environ = {
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": ":".join(str(REPOSITORY / part) for part in ("operator", "tunnel")),
            **self.environ,
        }
        command = [sys.executable, "-c", "import sys; from mtls_tunnel_operator.app.cli import main; sys.exit(main())"]
        return Child([*command, "injector", "--namespace", HOME, "--name", RELEASE, *flags], env=environ)

    def certificate(self, days: float = 30, **options: Any) -> Credential:
        """A serving certificate of the webhook's CA."""
        return self.authority.leaf("injector", dns=(SERVICE,), ip=("127.0.0.1",), client=False, days=days, **options)

    def context(self) -> ssl.SSLContext:
        """What the API server verifies with: the caBundle."""
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    def connect(self, context: ssl.SSLContext | None = None, seconds: float = DEADLINE_SECONDS) -> "Caller":
        """A connection of the API server."""
        return Caller(self.port, context or self.context(), seconds)

    def review(self, pod: Any, namespace: str = "shop", **request: Any) -> Raw:
        """Ask about *pod* on a connection of its own; the `response` of the answer."""
        with self.connect() as caller:
            return caller.review(pod, namespace, **request)

    def readiness(self) -> tuple[int, str]:
        return self._get(self.health, "/readyz")

    def scrape(self) -> str:
        return self._get(self.metrics, "/metrics")[1]

    def _get(self, port: int, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


class Injector(Running):
    """Owns an API server in a thread and one injector process."""

    def __init__(self, folder: Path, store: Store | None = None, *flags: str) -> None:
        self.store = store if store is not None else cluster("shop")
        self.api = ServerThread(self.store)
        self._folder = folder
        super().__init__(folder / "kubeconfig", *flags)

    def __enter__(self) -> Self:
        self.store.put(defaults_map())
        self.store.put(serving_secret(self.certificate()))
        self.api.__enter__()
        self.kubeconfig = self.api.kubeconfig(self._folder)
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.child.__exit__(kind, error, None)
        self.api.__exit__()

    def change(self, action: Callable[[Store], T]) -> T:
        """Change the cluster."""
        return self.api.call(lambda: action(self.store))

    def put(self, manifest: Raw) -> None:
        """`kubectl replace --force`."""
        self.change(lambda store: store.put(manifest))

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """`kubectl delete`."""
        self.change(lambda store: store.remove(Ref(plural, namespace, name)))


class Caller(http.client.HTTPSConnection):
    """Speaks to the loopback and verifies the name of the Service."""

    def __init__(self, port: int, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__("127.0.0.1", port, timeout=seconds, context=context)
        self._verify = context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._verify.wrap_socket(self.sock, server_hostname=SERVICE)

    def post(self, body: bytes, path: str = "/mutate", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Send *body*; status and answer."""
        self.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        response = self.getresponse()
        return response.status, response.read()

    def review(self, pod: Any, namespace: str = "shop", **request: Any) -> Raw:
        """Ask about *pod*; the `response` of the answer, whose uid is checked."""
        status, body = self.post(json.dumps(admission_review(pod, namespace, **request)).encode())
        assert status == 200, (status, body)
        response = json.loads(body)["response"]
        assert response["uid"] == request.get("uid", "u-1")
        return dict(response)
