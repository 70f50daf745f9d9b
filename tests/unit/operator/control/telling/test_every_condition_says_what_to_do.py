"""What keeps a tunnel from being carried out stands in its conditions, with the command that helps."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Refusal
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from support.operator_stage import Stage, signer_of
from support.tunnel_resources import NOON, pod_raw, space_raw, tunnel_raw


def looked(stage: Stage, raw: dict[str, Any] | None = None) -> Stage:
    stage.tunnel(raw or tunnel_raw())
    asyncio.run(stage.look())
    return stage


def client(**fields: Any) -> dict[str, Any]:
    base = {
        "name": "api",
        "selector": {"matchLabels": {"app": "orders-api"}},
        "listeners": [{"port": "pg", "localPort": 5432}],
    }
    return {**base, **fields}


def server(**fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "workload": {"selector": {"matchLabels": {"app": "postgres"}}},
        "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
    }
    return {**base, **fields}


def test_a_trust_domain_that_does_not_exist() -> None:
    stage = looked(Stage(), tunnel_raw(certificate={"issuerRef": {"name": "nobody"}}))
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "IssuerNotFound")
    assert "`kubectl get mtlstrustdomains`" in message
    assert not stage.has("services", "orders-db")


def test_a_trust_domain_that_cannot_sign_yet() -> None:
    stage = Stage()
    stage.domains.current = AuthorityError("IssuerNotReady", "MtlsTrustDomain default cannot sign yet: wait")
    looked(stage)
    assert stage.condition("Accepted") == ("False", "IssuerNotReady", "MtlsTrustDomain default cannot sign yet: wait")
    assert stage.condition("CertificatesReady")[:2] == ("Unknown", "NotAccepted")


def test_a_namespace_that_has_not_opted_in_is_told_and_gets_its_certificates_all_the_same() -> None:
    stage = Stage()
    stage.store.put(space_raw("shop", enabled=False))
    looked(stage)
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "NamespaceNotEnabled")
    assert "`kubectl label namespace shop mtlstunnel.dev/injection=enabled`" in message
    assert stage.has("secrets", "orders-db-mtls-server")


def test_a_namespace_that_was_named_and_has_not_consented() -> None:
    stage = Stage("shop", "bi")
    looked(stage, tunnel_raw(clients=[client(namespaces={"from": "Names", "names": ["bi"]})]))
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "ReferenceNotPermitted")
    assert "`kubectl annotate namespace bi mtlstunnel.dev/accept-tunnels-from=shop --overwrite`" in message
    assert stage.status()["clients"][0]["refusedNamespaces"] == 1


def test_a_namespace_that_a_selector_met_only_counts() -> None:
    """Else whoever may label a namespace could make tunnels of others look broken."""
    stage = Stage("shop", "stranger")
    where = {"from": "Selector", "selector": {"matchLabels": {names.INJECTION_LABEL: "enabled"}}}
    looked(stage, tunnel_raw(clients=[client(namespaces=where)]))
    status, _, message = stage.condition("Accepted")
    assert status == "True"
    assert "stranger" in message
    assert stage.status()["clients"][0]["refusedNamespaces"] == 1


def test_a_trust_domain_that_does_not_sign_for_the_namespace() -> None:
    stage = Stage()
    domain = stage.store.objects[Ref(names.DOMAINS, "", "default")]
    allowed = {"from": "Selector", "selector": {"matchLabels": {"team": "payments"}}}
    stage.store.put({**domain, "spec": {**domain["spec"], "allowedNamespaces": allowed}})
    looked(stage)
    assert stage.condition("Accepted")[1] == "ReferenceNotPermitted"
    assert not stage.has("secrets", "orders-db-mtls-server")


def test_a_trust_domain_of_another_name() -> None:
    stage = looked(Stage(), tunnel_raw(certificate={"trustDomain": "corp.example"}))
    assert stage.condition("Accepted")[1] == "TrustDomainMismatch"


def test_a_selector_that_does_not_parse() -> None:
    broken = server(workload={"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}})
    stage = looked(Stage(), tunnel_raw(server=broken))
    assert stage.condition("Accepted")[:2] == ("False", "InvalidSelector")
    assert stage.condition("Ready")[:2] == ("False", "InvalidSelector")
    with stage.quiet():
        asyncio.run(stage.look())


@pytest.mark.parametrize(
    ("plural", "kind", "name"),
    [
        ("secrets", "Secret", "orders-db-mtls-server"),
        ("configmaps", "ConfigMap", "orders-db-mtls-client-api"),
        ("services", "Service", "orders-db"),
    ],
)
def test_an_object_of_somebody_else_is_left_alone(plural: str, kind: str, name: str) -> None:
    stage = Stage()
    foreign = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "Yg=="}}
    stage.store.put(foreign)
    before = stage.store.objects[Ref(plural, "shop", name)]
    looked(stage)
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "NameConflict")
    assert f"`kubectl -n shop delete {plural} {name}`" in message
    assert stage.store.objects[Ref(plural, "shop", name)] == before


def test_an_object_of_a_deleted_tunnel_of_the_same_name_is_left_to_the_clean_up() -> None:
    stage = Stage()
    first = stage.tunnel(tunnel_raw(uid="first"))
    asyncio.run(stage.look())
    del stage.store.objects[Ref(names.TUNNELS, *first)]  # garbage collection has not come by yet
    looked(stage, tunnel_raw(uid="second"))
    assert stage.condition("Accepted")[1] == "NameConflict"
    stage.store._collect("first")
    asyncio.run(stage.look())
    assert stage.condition("Accepted")[1] == "Accepted"


def test_two_tunnels_that_want_one_port_in_a_pod() -> None:
    stage = Stage()
    other = server(ports=[{"name": "pg", "targetPort": 5433, "tlsPort": 15432}])
    stage.tunnel(tunnel_raw("other", server=other, clients=[]))
    stage.store.put(pod_raw("postgres-0"))
    looked(stage)
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "PortConflict")
    assert "15432" in message
    assert "postgres-0" in message
    assert [said.reason for said in stage.said if said.regarding.plural == "pods"] == ["NotInjected"]
    with stage.quiet():
        asyncio.run(stage.look())


def test_pods_without_sidecar_are_named_with_the_command_that_restarts_them() -> None:
    stage = Stage()
    stage.store.put(pod_raw("postgres-0", owner={"kind": "StatefulSet", "name": "postgres", "apiVersion": "apps/v1"}))
    looked(stage)
    status, reason, message = stage.condition("PodsReady")
    assert (status, reason) == ("False", "PodsNotInjected")
    assert "`kubectl -n shop rollout restart statefulset/postgres`" in message
    assert stage.status()["server"]["summary"] == "0/1"


def test_pods_with_an_older_sidecar_are_outdated_and_current_ones_ready() -> None:
    stage = Stage()
    looked(stage)
    stage.store.put(pod_raw("postgres-0", revision="0" * 16))
    asyncio.run(stage.look())
    assert stage.condition("PodsReady")[:2] == ("False", "PodsOutdated")
    (member,) = stage.view.pods["shop"].values()
    wanted = stage.reconciler._expectations.of(member).revision
    stage.store.put(pod_raw("postgres-0", revision=wanted))
    asyncio.run(stage.look())
    assert stage.condition("PodsReady")[:2] == ("True", "UpToDate")
    assert stage.condition("Ready")[:2] == ("True", "Ready")
    assert stage.status()["server"]["summary"] == "1/1"


def test_the_tunnel_whose_settings_give_way_names_the_leader() -> None:
    stage = Stage()
    ports = [{"name": "pg", "targetPort": 5433, "tlsPort": 15433}]
    stage.tunnel(tunnel_raw("aardvark", server=server(ports=ports), clients=[], observability={"adminPort": 15999}))
    stage.store.put(pod_raw("postgres-0"))
    looked(stage)
    status, reason, message = stage.condition("ProxySettingsApplied")
    assert (status, reason) == ("False", "ProxySettingsIgnored")
    assert "shop/aardvark" in message


@pytest.mark.parametrize(
    ("allowed", "abroad", "expected"),
    [
        ((), False, ("False", "ImageNotAllowed")),
        (("registry.example/*",), False, ("True", "Applied")),
        (("registry.example/*",), True, ("False", "ImageNotAllowed")),
    ],
)
def test_an_image_that_is_not_used_is_told_of(
    allowed: tuple[str, ...], abroad: bool, expected: tuple[str, str]
) -> None:
    stage = Stage("shop", "bi")
    stage.defaults = replace(stage.defaults, allowed_images=allowed)
    raw = tunnel_raw(proxy={"image": "registry.example/other:2"})
    if abroad:
        raw["spec"]["clients"] = [client(namespaces={"from": "Names", "names": ["bi"]})]
        stage.store.put(space_raw("bi", accepts="shop"))
    looked(stage, raw)
    status, reason, message = stage.condition("ProxySettingsApplied")
    assert (status, reason) == expected
    assert ("registry.example/other:2" in message) == (status == "False")


def test_a_policy_of_somebody_else_makes_the_closed_port_uncertain() -> None:
    stage = Stage()
    stage.store.put(pod_raw("postgres-0"))
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    looked(stage, tunnel_raw(server=server(plaintextPolicy="Block")))
    assert stage.condition("PlaintextBlocked")[:2] == ("True", "NetworkPolicyApplied")
    stage.store.put(policy)
    asyncio.run(stage.look())
    status, reason, message = stage.condition("PlaintextBlocked")
    assert (status, reason) == ("Unknown", "ForeignPolicy")
    assert "default-deny" in message


def test_a_renewal_that_comes_too_late_for_the_pods() -> None:
    stage = looked(Stage(), tunnel_raw(certificate={"durationSeconds": 3600, "renewBeforeSeconds": 60}))
    status, reason, message = stage.condition("CertificatesReady")
    assert (status, reason) == ("True", "RenewalTooLate")
    assert "renewBeforeSeconds" in message


def test_a_signer_that_refuses_keeps_what_is_there_and_says_why() -> None:
    stage = looked(Stage())
    before = stage.secret("orders-db-mtls-server")
    stage.clock.now += 80_000
    stage.domains.change(refusal=Refusal("CAKeyMissing", "the key of the CA is gone: put it back"))
    asyncio.run(stage.look())
    assert stage.secret("orders-db-mtls-server") == before
    assert stage.condition("CertificatesReady")[:2] == ("True", "RenewalFailing")
    assert "put it back" in stage.condition("CertificatesReady")[2]
    with stage.quiet():
        asyncio.run(stage.look())
    stage.clock.now += 10_000
    asyncio.run(stage.look())
    assert stage.condition("CertificatesReady")[:2] == ("False", "Expired")
    stage.domains.change(refusal=None)
    asyncio.run(stage.look())
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")


def test_pods_that_opted_out_are_reported_and_do_not_count() -> None:
    stage = Stage()
    raw = pod_raw("postgres-0")
    raw["metadata"]["labels"][names.INJECT_LABEL] = "false"
    stage.store.put(raw)
    looked(stage)
    status, reason, message = stage.condition("PodsReady")
    assert (status, reason) == ("Unknown", "NoPodsSelected")
    assert "1 pod opted out" in message


def test_an_external_server_needs_its_ca_bundle() -> None:
    external = {"type": "External", "external": {"host": "db.example", "caBundleRef": {"name": "db-ca"}}}
    stage = Stage()
    looked(stage, tunnel_raw(server={**external, "ports": [{"name": "pg", "tlsPort": 5432}]}))
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "CABundleNotFound")
    assert "create configmap db-ca" in message
    bundle = ca.pem_of(signer_of(NOON).bundle).decode()
    metadata = {"name": "db-ca", "namespace": "shop"}
    stage.store.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": bundle}})
    asyncio.run(stage.look())
    assert stage.condition("Accepted")[1] == "Accepted"
    assert "server" not in stage.status()
    assert not stage.has("secrets", "orders-db-mtls-server")
    assert stage.has("configmaps", "orders-db-mtls-client-api")


def test_a_pod_monitor_that_cannot_be_made_is_said() -> None:
    stage = Stage()
    stage.store.served.discard("podmonitors")
    looked(stage, tunnel_raw(observability={"podMonitor": "Managed"}))
    status, _, message = stage.condition("Accepted")
    assert status == "True"
    assert "No PodMonitor is made" in message


def test_each_event_is_said_once_and_only_when_something_changes() -> None:
    stage = looked(Stage())
    assert [(said.type, said.reason) for said in stage.said] == [("Normal", "Issued")]
    stage.store.put(pod_raw("postgres-0"))
    asyncio.run(stage.look())
    assert [(said.type, said.reason) for said in stage.said[1:]] == [("Warning", "PodsNotInjected")]
    stage.clock.now += 60
    with stage.quiet():
        asyncio.run(stage.look())


def test_a_tunnel_whose_pods_are_all_elsewhere_needs_no_label_at_home() -> None:
    external: dict[str, Any] = {"type": "External", "external": {"host": "db.example"}}
    stage = Stage("shop", "bi")
    stage.store.put(space_raw("shop", enabled=False))
    stage.store.put(space_raw("bi", accepts="shop"))
    ports = [{"name": "pg", "tlsPort": 5432}]
    clients = [client(namespaces={"from": "Names", "names": ["bi"]})]
    looked(stage, tunnel_raw(server={**external, "ports": ports}, clients=clients))
    assert stage.condition("Accepted")[:2] == ("True", "Accepted")


def test_a_failure_inside_the_operator_is_a_status_too() -> None:
    stage = looked(Stage())
    stage.reconciler._leaves = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        asyncio.run(stage.look())
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("Unknown", "InternalError")
    assert "its log says more" in message
    assert stage.condition("CertificatesReady")[1] == "Issued", "what was known stays"


@pytest.mark.parametrize("namespace", ["kube-system", "mtls-tunnel-system"])
def test_a_tunnel_where_nothing_is_ever_injected(namespace: str) -> None:
    stage = Stage()
    key = stage.tunnel(tunnel_raw("lost", namespace))
    asyncio.run(stage.look(key))
    status, reason, message = stage.condition("Accepted", key)
    assert (status, reason) == ("False", "NamespaceNotEnabled")
    assert "another namespace" in message


def test_two_tunnels_that_ask_for_one_service_do_not_fight_over_it() -> None:
    stage = Stage()
    first = server(workload={"selector": {"matchLabels": {"app": "postgres"}}, "service": {"name": "db"}})
    looked(stage, tunnel_raw(server=first))
    other = stage.tunnel(tunnel_raw("other", server=first))
    asyncio.run(stage.look(other))
    assert stage.condition("Accepted")[1] == "Accepted"
    status, reason, message = stage.condition("Accepted", other)
    assert (status, reason) == ("False", "NameConflict")
    assert "Service shop/db belongs to another MtlsTunnel" in message
    with stage.quiet():
        asyncio.run(stage.look())
        asyncio.run(stage.look(other))
