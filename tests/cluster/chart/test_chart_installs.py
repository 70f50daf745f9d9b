"""A whole life of a release on a real cluster: install, hooks, `helm test`, a pod, upgrade, uninstall.

The release keeps to itself - names, trust domain, namespaces of its own - so that it may share a cluster with
others.  So the kinds are not its own either: that a release brings and keeps them is seen in
test_chart_is_accepted.py.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import charts
from support.kube import Kube, forbidden
from support.processes import REPOSITORY

RELEASE = f"life-{os.getpid()}"  # of its own, should an earlier run have left something behind
MARK = {"chart-life": RELEASE}
TUNNEL: dict[str, Any] = {
    "apiVersion": "mtlstunnel.dev/v1alpha1",
    "kind": "MtlsTunnel",
    "metadata": {"name": "db"},
    "spec": {
        "server": {
            "workload": {"selector": {"matchLabels": {"app": "db"}}},
            "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
        }
    },
}


class Release:
    """Helm, aimed at one release."""

    def __init__(self, kube: Kube, namespace: str, values: charts.Values) -> None:
        self.kube = kube
        self.namespace = namespace
        self.values = values

    def __call__(self, *words: str) -> str:
        command = [charts.helm(), *words, "--namespace", self.namespace]
        done = subprocess.run(
            command,
            env={**os.environ, "KUBECONFIG": str(self.kube.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stderr}\n{self.kube.story(self.namespace)}"
        return done.stdout

    def install(self, more: charts.Values | None = None, chart: Path = charts.CHART) -> None:
        """Install or upgrade, hooks and all."""
        file = self.kube.kubeconfig.with_name(f"{RELEASE}-values.yaml")
        file.write_text(yaml.safe_dump(charts.merged(self.values, more or {})), encoding="utf-8")
        self("upgrade", "--install", RELEASE, str(chart), "--values", str(file), "--wait", "--timeout", "5m")

    def account(self, part: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{RELEASE}-{part}"


def image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "Never"}


@pytest.fixture
def release(cluster: Kube, operator_image: str, tunnel_image: str) -> Iterator[Release]:
    with (
        cluster.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as home,
        cluster.namespace(MARK) as app,
    ):
        cluster.try_("label", "namespace", app, "mtlstunnel.dev/injection=enabled")
        for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
            if not cluster.get("crd", f"{file.stem}.mtlstunnel.dev"):
                cluster.apply(file)
        values = {
            "fullnameOverride": RELEASE,
            "image": image(operator_image),
            "sidecar": {"image": image(tunnel_image)},
            "crds": {"enabled": False},
            "rbac": {"scope": "Namespaces", "namespaces": [app], "aggregateClusterRoles": False},
            "trustDomain": {"name": RELEASE},
            "injector": {"namespaceSelector": {"matchLabels": MARK}, "failurePolicy": "Ignore"},
        }
        made = Release(cluster, home, values)
        yield made
        made("uninstall", RELEASE, "--no-hooks", "--ignore-not-found")
        made.kube.delete("mtlstrustdomains", RELEASE, wait=False)


def test_a_release_lives_and_leaves(release: Release, tmp_path: Path) -> None:
    kube, home = release.kube, release.namespace
    (app,) = release.values["rbac"]["namespaces"]

    # It returns only when the injector answers as the API server wants.
    release.install(chart=charts.previous(tmp_path))
    assert kube.items("jobs", home) == []
    release.install()
    said = release("test", RELEASE, "--timeout", "2m")
    assert "Succeeded" in said

    kube.apply(TUNNEL, namespace=app)
    kube.wait(lambda: kube.get("secret", "db-mtls-server", app), "the certificate is there", app)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "db-", "labels": {"app": "db"}},
        "spec": {"containers": [{"name": "db", "image": "db"}]},
    }
    made = kube.wait(lambda: _injected(kube.create(pod, app, dry_run=True)), "new pods get the sidecar", app)
    assert made["image"] == f"{release.values['sidecar']['image']['repository']}:cluster"

    release.install({"log": {"level": "debug"}, "operator": {"replicaCount": 1}})
    deployment = kube.get("deployment", f"{RELEASE}-operator", home)
    assert deployment["status"]["readyReplicas"] == 1
    assert kube.get("mtlstrustdomain", RELEASE)["spec"]["ca"]["type"] == "SelfSigned"

    if kube.audit:
        assert {part: _forbidden(release, part) for part in ("operator", "injector")} == {
            "operator": [],
            "injector": [],
        }

    release("uninstall", RELEASE, "--wait", "--timeout", "5m")

    assert kube.get("mutatingwebhookconfiguration", RELEASE) == {}
    kube.wait(lambda: kube.items("pods", home) == [], "nothing runs any more", home)
    assert kube.get("secret", f"{RELEASE}-ca-1", home), "the CA's key stays"
    assert kube.get("secret", "db-mtls-server", app), "certificates stay"
    assert kube.get("crd", "mtlstunnels.mtlstunnel.dev")
    assert not _injected(kube.create(pod, app, dry_run=True)), "no pod waits for an injector that is gone"

    kube.delete("namespace", app)  # pain 29: it must not hang
    assert kube.get("namespace", app) == {}


def _injected(pod: dict[str, Any]) -> dict[str, Any]:
    containers = pod["spec"].get("initContainers", [])
    return next((one for one in containers if one["name"] == "mtls-tunnel"), {})


def _forbidden(release: Release, part: str) -> list[str]:
    """What RBAC refused; trust domains of other releases are seen, and their Secrets are rightly out of reach."""
    found = forbidden(release.kube.requests(release.account(part)))
    return [one for one in found if not re.search(rf"/(?!{RELEASE}-)[^/]+-(ca-\w+|bundle)(\?|$)", one)]
