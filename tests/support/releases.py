"""A release of the chart that runs in a cluster: who its processes are, and how to be rough with them."""

from dataclasses import dataclass

from support.kube import Kube

RELEASE = "mtls-tunnel"


@dataclass(frozen=True)
class Installed:
    """The release, and where it lives."""

    kube: Kube
    namespace: str

    def account(self, part: str) -> str:
        """The name of the service account of `operator` or `injector`."""
        return f"system:serviceaccount:{self.namespace}:{RELEASE}-{part}"

    def scale(self, part: str, replicas: int) -> None:
        self.kube("scale", f"deployment/{RELEASE}-{part}", f"--replicas={replicas}", "--namespace", self.namespace)

    def pods(self, part: str) -> list[str]:
        found = self.kube.items("pods", self.namespace, f"app.kubernetes.io/component={part}")
        return [pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def leader(self) -> str:
        """The pod that holds the Lease."""
        lease = self.kube.get("lease", f"{RELEASE}-operator", self.namespace)
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]

    def kill(self, pod: str) -> None:
        """As a node that goes away: no time to finish anything."""
        self.kube("delete", "pod", pod, "--namespace", self.namespace, "--grace-period=0", "--force")
