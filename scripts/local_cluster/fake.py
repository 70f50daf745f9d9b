"""Nodes without a machine, for measurements of scale: kwok says of each pod there that it runs.

Such a pod must ask for them (`PLACEMENT`), so that on a whole cluster nothing else ends up there.  How a pod
becomes ready and goes away is told by kwok's own stages, taken from the module that it was built from.
"""

import json
from typing import Any

from local_cluster.build import binary, module_folder
from local_cluster.daemons import Daemons
from local_cluster.place import Place
from local_cluster.plane import ask
from local_cluster.system import apply

MARK = "kwok.x-k8s.io/node"
PLACEMENT: dict[str, Any] = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": MARK, "operator": "Exists", "effect": "NoSchedule"}],
}
STAGES = ("node/fast/node-initialize.yaml", *(f"pod/fast/pod-{name}.yaml" for name in ("ready", "complete", "delete")))


def start_fake_nodes(place: Place, daemons: Daemons, count: int) -> None:
    """Have *count* of them ready; more may be asked for later."""
    if not daemons.running("kwok"):
        folder = module_folder("kwok", "sigs.k8s.io/kwok") / "kustomize" / "stage"
        stages = place.written("stages.yaml", "\n---\n".join((folder / name).read_text() for name in STAGES))
        words = [f"--kubeconfig={place.kubeconfig}", f"--config={stages}", "--manage-all-nodes=false"]
        words += [f"--manage-nodes-with-annotation-selector={MARK}=fake", "--node-lease-duration-seconds=40"]
        daemons.start("kwok", [binary("kwok"), *words])
    apply(place, [_node(number) for number in range(count)])
    daemons.wait("kwok", f"{count} ready nodes", lambda: _ready(place) >= count)


def _node(number: int) -> dict[str, Any]:
    name = f"fake-{number}"
    labels = {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    taint = {"key": MARK, "value": "fake", "effect": "NoSchedule"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {MARK: "fake"}},
        "spec": {"taints": [taint]},
    }


def _ready(place: Place) -> int:
    nodes = json.loads(ask(place, "/api/v1/nodes?labelSelector=type%3Dkwok"))["items"]
    states = [known for node in nodes for known in node["status"].get("conditions", []) if known["type"] == "Ready"]
    return sum(known["status"] == "True" for known in states)
