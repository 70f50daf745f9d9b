"""The two CRDs and objects that fill every field of them: what tests of their rules and bounds start from.

`rules` and `bounds` walk a schema, so that a rule or a bound without a test is found; `with_` changes a copy
of an object at dotted places; `Door` asks an API server directly, hundreds of times a second.
"""

import copy
import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "crds"
TUNNELS = FOLDER / "mtlstunnels.yaml"
DOMAINS = FOLDER / "mtlstrustdomains.yaml"
ABSENT = object()

Raw = dict[str, Any]

MINIMAL: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTunnel
metadata: {name: orders-db, namespace: default}
spec:
  server:
    workload: {selector: {matchLabels: {app: postgres}}}
    ports: [{name: pg, targetPort: 5432, tlsPort: 15432}]
""")

# Every field of a Workload has a value that is not its default.
FULL: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTunnel
metadata: {name: redis, namespace: default}
spec:
  suspend: true
  server:
    type: Workload
    workload:
      selector:
        matchLabels: {app: redis}
        matchExpressions: [{key: example.com/role, operator: NotIn, values: [sentinel]}]
      serviceAccounts: [redis]
      service: {policy: Managed, name: redis-mtls}
    ports:
    - {name: redis, targetPort: 6379, tlsPort: 16379}
    - {name: bus, targetPort: 6380, tlsPort: 16380}
    plaintextPolicy: Block
  clients:
  - name: web
    namespaces:
      from: Selector
      selector:
        matchLabels: {cache-access: 'true'}
        matchExpressions: [{key: tier, operator: In, values: [a, b]}]
    selector:
      matchLabels: {cache-role: client}
      matchExpressions: [{key: old, operator: In, values: ['no', '']}]
    serviceAccounts: [web]
    listeners: [{port: redis, localPort: 6379}, {port: bus, localPort: 6381}]
  - name: batch
    namespaces: {from: Names, names: [jobs, default]}
    selector: {matchLabels: {app: batch}}
    serviceAccounts: [batch]
    listeners: [{port: redis, localPort: 6379}]
  authorization:
    mode: Audit
    allow:
    - name: mirror
      spiffeIDs: ['spiffe://dr.example/ns/cache/sa/mirror', 'spiffe://dr.example/ns/ops/sa/*']
      ports: [redis]
    - {name: legacy-host, dnsNames: [batch.corp.example, '*.batch.corp.example']}
    - {name: legacy-batch, commonNames: [Nightly Batch]}
    - {name: legacy-team, organizations: [Data & Co]}
  certificate:
    issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: corp-mtls}
    durationSeconds: 43200
    renewBeforeSeconds: 28800
    subject: PerServiceAccount
    trustDomain: corp.example
    privateKey: {algorithm: RSA, sizeBits: 3072, rotationPolicy: Never}
  rollout: {strategy: RestartWorkloads, maxConcurrentWorkloads: 2, progressDeadlineSeconds: 900}
  proxy:
    image: registry.corp.example/mtls-tunnel:1
    imagePullPolicy: Always
    injection: Container
    resources: {requests: {cpu: 20m, memory: 48Mi}, limits: {cpu: 1, memory: 128Mi}}
    minTLSVersion: VersionTLS12
    maxConnections: 2000
    dialTimeoutSeconds: 5
    handshakeTimeoutSeconds: 6
    idleTimeoutSeconds: 3600
    drainTimeoutSeconds: 20
  observability: {adminPort: 15999, podMonitor: Managed, accessLog: All, logLevel: Debug}
""")

EXTERNAL: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTunnel
metadata: {name: bank, namespace: default}
spec:
  server:
    type: External
    external:
      host: mtls.bank.example
      serverName: api.bank.example
      spiffeID: spiffe://bank.example/api
      caBundleRef: {name: bank-ca}
    ports: [{name: api, tlsPort: 443}]
  clients:
  - {name: billing, selector: {matchLabels: {app: billing}}, listeners: [{port: api, localPort: 8443}]}
""")

# A Service of somebody else's.
ELSEWHERE: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTunnel
metadata: {name: mail, namespace: default}
spec:
  server:
    workload:
      selector: {matchLabels: {app: mail}}
      service: {policy: None, address: mail.example.org}
    ports: [{name: smtp, targetPort: 25, tlsPort: 2465}]
""")

DOMAIN: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTrustDomain
metadata: {name: corp}
spec:
  trustDomain: corp.example
  ca:
    type: CertManager
    issuerRef: {group: cert-manager.io, kind: Issuer, name: root}
    durationSeconds: 7776000
    renewBeforeSeconds: 2592000
    privateKey: {algorithm: RSA, sizeBits: 4096}
  rotation: {propagationSeconds: 120, issuingSeconds: 600}
  federatedBundles:
  - {trustDomain: partner.example, configMapRef: {name: partner}}
  allowedNamespaces:
    from: Selector
    selector:
      matchLabels: {team: payments}
      matchExpressions: [{key: stage, operator: In, values: [prod]}]
  maxLeafDurationSeconds: 604800
