"""Every value of the chart has an effect, and only where it is meant to have one.

The table names for each key another value, what must be set besides for it to matter, and the objects that
differ then - all of them, so that no value reaches further than it should.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import chart_docs
from support import charts

OPERATOR, INJECTOR = "Deployment mtls-tunnel-operator", "Deployment mtls-tunnel-injector"
DEFAULTS = "ConfigMap mtls-tunnel-defaults"
WEBHOOK = "MutatingWebhookConfiguration mtls-tunnel"
WAIT, DELETE, TEST = "Job mtls-tunnel-wait-injector", "Job mtls-tunnel-delete-webhook", "Pod mtls-tunnel-test"
RIGHTS = "ClusterRole mtls-tunnel-operator-tunnels"
PODS = (OPERATOR, INJECTOR, WAIT, DELETE, TEST)
POLICIES = (
    "NetworkPolicy mtls-tunnel-operator",
    "NetworkPolicy mtls-tunnel-injector",
    "NetworkPolicy mtls-tunnel-hooks",
)
MONITORS = ("ServiceMonitor mtls-tunnel-operator", "ServiceMonitor mtls-tunnel-injector")
EVERYTHING = ("*",)


@dataclass(frozen=True)
class Change:
    """`value` instead of the default, on top of `besides`, changes exactly `where`; "*" stands for most objects."""

    value: Any
    where: tuple[str, ...]
    besides: Mapping[str, Any] = field(default_factory=dict)


def _access(name: str, *, cluster: bool = True) -> tuple[str, ...]:
    kinds = ("ServiceAccount", *(("ClusterRole", "ClusterRoleBinding") if cluster else ()))
    return tuple(f"{kind} mtls-tunnel-{name}" for kind in kinds)


CRDS = (
    "CustomResourceDefinition mtlstunnels.mtlstunnel.dev",
    "CustomResourceDefinition mtlstrustdomains.mtlstunnel.dev",
)
FENCE = tuple(
    f"{kind} mtls-tunnel-operator-secrets" for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
)
EVERY_RIGHT = (
    *(
        f"{kind} mtls-tunnel-{name}"
        for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
        for name in ("operator", "injector")
    ),
    *(
        f"{kind} mtls-tunnel-{name}"
        for kind in ("ClusterRole", "ClusterRoleBinding")
        for name in ("operator-tunnels", "wait-injector", "delete-webhook", "test")
    ),
    *(f"ClusterRole mtls-tunnel-tunnels-{role}" for role in ("view", "edit")),
)
FOR_PEOPLE = tuple(f"ClusterRole mtls-tunnel-tunnels-{role}" for role in ("view", "edit"))
NO_CRDS = {"crds": {"enabled": False}}
SERVICE_MONITORS = {"monitoring": {"serviceMonitor": {"enabled": True}}}
POD_MONITOR = {"monitoring": {"podMonitor": {"enabled": True}}}
RULES = {"monitoring": {"prometheusRule": {"enabled": True}}}
DASHBOARDS = {"monitoring": {"dashboards": {"enabled": True}}}
EXISTING = {"injector": {"certificate": {"mode": "Existing", "secretName": "web", "caBundle": "PEM"}}}
CERT_MANAGER = {"injector": {"certificate": {"mode": "CertManager"}}}
OTHER_ISSUER = {"injector": {"certificate": {"mode": "CertManager", "issuerRef": {"name": "web"}}}}
CERTIFICATE = "Certificate mtls-tunnel-webhook"
SERVING_RIGHTS = ("Role mtls-tunnel-operator", "Role mtls-tunnel-injector")

CHANGES: dict[str, Change] = {
    "global.imageRegistry": Change("mirror.example", (*PODS, DEFAULTS)),
    "global.imagePullSecrets": Change([{"name": "mirror"}], PODS),
    "nameOverride": Change("guard", EVERYTHING),
    "fullnameOverride": Change("guard", EVERYTHING),
    "namespaceOverride": Change("elsewhere", EVERYTHING),
    "commonLabels": Change({"team": "platform"}, EVERYTHING),
    "imagePullSecrets": Change([{"name": "registry"}], PODS),
    "image.registry": Change("registry.example", PODS),
    "image.repository": Change("other", PODS),
    "image.tag": Change("9.9", PODS),
    "image.digest": Change(f"sha256:{'a' * 64}", PODS),
    "image.pullPolicy": Change("Always", PODS),
    "clusterDomain": Change("corp.internal", (DEFAULTS,)),
    "log.level": Change("debug", (OPERATOR, INJECTOR)),
    "log.format": Change("text", (OPERATOR, INJECTOR)),
    "crds.enabled": Change(False, CRDS),
    "crds.keep": Change(False, CRDS),
    "rbac.create": Change(False, EVERY_RIGHT),
    "rbac.scope": Change(
        "Namespaces",
        (
            OPERATOR,
            "ClusterRoleBinding mtls-tunnel-operator-tunnels",
            "RoleBinding shop/mtls-tunnel-operator-tunnels",
            "Role default/mtls-tunnel-operator-events",
            "RoleBinding default/mtls-tunnel-operator-events",
        ),
        {"rbac": {"namespaces": ["shop"]}},
    ),
    "rbac.namespaces": Change(
        ["shop", "bank"],
        (OPERATOR, "RoleBinding bank/mtls-tunnel-operator-tunnels"),
        {"rbac": {"scope": "Namespaces", "namespaces": ["shop"]}},
    ),
    "rbac.secrets": Change("GetOnly", (OPERATOR, RIGHTS)),
    "rbac.trustDomains": Change([{"name": "corp", "secretName": "corp-ca"}], ("Role mtls-tunnel-operator",)),
    "rbac.certManager": Change(True, (OPERATOR, RIGHTS)),
    "rbac.podMonitors": Change(True, (OPERATOR, RIGHTS)),
    "rbac.aggregateClusterRoles": Change(False, FOR_PEOPLE),
    "admissionPolicy.enabled": Change(False, FENCE),
    "trustDomain.create": Change(False, (DEFAULTS, "ClusterRole mtls-tunnel-operator")),
    "trustDomain.name": Change("corp", (DEFAULTS, "Role mtls-tunnel-operator")),
    "trustDomain.domain": Change("corp.example", (DEFAULTS,)),
    "trustDomain.ca.mode": Change(
        "Secret", (DEFAULTS, "Role mtls-tunnel-operator"), {"trustDomain": {"ca": {"secretName": "corp"}}}
    ),
    "trustDomain.ca.secretName": Change(
        "other",
        (DEFAULTS, "Role mtls-tunnel-operator"),
        {"trustDomain": {"ca": {"mode": "Secret", "secretName": "corp"}}},
    ),
    "trustDomain.ca.issuerRef.kind": Change(
        "Issuer", (DEFAULTS,), {"trustDomain": {"ca": {"mode": "CertManager", "issuerRef": {"name": "root"}}}}
    ),
    "trustDomain.ca.issuerRef.name": Change(
        "other", (DEFAULTS,), {"trustDomain": {"ca": {"mode": "CertManager", "issuerRef": {"name": "root"}}}}
    ),
    "trustDomain.spec": Change({"rotation": {"propagationSeconds": 60}}, (DEFAULTS,)),
    "sidecar.image.registry": Change("registry.example", (DEFAULTS,)),
    "sidecar.image.repository": Change("other", (DEFAULTS,)),
    "sidecar.image.tag": Change("9.9", (DEFAULTS,)),
    "sidecar.image.digest": Change(f"sha256:{'a' * 64}", (DEFAULTS,)),
    "sidecar.image.pullPolicy": Change("Always", (DEFAULTS,)),
    "sidecar.allowedImages": Change(["registry.example/*"], (DEFAULTS,)),
    "sidecar.injection": Change("Container", (DEFAULTS,)),
    "sidecar.resources.requests.cpu": Change("20m", (DEFAULTS,)),
    "sidecar.resources.requests.memory": Change("50Mi", (DEFAULTS,)),
    "sidecar.resources.limits.memory": Change("256Mi", (DEFAULTS,)),
    "sidecar.runAsUser": Change(1000, (DEFAULTS,)),
    "sidecar.runAsGroup": Change(1000, (DEFAULTS,)),
    "priorityClass.create": Change(False, ("PriorityClass mtls-tunnel", OPERATOR, INJECTOR)),
    "priorityClass.value": Change(5, ("PriorityClass mtls-tunnel",)),
    "operator.maxConcurrentRollouts": Change(9, (DEFAULTS,)),
    "injector.failurePolicy": Change("Ignore", (WEBHOOK,)),
    "injector.timeoutSeconds": Change(9, (WEBHOOK,)),
    "injector.reinvocationPolicy": Change("Never", (WEBHOOK,)),
    "injector.namespaceSelector.matchLabels": Change({"team": "platform"}, (WEBHOOK,)),
    "injector.namespaceSelector.matchExpressions": Change([{"key": "a", "operator": "Exists"}], (WEBHOOK,)),
    "injector.objectSelector.matchLabels": Change({"team": "platform"}, (WEBHOOK,)),
    "injector.objectSelector.matchExpressions": Change([{"key": "a", "operator": "Exists"}], (WEBHOOK,)),
    "injector.matchConditions": Change([{"name": "a", "expression": "true"}], (WEBHOOK,)),
    "injector.webhookAnnotations": Change({"a": "b"}, (WEBHOOK,)),
    "injector.certificate.mode": Change(
        "Existing",
        (OPERATOR, INJECTOR, WEBHOOK, *SERVING_RIGHTS, "ClusterRole mtls-tunnel-operator"),
        {"injector": {"certificate": {"secretName": "web", "caBundle": "PEM"}}},
    ),
    "injector.certificate.secretName": Change("other", (INJECTOR, SERVING_RIGHTS[1]), EXISTING),
    "injector.certificate.caBundle": Change("PEM2", (WEBHOOK,), EXISTING),
    "injector.certificate.issuerRef.kind": Change("Issuer", (CERTIFICATE,), OTHER_ISSUER),
    "injector.certificate.issuerRef.name": Change("other", (CERTIFICATE,), OTHER_ISSUER),
    "injector.certificate.duration": Change("24h", (CERTIFICATE,), CERT_MANAGER),
    "injector.hostNetwork": Change(True, (INJECTOR,)),
    "networkPolicy.apiServerPorts": Change([7443], POLICIES),
    "hooks.waitForInjector.enabled": Change(False, (WAIT, *_access("wait-injector"))),
    "hooks.waitForInjector.timeoutSeconds": Change(9, (WAIT,)),
    "hooks.preDelete.enabled": Change(False, (DELETE, *_access("delete-webhook"))),
    "hooks.resources.requests.cpu": Change("1", (WAIT, DELETE, TEST)),
    "hooks.resources.requests.memory": Change("1Gi", (WAIT, DELETE, TEST)),
    "hooks.resources.limits.memory": Change("1Gi", (WAIT, DELETE, TEST)),
    "hooks.nodeSelector": Change({"a": "b"}, (WAIT, DELETE, TEST)),
    "hooks.tolerations": Change([{"operator": "Exists"}], (WAIT, DELETE, TEST)),
    "hooks.podAnnotations": Change({"a": "b"}, (WAIT, DELETE, TEST)),
    "monitoring.serviceMonitor.enabled": Change(True, MONITORS),
    "monitoring.podMonitor.enabled": Change(True, ("PodMonitor mtls-tunnel-sidecars",)),
    "monitoring.prometheusRule.enabled": Change(True, ("PrometheusRule mtls-tunnel",)),
    "monitoring.prometheusRule.labels": Change({"release": "x"}, ("PrometheusRule mtls-tunnel",), RULES),
    "monitoring.prometheusRule.annotations": Change({"a": "b"}, ("PrometheusRule mtls-tunnel",), RULES),
    "monitoring.prometheusRule.alertLabels": Change({"team": "x"}, ("PrometheusRule mtls-tunnel",), RULES),
    "monitoring.prometheusRule.disabled": Change(["MtlsTunnelInjectorDown"], ("PrometheusRule mtls-tunnel",), RULES),
    "monitoring.dashboards.enabled": Change(True, ("ConfigMap mtls-tunnel-dashboards",)),
    "monitoring.dashboards.labels": Change({"other": "1"}, ("ConfigMap mtls-tunnel-dashboards",), DASHBOARDS),
    "monitoring.dashboards.annotations": Change({"a": "b"}, ("ConfigMap mtls-tunnel-dashboards",), DASHBOARDS),
    "extraObjects": Change(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}],
        ("ConfigMap mtls-tunnel-x",),
    ),
}

for _monitor, _objects, _on in (
    ("serviceMonitor", MONITORS, SERVICE_MONITORS),
    ("podMonitor", ("PodMonitor mtls-tunnel-sidecars",), POD_MONITOR),
):
    CHANGES |= {
        f"monitoring.{_monitor}.{key}": Change(value, _objects, _on)
        for key, value in {
            "labels": {"release": "x"},
            "annotations": {"a": "b"},
            "interval": "15s",
            "scrapeTimeout": "5s",
            "relabelings": [{"action": "drop", "sourceLabels": ["a"]}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["a"]}],
        }.items()
    }

for _part, _deployment in (("operator", OPERATOR), ("injector", INJECTOR)):
    _account = f"ServiceAccount mtls-tunnel-{_part}"
    _budget = f"PodDisruptionBudget mtls-tunnel-{_part}"
    _policy = f"NetworkPolicy mtls-tunnel-{_part}"
    _bindings = tuple(f"{kind} mtls-tunnel-{_part}" for kind in ("ClusterRoleBinding", "RoleBinding")) + (
        ("ClusterRoleBinding mtls-tunnel-operator-tunnels", FENCE[0]) if _part == "operator" else ()
    )
    _only_deployment: dict[str, Any] = {
        "strategy.type": "Recreate",
        "strategy.rollingUpdate.maxUnavailable": 1,
        "strategy.rollingUpdate.maxSurge": "25%",
        "resources.requests.cpu": "1",
        "resources.requests.memory": "1Gi",
        "resources.limits.memory": "1Gi",
        "serviceAccount.automountServiceAccountToken": False,
        "podSecurityContext.runAsNonRoot": False,
        "podSecurityContext.seccompProfile.type": "Unconfined",
        "securityContext.allowPrivilegeEscalation": True,
        "securityContext.readOnlyRootFilesystem": False,
        "securityContext.capabilities.drop": ["NET_RAW"],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "annotations": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "extraArgs": ["--more"],
        "extraEnv": [{"name": "A", "value": "b"}],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "dnsPolicy": "Default",
        "dnsConfig": {"nameservers": ["192.0.2.1"]},
        "terminationGracePeriodSeconds": 9,
        "ports.health": 18080,
        "ports.metrics": 18081,
        **{
            f"{probe}.{key}": 9
            for probe in ("livenessProbe", "readinessProbe")
            for key in ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold")
        },
    }
    CHANGES |= {f"{_part}.{key}": Change(value, (_deployment,)) for key, value in _only_deployment.items()}
    CHANGES |= {
        f"{_part}.replicaCount": Change(1, (_deployment, _budget)),
        f"{_part}.serviceAccount.create": Change(False, (_account,)),
        f"{_part}.serviceAccount.name": Change("own", (_account, "ServiceAccount own", _deployment, *_bindings)),
        f"{_part}.serviceAccount.annotations": Change({"a": "b"}, (_account,)),
        f"{_part}.podDisruptionBudget.enabled": Change(False, (_budget,)),
        f"{_part}.podDisruptionBudget.minAvailable": Change(2, (_budget,)),
        f"{_part}.podDisruptionBudget.maxUnavailable": Change(1, (_budget,)),
        f"{_part}.podDisruptionBudget.unhealthyPodEvictionPolicy": Change("IfHealthyBudget", (_budget,)),
        f"{_part}.networkPolicy.enabled": Change(False, (_policy,)),
        f"{_part}.networkPolicy.ingress": Change([{"from": [{"podSelector": {}}]}], (_policy,)),
        f"{_part}.networkPolicy.egress": Change([{"to": [{"podSelector": {}}]}], (_policy,)),
    }
_ROUTER, _ROUTER_FILE = "Deployment mtls-tunnel-router", "ConfigMap mtls-tunnel-router"
_ROUTER_SERVICE, _ROUTER_BUDGET = "Service mtls-tunnel-router", "PodDisruptionBudget mtls-tunnel-router"
_ROUTER_ON = {"router": {"enabled": True, "tlsSecretName": "certs"}}
CHANGES |= {
    "router.enabled": Change(
        True, (_ROUTER, _ROUTER_FILE, _ROUTER_SERVICE, _ROUTER_BUDGET), {"router": {"tlsSecretName": "certs"}}
    ),
    "router.replicaCount": Change(1, (_ROUTER, _ROUTER_BUDGET), _ROUTER_ON),
    **{
        f"router.{key}": Change(value, (_ROUTER_FILE,), _ROUTER_ON)
        for key, value in {
            "domain": "other.example",
            "issuer": "other.example",
            "store": {"type": "postgresql"},
            "settings": {"proxy": {"max_connections": 5}},
        }.items()
    },
    **{
        f"router.service.{key}": Change(value, (_ROUTER_SERVICE,), _ROUTER_ON)
        for key, value in {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}}.items()
    },
    **{
        f"router.{key}": Change(value, (_ROUTER,), _ROUTER_ON)
        for key, value in {
            "tlsSecretName": "other",
            "routesSecretName": "routes",
            "environmentSecretName": "database",
            "resources.requests.cpu": "1",
            "resources.requests.memory": "1Gi",
            "resources.limits.memory": "1Gi",
            "terminationGracePeriodSeconds": 9,
            "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "podAnnotations": {"a": "b"},
            "podLabels": {"a": "b"},
        }.items()
    },
}
CHANGES["injector.ports.webhook"] = Change(19443, (INJECTOR,))


def _keys() -> list[str]:
    text = (charts.CHART / "values.yaml").read_text(encoding="utf-8")
    return [value.path for value in chart_docs.leaves(chart_docs.read(text))]


def _index(values: Mapping[str, Any]) -> dict[str, Any]:
    return {charts.label(one): one for one in charts.render(values)}


_seen: dict[str, dict[str, Any]] = {}


def _before(besides: Mapping[str, Any]) -> dict[str, Any]:
    return _seen.setdefault(repr(besides), _index(besides))


def test_the_table_has_every_value_of_the_chart_and_no_other() -> None:
    assert sorted(CHANGES) == sorted(_keys())


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_another_value_changes_the_objects_that_it_is_for(path: str) -> None:
    change = CHANGES[path]
    # The CRDs are long, and no other value touches them.
    besides = change.besides if path.startswith("crds.") else charts.merged(NO_CRDS, change.besides)
    before = _before(besides)
    after = _index(charts.merged(besides, charts.values_at(path, change.value)))
    differ = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if change.where == EVERYTHING:
        assert len(differ) > len(before) / 2
    else:
        assert differ == set(change.where)
