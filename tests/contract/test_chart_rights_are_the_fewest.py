"""The rights of operator and injector: written out, so that one more is a change of this file.

That they suffice, and that none is unused, is seen in the audit log of a real cluster (tests/cluster).
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.kinds import Ref
from support import charts
from support.operator_stage import ORDERS, Stage
from support.tunnel_resources import space_raw, tunnel_raw

Right = tuple[str, str, str, tuple[str, ...]]  # group, resource, verb, names

EVERYTHING = ("get", "list", "watch", "create", "patch", "delete")
CAS = tuple(f"default-ca-{slot}" for slot in ("1", "2", "3", "4", "source"))
WEBHOOK = ("mtls-tunnel-webhook-ca", "mtls-tunnel-webhook-tls")


def rights(group: str, resources: str, verbs: Iterable[str], *names: str) -> set[Right]:
    return {(group, resource, verb, names) for resource in resources.split() for verb in verbs}


IN_THE_CLUSTER = (
    rights("mtlstunnel.dev", "mtlstrustdomains", ("list", "watch", "create"))
    | rights("mtlstunnel.dev", "mtlstrustdomains/status", ("patch",))
    | rights("", "namespaces", ("list", "watch"))
    | rights(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        ("get", "list", "watch", "patch"),
        "mtls-tunnel",
    )
)
WHERE_TUNNELS_ARE = (
    rights("mtlstunnel.dev", "mtlstunnels", ("get", "list", "watch"))
    | rights("mtlstunnel.dev", "mtlstunnels/status", ("patch",))
    | rights("", "pods", ("list", "watch"))
    | rights("", "secrets configmaps services", EVERYTHING)
    | rights("networking.k8s.io", "networkpolicies", EVERYTHING)
    | rights("apps", "deployments statefulsets daemonsets", ("get", "patch"))
    | rights("", "pods/eviction", ("create",))
    | rights("", "events", ("create", "patch"))
)
AT_HOME = (
    rights("coordination.k8s.io", "leases", ("get", "create", "patch"), "mtls-tunnel-operator")
    | rights("", "secrets", ("get", "create", "patch", "delete"), *CAS, *WEBHOOK)
    | rights("", "configmaps", ("list", "watch"), "mtls-tunnel-defaults")
    | rights("", "configmaps", ("get",))
    | rights("", "configmaps", ("create", "patch"), "default-bundle")
)
INJECTOR_IN_THE_CLUSTER = rights("mtlstunnel.dev", "mtlstunnels", ("list", "watch")) | rights(
    "", "namespaces", ("get", "list", "watch")
)
INJECTOR_AT_HOME = rights("", "secrets", ("list", "watch"), WEBHOOK[1]) | rights(
    "", "configmaps", ("list", "watch"), "mtls-tunnel-defaults"
)


def granted(role: dict[str, Any]) -> set[Right]:
    return {
        (group, resource, verb, tuple(rule.get("resourceNames", ())))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of(manifests: Iterable[dict[str, Any]], account: str) -> dict[str, set[Right]]:
    """Where (kind and namespace of the binding) which rights are bound to an account."""
    manifests = list(manifests)
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in manifests}
    found: dict[str, set[Right]] = {}
    for one in manifests:
        if one["kind"] in {"ClusterRoleBinding", "RoleBinding"} and account in [who["name"] for who in one["subjects"]]:
            assert [who["namespace"] for who in one["subjects"]] == [charts.NAMESPACE]
            namespace = one["metadata"].get("namespace", "")
            kind, name = one["roleRef"]["kind"], one["roleRef"]["name"]
            role = roles[kind, namespace if kind == "Role" else None, name]
            found.setdefault(namespace, set()).update(granted(role))
    return found


def test_pain_19_the_operator_of_a_cluster_has_these_rights() -> None:
    assert of(charts.defaults(), "mtls-tunnel-operator") == {
        "": IN_THE_CLUSTER | WHERE_TUNNELS_ARE,
        charts.NAMESPACE: AT_HOME,
    }


def test_pain_19_the_operator_of_two_namespaces_reads_no_secret_elsewhere() -> None:
    manifests = charts.render({"rbac": {"scope": "Namespaces", "namespaces": ["shop", "bank"]}})
    assert of(manifests, "mtls-tunnel-operator") == {
        "": IN_THE_CLUSTER,
        "shop": WHERE_TUNNELS_ARE,
        "bank": WHERE_TUNNELS_ARE,
        charts.NAMESPACE: AT_HOME,
        "default": rights("", "events", ("create", "patch")),
    }


def test_what_the_operator_asks_where_tunnels_are_is_granted() -> None:
    """From a client in another namespace to the end of its copies there."""
    stage = Stage("shop", "bi")
    stage.store.put(space_raw("bi", accepts="shop"))
    client = {**tunnel_raw()["spec"]["clients"][0], "namespaces": {"from": "Names", "names": ["bi"]}}
    stage.tunnel(tunnel_raw(clients=[client]))
    asyncio.run(stage.look())
    assert stage.has("secrets", names.object_name("orders-db", "client", "api", namespace="shop"), "bi")
    stage.store.remove(Ref(names.TUNNELS, *ORDERS))
    asyncio.run(stage.look())
    assert not [ref for ref in stage.store.objects if ref.namespace == "bi"]

    # A server-side apply that makes an object is authorised as `create` and `patch`.
    meant = {"apply": {"create", "patch"}}
    asked = {
        ("/".join(filter(None, (one.ref.plural, one.subresource))), verb)
        for one in stage.store.asked
        for verb in meant.get(one.verb, {one.verb})
        if (one.subresource, verb) != ("status", "create")
    }
    assert (names.TUNNELS, "get") in asked
    assert asked <= {(right[1], right[2]) for right in of(charts.defaults(), "mtls-tunnel-operator")[""]}


@pytest.mark.parametrize("case", charts.MATRIX)
def test_the_injector_only_reads(case: str) -> None:
    found = of(charts.render(charts.MATRIX[case]), "mtls-tunnel-injector") if case == "defaults" else {}
    if found:
        assert found == {"": INJECTOR_IN_THE_CLUSTER, charts.NAMESPACE: INJECTOR_AT_HOME}
    for one in charts.render(charts.MATRIX[case]):
        if one["kind"] in {"Role", "ClusterRole"} and one["metadata"]["name"].endswith("-injector"):
            assert {right[2] for right in granted(one)} <= {"get", "list", "watch"} or "wait" in one["metadata"]["name"]


def test_pain_18_with_get_only_no_secret_is_listed_or_watched() -> None:
    found = of(charts.render({"rbac": {"secrets": "GetOnly"}}), "mtls-tunnel-operator")
    verbs = {(verb, names) for rights in found.values() for _, resource, verb, names in rights if resource == "secrets"}
    assert {verb for verb, _ in verbs} == {"get", "create", "patch", "delete"}


def test_cert_manager_and_pod_monitors_are_asked_for() -> None:
    found = of(charts.render({"rbac": {"certManager": True, "podMonitors": True}}), "mtls-tunnel-operator")[""]
    more = rights("cert-manager.io", "certificates", EVERYTHING)
    more |= rights("monitoring.coreos.com", "podmonitors", EVERYTHING)
    assert found == IN_THE_CLUSTER | WHERE_TUNNELS_ARE | more


def test_a_serving_certificate_of_others_takes_rights_away() -> None:
    found = of(charts.render({"injector": {"certificate": {"mode": "CertManager"}}}), "mtls-tunnel-operator")
    assert not [right for right in found[charts.NAMESPACE] if set(WEBHOOK) & set(right[3])]
    verbs = {verb for _, resource, verb, _ in found[""] if resource == "mutatingwebhookconfigurations"}
    assert verbs == {"get", "list", "watch"}


def test_each_hook_may_touch_the_webhook_configuration_and_nothing_else() -> None:
    configuration = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations")
    for account, verbs in {"wait-injector": {"get"}, "test": {"get"}, "delete-webhook": {"get", "delete"}}.items():
        found = of(charts.defaults(), f"mtls-tunnel-{account}")
        assert found == {"": {(*configuration, verb, ("mtls-tunnel",)) for verb in verbs}}


@pytest.mark.parametrize("case", charts.MATRIX)
def test_no_rule_has_a_wildcard_or_may_raise_rights(case: str) -> None:
    for one in charts.render(charts.MATRIX[case]):
        if one["kind"] in {"Role", "ClusterRole"}:
            for group, resource, verb, _ in granted(one):
                assert "*" not in (group, resource, verb), one["metadata"]["name"]
                assert verb not in {"bind", "escalate", "impersonate"}
                assert resource not in {"pods/exec", "nodes/proxy", "serviceaccounts/token"}


def test_no_service_account_mounts_its_token_where_nobody_asked() -> None:
    accounts = [one for one in charts.defaults() if one["kind"] == "ServiceAccount"]
    assert [one["automountServiceAccountToken"] for one in accounts] == [False] * 5


def test_people_who_may_edit_a_namespace_may_write_its_tunnels() -> None:
    roles = {one["metadata"]["name"]: one for one in charts.defaults() if one["kind"] == "ClusterRole"}
    edit, view = roles["mtls-tunnel-tunnels-edit"], roles["mtls-tunnel-tunnels-view"]
    assert {right[1] for right in granted(edit)} == {"mtlstunnels"}
    assert {right[2] for right in granted(view)} == {"get", "list", "watch"}
    aggregated = [key.rpartition("-to-")[2] for key in view["metadata"]["labels"] if "aggregate-to" in key]
    assert sorted(aggregated) == ["admin", "edit", "view"]


def test_the_fence_names_the_account_that_the_deployment_uses() -> None:
    manifests = charts.render({"operator": {"serviceAccount": {"name": "own"}}, "namespaceOverride": "elsewhere"})
    policy = charts.named(manifests, "ValidatingAdmissionPolicy")
    binding = charts.named(manifests, "ValidatingAdmissionPolicyBinding")
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == "request.userInfo.username == 'system:serviceaccount:elsewhere:own'"
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    pod = charts.pod_specs(manifests)["Deployment elsewhere/mtls-tunnel-operator"]
    assert pod["serviceAccountName"] == "own"
