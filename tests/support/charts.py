"""The chart, rendered by the real Helm: values go in, manifests come out as dicts.

Helm is the one that the cluster tests build; where it cannot be built, the skip says what is missing.
"""

import functools
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from build_image import Failed, Unavailable
from local_cluster.build import binary
from support.processes import REPOSITORY

CHART = REPOSITORY / "charts" / "mtls-tunnel"
RELEASE, NAMESPACE = "mtls-tunnel", "mtls-tunnel-system"
KUBERNETES = "1.35.0"

Values = Mapping[str, Any]
Manifest = dict[str, Any]

# What a values file is chosen for: each of these is rendered, linted and checked against Kubernetes' schemas.
MATRIX: Mapping[str, Values] = {
    "defaults": {},
    "kind": {"operator": {"replicaCount": 1}, "injector": {"replicaCount": 1}, "image": {"pullPolicy": "Never"}},
    "two namespaces": {"rbac": {"scope": "Namespaces", "namespaces": ["shop", "bank"], "secrets": "GetOnly"}},
    "everything on": {
        "rbac": {"certManager": True, "podMonitors": True},
        "monitoring": {
            name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")
        },
        "injector": {"certificate": {"mode": "CertManager"}, "hostNetwork": True},
        "commonLabels": {"team": "platform"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "everything off": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "admissionPolicy": {"enabled": False},
        "priorityClass": {"create": False},
        "hooks": {"waitForInjector": {"enabled": False}, "preDelete": {"enabled": False}},
        "operator": {
            "networkPolicy": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False, "name": "own"},
        },
        "injector": {
            "networkPolicy": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False, "name": "own-too"},
        },
    },
    "a router": {
        "router": {
            "enabled": True,
            "tlsSecretName": "router-tls",
            "routesSecretName": "routes",
            "settings": {"proxy": {"shutdown_timeout": "30s"}},
        }
    },
    "corporate": {
        "global": {"imageRegistry": "registry.corp.example", "imagePullSecrets": ["mirror"]},
        "image": {"digest": f"sha256:{'0' * 64}"},
        "sidecar": {"runAsUser": None, "runAsGroup": None, "allowedImages": ["registry.corp.example/mtls-tunnel@*"]},
        "trustDomain": {"domain": "corp.example", "ca": {"mode": "Secret", "secretName": "corp-ca"}},
        "injector": {
            "certificate": {"mode": "Existing", "secretName": "web", "caBundle": "-----BEGIN CERTIFICATE-----"}
        },
        "operator": {"podDisruptionBudget": {"maxUnavailable": "50%"}},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}, "data": {}}
        ],
    },
    "other names": {
        "fullnameOverride": "guard",
        "namespaceOverride": "elsewhere",
        "trustDomain": {"name": "corp", "ca": {"mode": "CertManager", "issuerRef": {"name": "root"}}},
        "injector": {"certificate": {"mode": "CertManager", "issuerRef": {"name": "web"}}},
    },
}


class Refused(Exception):
    """Helm did not render; the text is what it says."""


def helm() -> str:
    """The path of Helm."""
    return _built("helm")


def kubeconform() -> str:
    """The path of kubeconform."""
    return _built("kubeconform")


def text(values: Values | None = None, *, upgrade: bool = False) -> str:
    """The chart rendered with *values*, as Helm prints it.

    Raises:
        Refused: Helm says no.
    """
    words: list[str | Path] = [helm(), "template", RELEASE, CHART, *(["--is-upgrade"] if upgrade else [])]
    return _run([*words, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", "-"], values or {})


def notes(values: Values | None = None) -> str:
    """What Helm tells after an install; an extra object brings it out, because `helm template` does not show it."""
    bearer = 'apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\ntext: {{ include "mtls-tunnel.notes" . | toJson }}'
    return str(named(render({**(values or {}), "extraObjects": [bearer]}), "Notes")["text"])


def render(values: Values | None = None) -> list[Manifest]:
    """The manifests, hooks included."""
    return [one for one in yaml.load_all(text(values), Loader=yaml.CSafeLoader) if one]


def lint(values: Values) -> str:
    """`helm lint --strict`.  Raises: Refused."""
    return _run([helm(), "lint", "--strict", CHART, "--kube-version", KUBERNETES, "--values", "-"], values)


@functools.cache
def defaults() -> tuple[Manifest, ...]:
    """The manifests of the chart as it is."""
    return tuple(render())


def named(manifests: Iterable[Manifest], kind: str, name: str = "") -> Manifest:
    """The one object of *kind*, and of *name* if there are several."""
    found = [one for one in manifests if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects {kind} {name}"
    return found[0]


def label(manifest: Manifest) -> str:
    """Kind and name, for messages and for comparing."""
    metadata = manifest["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace", NAMESPACE) != NAMESPACE else ""
    return f"{manifest['kind']} {place}{metadata['name']}"


def pod_specs(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The spec of every pod that the manifests lead to."""
    found = {}
    for one in manifests:
        if one["kind"] == "Pod":
            found[label(one)] = one["spec"]
        elif one["kind"] in {"Deployment", "Job"}:
            found[label(one)] = one["spec"]["template"]["spec"]
    return found


def values_at(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for "a.b"."""
    first, _, rest = path.partition(".")
    return {first: values_at(rest, value) if rest else value}


def merged(first: Values, second: Values) -> dict[str, Any]:
    """*second* laid over *first*, as Helm does it with values."""
    made = dict(first)
    for key, value in second.items():
        below = made.get(key)
        made[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return made


def _run(command: Sequence[str | Path], values: Values) -> str:
    done = subprocess.run(command, input=yaml.safe_dump(dict(values)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


@functools.cache
def _built(name: str) -> str:
    try:
        return str(binary(name))
    except (Unavailable, Failed) as lacking:
        pytest.skip(f"{name}: {lacking}")


def previous(folder: Path) -> Path:
    """The chart as of the last change before its latest, in *folder*; the chart itself where there is no history."""
    asked = ["git", "-C", str(REPOSITORY), "log", "--max-count=2", "--format=%H", "--", "charts/mtls-tunnel"]
    commits = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if len(commits) < 2:
        return CHART
    archive = ["git", "-C", str(REPOSITORY), "archive", commits[1], "charts/mtls-tunnel"]
    made = subprocess.run(archive, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=made, check=True)
    return folder / "charts" / "mtls-tunnel"
