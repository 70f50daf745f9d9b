"""The image of operator and injector, asked from inside a hardened pod of a restricted namespace."""

import json

from support.kube import Kube
from support.plain_pods import pod, python

LOOK = """
import importlib.util, json, os, sys
import kopf, mtls_tunnel_operator.app.cli
modules = list(sys.modules.values())
print(json.dumps({
    "installers": [n for n in ("pip", "ensurepip", "setuptools", "hatchling") if importlib.util.find_spec(n)],
    "uncompiled": [m.__name__ for m in modules if getattr(m, "__cached__", None) and not os.path.exists(m.__cached__)],
    "programs": sorted(n for n in os.listdir(os.path.dirname(sys.executable)) if not n.startswith("python")),
    "user": os.getuid(),
    "imports from where it starts": "" in sys.path,
}))
"""
EXPECTED = {
    "installers": [],
    "uncompiled": [],
    "programs": ["tunnel-operator"],
    "user": 65532,  # the group is the pod's business: some runtimes take only the user from an image
    "imports from where it starts": False,
}


def test_it_holds_only_what_runs(cluster: Kube, namespace: str, operator_image: str) -> None:
    cluster.apply(pod("look", python("main", LOOK, operator_image), restartPolicy="Never"), namespace=namespace)
    cluster.wait_phase("look", "Succeeded", namespace)
    assert json.loads(cluster.logs("look", namespace)) == EXPECTED


def test_it_starts_as_the_operator(cluster: Kube, namespace: str, operator_image: str) -> None:
    container = python("main", "", operator_image)
    del container["command"]
    cluster.apply(pod("start", {**container, "args": ["version"]}, restartPolicy="Never"), namespace=namespace)
    cluster.wait_phase("start", "Succeeded", namespace)
    assert cluster.logs("start", namespace).startswith("tunnel-operator ")
