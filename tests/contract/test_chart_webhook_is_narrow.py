"""The MutatingWebhookConfiguration asks about as little as possible, and nobody fights over its caBundle."""

from typing import Any

import pytest

from support import charts

EXACTLY = {
    "name": "inject.mtlstunnel.dev",
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
    "matchPolicy": "Equivalent",
    "failurePolicy": "Fail",
    "reinvocationPolicy": "IfNeeded",
    "timeoutSeconds": 5,
    "clientConfig": {
        "service": {"name": "mtls-tunnel-injector", "namespace": charts.NAMESPACE, "path": "/mutate", "port": 443}
    },
    "rules": [
        {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }
    ],
    "namespaceSelector": {
        "matchExpressions": [
            {"key": "mtlstunnel.dev/injection", "operator": "In", "values": ["enabled"]},
            {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", "kube-public", "kube-node-lease", charts.NAMESPACE],
            },
        ]
    },
    "objectSelector": {
        "matchExpressions": [{"key": "mtlstunnel.dev/inject", "operator": "NotIn", "values": ["false"]}]
    },
    "matchConditions": [
        {
            "name": "no-mirror-pods",
            "expression": "!('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))",
        }
    ],
}


def webhook(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = charts.named(charts.render(values), "MutatingWebhookConfiguration")["webhooks"]
    assert isinstance(found, dict)
    return found


def test_pain_06_07_25_26_the_webhook_is_exactly_this() -> None:
    assert webhook({}) == EXACTLY


@pytest.mark.parametrize("mode", ["Operator", "CertManager"])
def test_pain_11_nobody_but_its_owner_states_the_ca_bundle(mode: str) -> None:
    assert "caBundle" not in webhook({"injector": {"certificate": {"mode": mode}}})["clientConfig"]


def test_values_can_narrow_the_selectors_and_never_widen_them() -> None:
    more = {"key": "tier", "operator": "Exists"}
    selector = {"matchLabels": {"team": "a"}, "matchExpressions": [more]}
    found = webhook({"injector": {"namespaceSelector": selector, "objectSelector": selector}})
    for name in ("namespaceSelector", "objectSelector"):
        assert found[name]["matchExpressions"] == [*EXACTLY[name]["matchExpressions"], more]  # type: ignore[index]
        assert found[name]["matchLabels"] == {"team": "a"}


def test_pain_06_the_release_namespace_is_left_out_wherever_it_is() -> None:
    found = webhook({"namespaceOverride": "elsewhere"})
    assert found["namespaceSelector"]["matchExpressions"][1]["values"][-1] == "elsewhere"
    assert found["clientConfig"]["service"]["namespace"] == "elsewhere"


def test_pain_06_no_pod_of_the_chart_would_be_injected() -> None:
    manifests = charts.render(charts.MATRIX["everything on"])
    labels = [one["metadata"]["labels"] for one in manifests if one["kind"] == "Pod"]
    labels += [
        one["spec"]["template"]["metadata"]["labels"] for one in manifests if one["kind"] in {"Deployment", "Job"}
    ]
    assert [found.get("mtlstunnel.dev/inject") for found in labels] == ["false"] * 5


def test_cert_manager_makes_a_certificate_that_fits_the_service_and_the_secret_that_is_served() -> None:
    manifests = charts.render({"injector": {"certificate": {"mode": "CertManager"}}})
    certificate = charts.named(manifests, "Certificate", "mtls-tunnel-webhook")["spec"]
    configuration = charts.named(manifests, "MutatingWebhookConfiguration")
    service = configuration["webhooks"][0]["clientConfig"]["service"]
    assert f"{service['name']}.{service['namespace']}.svc" in certificate["dnsNames"]
    injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert injected == f"{charts.NAMESPACE}/mtls-tunnel-webhook"
    injector = charts.named(manifests, "Deployment", "mtls-tunnel-injector")["spec"]["template"]["spec"]
    assert f"--serving-secret={certificate['secretName']}" in injector["containers"][0]["args"]
    issuers = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "Issuer"}
    root = charts.named(manifests, "Certificate", "mtls-tunnel-webhook-root")["spec"]
    assert issuers[certificate["issuerRef"]["name"]] == {"ca": {"secretName": root["secretName"]}}
    assert issuers[root["issuerRef"]["name"]] == {"selfSigned": {}}


def test_an_issuer_of_yours_is_used_as_it_is() -> None:
    manifests = charts.render({"injector": {"certificate": {"mode": "CertManager", "issuerRef": {"name": "corp"}}}})
    assert [one["kind"] for one in manifests if one["apiVersion"].startswith("cert-manager")] == ["Certificate"]
    reference = charts.named(manifests, "Certificate")["spec"]["issuerRef"]
    assert reference == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "corp"}