""")

DOMAIN_OF_A_SECRET: Raw = yaml.safe_load("""
apiVersion: mtlstunnel.dev/v1alpha1
kind: MtlsTrustDomain
metadata: {name: offline}
spec:
  trustDomain: offline.example
  ca: {type: Secret, secretRef: {name: offline-ca}}
""")


def schema(file: Path) -> Raw:
    """The schema of the only version."""
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def with_(base: Raw, changes: Mapping[str, Any]) -> Raw:
    """A copy of *base* with values at dotted places (`spec.clients.0.name`); ABSENT removes, the next index adds."""
    made = copy.deepcopy(base)
    for place, value in changes.items():
        *way, last = place.split(".")
        parent: Any = made
        for step in way:
            parent = parent[int(step)] if isinstance(parent, list) else parent.setdefault(step, {})
        key: Any = int(last) if isinstance(parent, list) else last
        if isinstance(parent, list) and key == len(parent):
            parent.append(None)
        if value is ABSENT:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(value)
    return made


def rules(node: Raw, place: str = "") -> Iterator[tuple[str, str]]:
    """Every CEL rule: the place that its refusal names, with [] for any index, and its message."""
    for rule in node.get("x-kubernetes-validations", ()):
        yield (place + rule.get("fieldPath", "")).lstrip("."), rule["message"]
    for way, child in _children(node):
        yield from rules(child, place + way)


def bounds(node: Raw, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every bound of every field: its place with [] for any index, the bound, and what it says."""
    for bound in ("enum", "minimum", "maximum", "pattern", "minLength", "maxLength", "minItems", "maxItems"):
        if bound in node:
            yield place.lstrip("."), bound, node[bound]
    if "maxProperties" in node:
        yield place.lstrip("."), "maxProperties", node["maxProperties"]
    for key in node.get("required", ()):
        yield f"{place}.{key}".lstrip("."), "required", True
    if node.get("type") in ("string", "integer", "boolean", "array", "object"):
        yield place.lstrip("."), "type", node["type"]
    for way, child in _children(node):
        yield from bounds(child, place + way)


def fields(node: Raw, place: str = "") -> Iterator[tuple[str, Raw]]:
    """Every named field below *node*."""
    for key, child in node.get("properties", {}).items():
        yield f"{place}.{key}".lstrip("."), child
        yield from fields(child, f"{place}.{key}")
    if "items" in node:
        yield from fields(node["items"], place + "[]")


def _children(node: Raw) -> Iterator[tuple[str, Raw]]:
    for key, child in node.get("properties", {}).items():
        yield f".{key}", child
    if "items" in node:
        yield "[]", node["items"]
    if isinstance(node.get("additionalProperties"), dict):
        yield "{}", node["additionalProperties"]


@dataclass(frozen=True)
class Refusal:
    """What the API server has against an object: the field and the sentence of each cause."""

    causes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Door:
    """An API server behind `kubectl proxy`."""

    address: str

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Raw:
        """One request; what is refused comes back as the Status object that it is answered with."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.address}{path}", data=content, method=method, headers={"Content-Type": kind}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except HTTPError as refused:
            with refused:
                return dict(json.load(refused))

    def create(self, manifest: Raw, *, dry_run: bool = False) -> Raw:
        return self.ask("POST", _collection(manifest) + _query(dry_run), manifest)

    def replace(self, manifest: Raw, *, dry_run: bool = False) -> Raw:
        return self.ask("PUT", f"{_collection(manifest)}/{manifest['metadata']['name']}" + _query(dry_run), manifest)

    def apply(self, manifest: Raw, manager: str, subresource: str = "") -> Raw:
        """Server-side apply without force."""
        path = f"{_collection(manifest)}/{manifest['metadata']['name']}" + (f"/{subresource}" if subresource else "")
        return self.ask("PATCH", f"{path}?fieldManager={manager}", manifest, "application/apply-patch+yaml")

    def delete(self, manifest: Raw) -> None:
        self.ask("DELETE", f"{_collection(manifest)}/{manifest['metadata']['name']}")


def refusal(answer: Raw) -> Refusal | None:
    """Why *answer* is a refusal; None for an object that was accepted."""
    if answer.get("kind") != "Status":
        return None
    causes = answer.get("details", {}).get("causes", [])
    if not causes:
        return Refusal((("", answer.get("message", "")),))
    # "<nil>" is the object as a whole.
    return Refusal(tuple((cause.get("field", "").replace("<nil>", ""), cause["message"]) for cause in causes))


def _collection(manifest: Raw) -> str:
    plural = {"MtlsTunnel": "mtlstunnels", "MtlsTrustDomain": "mtlstrustdomains"}[manifest["kind"]]
    namespace = manifest["metadata"].get("namespace")
    return f"/apis/{manifest['apiVersion']}" + (f"/namespaces/{namespace}" if namespace else "") + f"/{plural}"


def _query(dry_run: bool) -> str:
    return "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
