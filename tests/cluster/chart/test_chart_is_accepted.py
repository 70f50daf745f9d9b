"""The chart, given to a real API server by the real Helm: accepted, upgraded, fenced, uninstalled.

Nothing runs here (there is no kubelet), so hooks are left out; tests/cluster/test_chart_installs.py has them.
Objects of the Prometheus Operator's and of cert-manager's kinds are not asked about: their CRDs are not here.
"""

import base64
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
import yaml

import cluster as machine
from build_image import Unavailable
from local_cluster.build import binary
from support import charts
from support.kube import Kube, Refused

FOREIGN = ("monitoring.coreos.com/", "cert-manager.io/")
OPERATOR = f"system:serviceaccount:{charts.NAMESPACE}:mtls-tunnel-operator"
INJECTOR = f"system:serviceaccount:{charts.NAMESPACE}:mtls-tunnel-injector"
SCOPED = {"rbac": {"scope": "Namespaces", "namespaces": ["shop"], "secrets": "GetOnly"}}
OURS = {"app.kubernetes.io/managed-by": "mtls-tunnel"}


def helm(kube: Kube, *words: str, values: charts.Values | None = None) -> str:
    """Run Helm against *kube*."""
    done = subprocess.run(
        [charts.helm(), *words, "--namespace", charts.NAMESPACE, *(["--values", "-"] if values is not None else [])],
        input=yaml.safe_dump(dict(values or {})),
        env={**os.environ, "KUBECONFIG": str(kube.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(kube: Kube, values: charts.Values | None = None) -> None:
    """Install or upgrade the release, without hooks and without waiting."""
    helm(kube, "upgrade", "--install", "--no-hooks", charts.RELEASE, str(charts.CHART), values=values or {})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server with the namespaces that the tests speak of, and the release in the whole cluster."""
    folder = tmp_path_factory.mktemp("release") / "own"
    try:
        made = machine.up(folder, alone=True)
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    api_server = Kube(made.kubeconfig, binary("kubectl"), made.audit)
    for name in (charts.NAMESPACE, "elsewhere", "shop", "bank"):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if name in (charts.NAMESPACE, "elsewhere") else {}
        api_server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api_server.apply(account, namespace=charts.NAMESPACE)  # in a whole cluster a controller makes it
    install(api_server)
    yield api_server
    helm(api_server, "uninstall", "--no-hooks", charts.RELEASE)
    machine.down(folder)


def may(kube: Kube, user: str, verb: str, what: str, namespace: str = "") -> bool:
    """Whether RBAC lets *user* do it; *what* is resource, resource/name or resource:subresource."""
    resource, _, below = what.partition(":")
    words = [f"--namespace={namespace}"] if namespace else ["--all-namespaces"]
    words += [f"--subresource={below}"] if below else []
    return kube.as_user(user).try_("auth", "can-i", verb, resource, *words).stdout.strip() == "yes"


def secret(name: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}}


@pytest.mark.parametrize("case", charts.MATRIX)
def test_the_api_server_accepts_everything(server: Kube, case: str) -> None:
    beside = charts.merged({"fullnameOverride": "beside"}, charts.MATRIX[case])  # what is installed
    ours = [one for one in charts.render(beside) if not one["apiVersion"].startswith(FOREIGN)]
    # Pods need their service accounts, which are not there in a dry run: the next test is about them.
    text = yaml.safe_dump_all([one for one in ours if one["kind"] != "Pod"])
    server("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", text=text)


@pytest.mark.parametrize("case", [case for case in charts.MATRIX if case != "everything on"])
def test_every_pod_of_the_chart_is_admitted_to_a_restricted_namespace(server: Kube, case: str) -> None:
    for name, spec in charts.pod_specs(charts.render(charts.MATRIX[case])).items():
        bare = {key: value for key, value in spec.items() if key not in {"serviceAccountName", "priorityClassName"}}
        bare["automountServiceAccountToken"] = False
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "chart-"}, "spec": bare}
        made = server.create(pod, charts.NAMESPACE, dry_run=True)
        assert made["kind"] == "Pod", name


def test_host_network_is_refused_by_a_restricted_namespace_as_the_notes_say(server: Kube) -> None:
    spec = charts.pod_specs(charts.render({"injector": {"hostNetwork": True}}))["Deployment mtls-tunnel-injector"]
    bare = {**spec, "serviceAccountName": "", "priorityClassName": ""}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "host"}, "spec": bare}
    assert "hostNetwork" in server.refusal(pod, charts.NAMESPACE)


def test_pain_11_an_upgrade_leaves_the_ca_bundle_to_the_operator(server: Kube) -> None:
    bundle = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    webhook = {"name": "inject.mtlstunnel.dev", "clientConfig": {"caBundle": bundle}}
    server.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "mtls-tunnel"},
            "webhooks": [webhook],
        },
        manager="mtlstunnel-operator-webhook",
    )

    install(server, {"injector": {"timeoutSeconds": 9}})

    (found,) = server.get("mutatingwebhookconfigurations", "mtls-tunnel")["webhooks"]
    assert (found["timeoutSeconds"], found["clientConfig"]["caBundle"]) == (9, bundle)
    assert found["clientConfig"]["service"]["path"] == "/mutate"
    install(server)


def test_an_upgrade_that_changes_nothing_changes_nothing(server: Kube) -> None:
    def versions() -> dict[str, str]:
        kinds = "deployments,services,configmaps,serviceaccounts,roles,networkpolicies,poddisruptionbudgets"
        return {
            f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in server.items(kinds, charts.NAMESPACE)
        }

    install(server)
    before = versions()
    install(server)
    assert versions() == before


def test_pain_19_the_operator_of_a_cluster_may_what_it_must(server: Kube) -> None:
    assert may(server, OPERATOR, "watch", "secrets")
    assert may(server, OPERATOR, "patch", "mtlstunnels:status", "shop")
    assert may(server, OPERATOR, "patch", "mutatingwebhookconfigurations/mtls-tunnel")
    assert not may(server, OPERATOR, "patch", "mutatingwebhookconfigurations/other")
    assert not may(server, OPERATOR, "create", "pods", "shop")
    assert not may(server, OPERATOR, "patch", "mtlstunnels", "shop")


def test_the_injector_may_not_read_a_secret_but_its_own(server: Kube) -> None:
    assert may(server, INJECTOR, "watch", "secrets/mtls-tunnel-webhook-tls", charts.NAMESPACE)
    assert not may(server, INJECTOR, "watch", "secrets/default-ca-1", charts.NAMESPACE)
    assert not may(server, INJECTOR, "list", "secrets", "shop")
    assert may(server, INJECTOR, "watch", "mtlstunnels")


def test_a_lease_and_the_own_secrets_can_be_made_by_name_only(server: Kube) -> None:
    """Server-side apply that creates is authorised with the name: so the right to create can be limited."""
    install(server, SCOPED)
    operator = server.as_user(OPERATOR)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "a"}}
    operator.apply({**lease, "metadata": {"name": "mtls-tunnel-operator", "namespace": charts.NAMESPACE}}, dry_run=True)
    with pytest.raises(Refused, match="forbidden"):
        operator.apply({**lease, "metadata": {"name": "other", "namespace": charts.NAMESPACE}}, dry_run=True)
    own = secret("default-ca-1", OURS)
    own["metadata"]["namespace"] = charts.NAMESPACE
    operator.apply(own, dry_run=True)
    own["metadata"]["name"] = "helm-release"
    with pytest.raises(Refused, match="forbidden"):
        operator.apply(own, dry_run=True)
    install(server)


def test_pain_19_the_operator_of_one_namespace_reads_no_secret_of_another(server: Kube) -> None:
    install(server, SCOPED)
    assert may(server, OPERATOR, "get", "secrets", "shop")
    assert not may(server, OPERATOR, "list", "secrets", "shop")
    assert not may(server, OPERATOR, "get", "secrets", "bank")
    assert not may(server, OPERATOR, "get", "secrets", charts.NAMESPACE)
    assert may(server, OPERATOR, "get", "secrets/mtls-tunnel-webhook-ca", charts.NAMESPACE)
    assert may(server, OPERATOR, "create", "events", "default")
    assert may(server, OPERATOR, "list", "namespaces")
    install(server)


def test_pain_19_the_fence_stops_every_write_to_secrets_of_others(server: Kube) -> None:
    operator = server.as_user(OPERATOR)

    def refused(*words: str, text: dict[str, Any] | None = None) -> bool:
        done = operator.try_(*words, text=yaml.safe_dump(text) if text else "")
        return done.returncode != 0 and "writes only Secrets with the label" in done.stderr

    create = ("create", "--dry-run=server", "-f", "-")
    server.wait(lambda: refused(*create, text=secret("new", {})), "the policy is in force")
    server.apply(secret("theirs", {}), secret("ours", OURS))

    assert refused("delete", "secret", "theirs", "--namespace=shop")
    assert refused("patch", "secret", "theirs", "--namespace=shop", "--type=merge", "--patch", '{"data": {"a": null}}')
    take = '{"metadata": {"labels": {"app.kubernetes.io/managed-by": "mtls-tunnel"}}}'
    assert refused("patch", "secret", "theirs", "--namespace=shop", "--type=merge", "--patch", take)
    drop = '{"metadata": {"labels": null}}'
    assert refused("patch", "secret", "ours", "--namespace=shop", "--type=merge", "--patch", drop)
    assert (
        operator.try_(
            "patch", "secret", "ours", "--namespace=shop", "--type=merge", "--patch", '{"data": {"a": null}}'
        ).returncode
        == 0
    )
    assert operator.try_("delete", "secret", "ours", "--namespace=shop").returncode == 0
    server.delete("secret", "theirs", "shop")


def test_pain_28_an_uninstall_leaves_the_kinds_and_what_was_written_in_them(server: Kube) -> None:
    domain = {"apiVersion": "mtlstunnel.dev/v1alpha1", "kind": "MtlsTrustDomain", "metadata": {"name": "kept"}}
    server.wait(lambda: server.try_("get", "mtlstrustdomains").returncode == 0, "the API server serves the new kinds")
    server.apply({**domain, "spec": {"trustDomain": "kept.example"}})

    helm(server, "uninstall", "--no-hooks", charts.RELEASE)

    assert server.get("mtlstrustdomains", "kept")["spec"]["trustDomain"] == "kept.example"
    left = server.items("all,roles,rolebindings,configmaps,serviceaccounts,networkpolicies", charts.NAMESPACE)
    named = [one["metadata"]["name"] for one in left]
    assert [name for name in named if name not in {"kube-root-ca.crt", "default"}] == []
    assert server.get("mutatingwebhookconfigurations", "mtls-tunnel") == {}
    install(server)  # adopts the kinds that stayed
    server.delete("mtlstrustdomains", "kept", wait=False)
