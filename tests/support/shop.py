"""The workloads of the demo in a namespace of the test's own: a server, a client under constant traffic, strangers.

The files are those of operator/examples/demo, so that what is shown to users is what is tested.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from support.kube import RESTRICTED, Kube
from support.processes import REPOSITORY

EXAMPLES = REPOSITORY / "operator" / "examples" / "demo"
OPTED_IN = {**RESTRICTED, "mtlstunnel.dev/injection": "enabled"}
COUNT = re.compile(r"served=(\d+) failed=(\d+)")


@dataclass(frozen=True)
class Shop:
    """The namespace `name` with everything of shop.yaml and workloads.yaml."""

    kube: Kube
    name: str
    image: str

    def open(self, spec: Callable[[dict[str, Any]], None] = lambda spec: None) -> None:
        """Apply all, with the MtlsTunnel's spec changed by *spec*, and wait for the first answers."""
        self.kube.apply(self.tunnel(spec), *self._documents("workloads.yaml"), namespace=self.name)
        for app in ("orders-db", "orders-api"):
            self.kube.wait_ready(self.name, f"app={app}")
        self.kube.wait_condition("mtt", "orders-db", "Ready", self.name)
        self.more(20)

    def tunnel(self, spec: Callable[[dict[str, Any]], None] = lambda spec: None) -> dict[str, Any]:
        """The MtlsTunnel of the example, changed by *spec*."""
        (found,) = (one for one in self._documents("shop.yaml") if one["kind"] == "MtlsTunnel")
        spec(found["spec"])
        return found

    def client_as(self, kind: str) -> dict[str, Any]:
        """The client as a workload of another *kind*; its pods have the label kind=*kind* besides."""
        (found,) = (
            one
            for one in self._documents("workloads.yaml")
            if one["kind"] == "Deployment" and one["metadata"]["name"] == "orders-api"
        )
        labels = {"app": "orders-api", "kind": kind}
        spec = {"selector": {"matchLabels": labels}, "template": found["spec"]["template"]}
        spec["template"]["metadata"]["labels"] = labels
        if kind == "StatefulSet":
            spec["serviceName"] = "none"
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": kind.lower()}, "spec": spec}

    def stranger(self, namespace: str) -> list[dict[str, Any]]:
        """What stranger.yaml runs in *namespace*, aimed at this shop."""
        made = []
        for one in self._documents("stranger.yaml"):
            text = yaml.safe_dump(one).replace("orders-db.shop.svc", f"orders-db.{self.name}.svc")
            text = text.replace("ns/shop/", f"ns/{self.name}/")
            made.append({**yaml.safe_load(text), "metadata": {**one["metadata"], "namespace": namespace}})
        return made

    def count(self) -> tuple[int, int]:
        """(served, failed) by the client's own count."""
        lines = self.kube("logs", "--namespace", self.name, "deployment/orders-api", "--container=app", "--tail=60")
        found = COUNT.findall(lines)
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def complaints(self) -> str:
        """The failed requests, in the client's words."""
        lines = self.kube("logs", "--namespace", self.name, "deployment/orders-api", "--container=app", "--tail=-1")
        return "\n".join(line for line in lines.splitlines() if line.startswith("failed:"))

    def more(self, answers: int) -> None:
        """Wait for *answers* more."""
        before = self.count()[0]
        self.kube.wait(lambda: self.count()[0] >= before + answers, f"{answers} more answers", self.name)

    def pods(self, app: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.kube.items("pods", self.name, f"app={app}")
            if not pod["metadata"].get("deletionTimestamp")
        ]

    def secret(self, role: str = "server") -> dict[str, Any]:
        return self.kube.get("secret", f"orders-db-mtls-{role}", self.name)

    def restarts(self) -> int:
        """How often a container of these pods, sidecars included, was started again."""
        statuses = [
            status
            for pod in self.kube.items("pods", self.name)
            for kind in ("initContainerStatuses", "containerStatuses")
            for status in pod["status"].get(kind, [])
        ]
        return sum(status["restartCount"] for status in statuses)

    def _documents(self, file: str) -> list[dict[str, Any]]:
        """The objects of a file but its namespaces, which the test has made."""
        text = (EXAMPLES / file).read_text(encoding="utf-8").replace("${IMAGE}", self.image)
        found = [one for one in yaml.safe_load_all(text) if one["kind"] != "Namespace"]
        for one in found:
            one["metadata"].pop("namespace", None)
        return found


def annotations(thing: Mapping[str, Any]) -> dict[str, str]:
    return dict(thing.get("metadata", {}).get("annotations", {}))
