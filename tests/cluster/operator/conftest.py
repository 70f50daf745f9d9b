"""One release of the chart for the scenarios of this folder, installed once, with waits of seconds for a rotation."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml

from support import charts
from support.kube import RESTRICTED, Kube
from support.processes import REPOSITORY
from support.releases import RELEASE, Installed
from support.shop import OPTED_IN, Shop

PROPAGATION_SECONDS = 15  # the cluster's kubelet looks at mounted Secrets every 5 s


@pytest.fixture(scope="session")
def installed(
    cluster: Kube, operator_image: str, tunnel_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
        cluster.apply(file)
    # Of an earlier release whose namespace, and with it the CA's key, is gone.
    cluster.delete("mtlstrustdomain", "default")
    with cluster.namespace(RESTRICTED) as home:
        values = {
            "image": _image(operator_image),
            "sidecar": {"image": _image(tunnel_image)},
            "crds": {"enabled": False},  # another release may have brought them
            "trustDomain": {"spec": {"rotation": {"propagationSeconds": PROPAGATION_SECONDS, "issuingSeconds": 0}}},
        }
        file = tmp_path_factory.mktemp("helm") / "values.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        _helm(cluster, home, "install", RELEASE, str(charts.CHART), "--values", str(file), "--wait", "--timeout=5m")
        yield Installed(cluster, home)
        cluster("delete", "mtlstunnels", "--all", "--all-namespaces")
        _helm(cluster, home, "uninstall", RELEASE, "--wait", "--timeout=5m")
        cluster.delete("mtlstrustdomain", "default")


@pytest.fixture
def new_shop(installed: Installed, tunnel_image: str, new_namespace: Callable[..., str]) -> Callable[[], Shop]:
    """Makes a namespace that has opted in, for the workloads of the demo."""
    return lambda: Shop(installed.kube, new_namespace(OPTED_IN), tunnel_image)


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "Never"}


def _helm(kube: Kube, namespace: str, *words: str) -> None:
    done = subprocess.run(
        [charts.helm(), *words, "--namespace", namespace],
        env={**os.environ, "KUBECONFIG": str(kube.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{kube.story(namespace)}"
