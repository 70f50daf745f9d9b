"""Kubernetes' own description of its kinds becomes one file of JSON Schemas for the chart's tests.

    python scripts/kube_schemas.py          writes tests/support/kube_schemas.json

Each release's OpenAPI document comes out of its Go module, and so do the CustomResourceDefinitions of the
Prometheus Operator and of cert-manager: through Go's module proxy, with its checksums.  Kept is what the
chart's kinds lead to, without descriptions; what several releases share is stored once.  Fields that a
release does not know are refused, as `kubectl apply --validate=strict` would.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "tests" / "support" / "kube_schemas.json"
RELEASES = ("v1.30.14", "v1.31.14", "v1.32.13", "v1.33.13", "v1.34.4", "v1.35.4", "v1.36.3")
KINDS = {
    "v1": ("ConfigMap", "Pod", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment",),
    "batch/v1": ("Job",),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    "admissionregistration.k8s.io/v1": (
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ),
    "apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
}
OTHERS = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "github.com/cert-manager/cert-manager@v1.21.2": (
        "deploy/crds/cert-manager.io_certificates.yaml",
        "deploy/crds/cert-manager.io_issuers.yaml",
    ),
}
_KEPT = (
    "type",
    "format",
    "pattern",
    "enum",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
Schema = dict[str, Any]


def module(name: str) -> Path:
    """The folder of a Go module, fetched if need be."""
    said = subprocess.run(
        ["go", "mod", "download", "-json", name], cwd="/", capture_output=True, text=True, check=False
    )
    found = json.loads(said.stdout or "{}")
    if "Dir" not in found:
        raise SystemExit(f"{name}: {found.get('Error') or said.stderr.strip()}")
    return Path(found["Dir"])


def closed(node: Schema) -> Schema:
    """*node* without what only people read, and with every known set of fields closed."""
    made: Schema = {key: node[key] for key in _KEPT if key in node}
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if node.get("x-kubernetes-int-or-string") or made.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if node.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    if "items" in node:
        made["items"] = closed(node["items"])
    if "properties" in node:
        made["properties"] = {key: closed(value) for key, value in node["properties"].items()}
        made["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields", False))
    elif isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = closed(node["additionalProperties"])
    return made


def release(version: str) -> dict[str, Schema]:
    """The definitions of a release that the kinds lead to."""
    document = module(f"k8s.io/kubernetes@{version}") / "api" / "openapi-spec" / "swagger.json"
    definitions = json.loads(document.read_text(encoding="utf-8"))["definitions"]
    wanted = {name: node for name, node in definitions.items() if _identity(node) in _wanted()}
    if len(wanted) != len(_wanted()):
        raise SystemExit(f"{version} does not know {_wanted() - {_identity(node) for node in wanted.values()}}")
    found: dict[str, Schema] = {}
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = closed(definitions[name])
            todo += _references(found[name])
    quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity"
    found[quantity] = {"type": ["string", "number"]}
    for name, node in wanted.items():
        found[name]["required"] = sorted({*found[name].get("required", ()), "apiVersion", "kind", "metadata"})
        found[name]["x-identity"] = "/".join(_identity(node))
    return found


def custom(path: Path) -> dict[str, Schema]:
    """The schemas of a CustomResourceDefinition, by group/version/kind."""
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    found = {}
    for version in spec["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        found[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    return found


def shared(releases: dict[str, dict[str, Schema]]) -> dict[str, list[Schema]]:
    """By name the different forms of a definition, each with the releases that have it."""
    made: dict[str, list[Schema]] = {}
    for version, definitions in releases.items():
        for name, schema in sorted(definitions.items()):
            forms = made.setdefault(name, [])
            for form in forms:
                if form["schema"] == schema:
                    form["releases"].append(version)
                    break
            else:
                forms.append({"releases": [version], "schema": schema})
    return dict(sorted(made.items()))


def _identity(node: Schema) -> tuple[str, str]:
    groups = node.get("x-kubernetes-group-version-kind", [])
    if len(groups) != 1:
        return "", ""
    one = groups[0]
    return "/".join(filter(None, (one["group"], one["version"]))), one["kind"]


def _wanted() -> set[tuple[str, str]]:
    return {(version, kind) for version, kinds in KINDS.items() for kind in kinds}


def _references(node: object) -> Iterable[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)


def main() -> int:
    releases = {version.removeprefix("v"): release(version) for version in RELEASES}
    others: dict[str, Schema] = {}
    for name, paths in OTHERS.items():
        for path in paths:
            others |= custom(module(name) / path)
    whole = {
        "made": "by scripts/kube_schemas.py from k8s.io/kubernetes and: " + ", ".join(OTHERS),
        "releases": list(releases),
        "definitions": shared(releases),
        "custom": others,
    }
    lines = json.dumps(whole, separators=(",", ":"), sort_keys=False).replace('},"', '},\n"')
    TARGET.write_text(lines + "\n", encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
