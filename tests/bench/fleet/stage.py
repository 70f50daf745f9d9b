"""The stage: a real API server with controllers and pretended nodes, the chart's rights, and both of our processes.

Operator and injector are processes of this machine that speak to the API server as the chart's service accounts,
so that every right they have is one that the chart gives.  The API server calls the injector by the name of its
Service, which here is an alias of this machine.
"""

import base64
import json
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

import cluster
from bench.fleet.audit import Audit
from local_cluster.build import binary
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.credentials import connection
from support.injectors import HOME, RELEASE, Running
from support.kube import Kube
from support.operator_process import command, environment
from support.ports import free_port
from support.processes import REPOSITORY, Child
from support.procfs import cpu_seconds, rss_bytes
from support.scrape import Samples, samples

CHART = REPOSITORY / "charts" / "mtls-tunnel"
FAKE_NODES = 5
PATIENCE_SECONDS = 900.0
RUN = ("CustomResourceDefinition", "ServiceAccount", "ConfigMap", "MutatingWebhookConfiguration")
RIGHTS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy")
KINDS = frozenset({*RUN, *RIGHTS, "ValidatingAdmissionPolicyBinding"})
Raw = dict[str, Any]


class Operator:
    """One run of the operator's process."""

    def __init__(self, kubeconfig: Path) -> None:
        self.began = time.perf_counter()
        self._metrics = free_port()
        listens = (f"--health-listen=127.0.0.1:{free_port()}", f"--metrics-listen=127.0.0.1:{self._metrics}")
        words = command("run", "--namespace", HOME, "--name", RELEASE, *listens)
        self.child = Child(words, env=environment(kubeconfig))
        self.child.wait_for_line("operator: working", seconds=PATIENCE_SECONDS)
        self.working_seconds = time.perf_counter() - self.began

    @property
    def pid(self) -> int:
        return self.child.pid

    def samples(self) -> Samples:
        return samples(self._metrics)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it: with SIGTERM it gives its Lease back."""
        self.child.signal(number)
        self.child.wait(60)

    def keep_log(self, path: Path) -> None:
        """Write down what it said."""
        path.write_text("\n".join([*self.child.lines, *self.child.errors]))


class Stage:
    """Everything that runs; `with Stage(folder) as stage`.  *folder* must be one that nobody else uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing = ExitStack()
        self._scratch: Path
        self.kube: Kube
        self.audit: Audit
        self.operator: Operator
        self.injector: Running
        self._accounts: dict[str, Path] = {}
        self._runs = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            made = cluster.up(self._folder, alone=True, controllers=True)
            stack.callback(cluster.down, self._folder)
            cluster.add_fake_nodes(made, FAKE_NODES)
            assert made.audit is not None
            self.kube = Kube(made.kubeconfig, binary("kubectl"), made.audit)
            self.audit = Audit(made.audit)
            self._install()
            stack.callback(self._end)
            self._closing = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and hasattr(self, "operator"):
            error.add_note("\n".join(self.operator.child.output.splitlines()[-20:]))
        self._closing.close()

    def api(self) -> Api:
        """The administrator's way to the API server."""
        return Api(connection({"KUBECONFIG": str(self.kube.kubeconfig)}), user_agent="bench")

    @staticmethod
    def account(part: str) -> str:
        """The user as which `operator` or `injector` asks."""
        return f"system:serviceaccount:{HOME}:{RELEASE}-{part}"

    def start_operator(self) -> Operator:
        """A new process; the old one must have ended."""
        if hasattr(self, "operator"):
            self._keep_log()
        self.operator = Operator(self._kubeconfig("operator"))
        return self.operator

    def start_injector(self) -> None:
        """It is ready when this returns: the operator has made its certificate."""
        self.injector.start()

    def context(self) -> ssl.SSLContext:
        """What the API server verifies the injector with."""
        hook = self.kube.get("mutatingwebhookconfiguration", RELEASE)["webhooks"][0]
        bundle = base64.b64decode(hook["clientConfig"]["caBundle"])
        return ssl.create_default_context(cadata=bundle.decode())

    def metrics(self) -> Samples:
        """The API server's own numbers."""
        return Samples(self.kube("get", "--raw", "/metrics"))

    # From nothing to rights.

    def _install(self) -> None:
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
        self.injector = Running(Path())
        manifests = [self._fitted(one) for one in _rendered() if one["kind"] in KINDS]
        first = [one for one in manifests if one["kind"] == "CustomResourceDefinition"]
        self.kube.apply(*map(json.dumps, first))
        self.kube.apply(*(json.dumps(one) for one in manifests if one not in first))
        alias = {"type": "ExternalName", "externalName": "localhost"}
        metadata = {"name": f"{RELEASE}-injector", "namespace": HOME}
        self.kube.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": alias})
        self.kube("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.injector.kubeconfig = self._kubeconfig("injector")

    def _fitted(self, manifest: Raw) -> Raw:
        """The API server finds the injector on the port that it has here."""
        for hook in manifest.get("webhooks", ()):
            hook["clientConfig"]["service"]["port"] = self.injector.port
        return manifest

    def _kubeconfig(self, part: str) -> Path:
        """One with a token of the chart's service account, as a pod would have."""
        if part not in self._accounts:
            account = f"{RELEASE}-{part}"
            token = self.kube("create", "token", account, "--namespace", HOME, "--duration=24h").strip()
            told = yaml.safe_load(self.kube.kubeconfig.read_text())
            told["users"] = [{"name": account, "user": {"token": token}}]
            told["contexts"][0]["context"]["user"] = account
            self._accounts[part] = self._scratch / part
            self._accounts[part].write_text(yaml.safe_dump(told))
        return self._accounts[part]

    def _end(self) -> None:
        if hasattr(self.injector, "child"):
            self.injector.child.stop()
        if hasattr(self, "operator"):
            self.operator.child.stop()
            self._keep_log()

    def _keep_log(self) -> None:
        self._runs += 1
        self.operator.keep_log(self._folder / f"operator-{self._runs}.log")


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now, and the most it ever was (MB of a million bytes)."""
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return rss_bytes(pid) / 1e6, int(peak.split()[1]) * 1024 / 1e6


def until(done: Callable[[], bool], what: str, alive: Sequence[Child] = (), pause: float = 1.0) -> None:
    """Ask again and again: seldom, because asking costs those who are measured."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not done():
        ended = [child for child in alive if not child.alive]
        if ended or time.monotonic() > give_up:
            raise SystemExit("\n".join([f"it did not come: {what}", *(child.output for child in ended or alive)]))
        time.sleep(pause)


def cpu(child: Child) -> float:
    return cpu_seconds(child.pid)


def _rendered() -> list[Raw]:
    words = [str(binary("helm")), "template", RELEASE, str(CHART), "--namespace", HOME, "--kube-version", "1.35.0"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    made = [one for one in yaml.safe_load_all(text) if one]
    return [one for one in made if "helm.sh/hook" not in (one["metadata"].get("annotations") or {})]
