"""Where a cluster keeps what: one folder for everything that it writes, and the addresses that it uses.

    FOLDER/kubeconfig      for users: group system:masters
    FOLDER/audit.log       every request to the API server, at level Metadata
    FOLDER/logs/NAME.log   what each program says
    FOLDER/pids/NAME       what was started and has not been ended
    FOLDER/pki ... state   keys, settings, etcd, container roots: made anew by each `up`

A full node has an address of its own, so its well-known ports are nobody else's.
An API server alone listens on a free port of the loopback: any number of them run side by side.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from build_image import CACHE

NODE = "node"  # the one node's name
INTERFACE = "lo"  # every machine has it; not every kernel knows the type `dummy`
NODE_ADDRESS = "10.243.0.1"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.0.0.0/24"
WIDE_SERVICE_RANGE = "10.0.0.0/20"  # of an API server alone: thousands of Services, and nobody routes to them
SERVICE_ADDRESS = "10.0.0.1"  # Service kubernetes.default
DNS_ADDRESS = "10.0.0.10"
DOMAIN = "cluster.local"


def chosen_folder(named: str | None, *, alone: bool) -> Path:
    """The folder asked for, by argument or environment; else one in the cache, another for an API server alone."""
    name = named or os.environ.get("MTLS_TUNNEL_CLUSTER")
    return Path(name).absolute() if name else CACHE / ("apiserver" if alone else "cluster")


@dataclass(frozen=True)
class Place:
    """The folder and the addresses of one cluster."""

    folder: Path
    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.log"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "state" / "containerd.sock"

    def state(self, name: str) -> Path:
        """A folder for one program's own files."""
        path = self.folder / "state" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def written(self, name: str, text: str) -> Path:
        """A settings file with *text*, readable by its owner only."""
        path = self.folder / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path
