"""A change of one object asks for a look at those whom it concerns, and at no others."""

from typing import Any

import pytest

from mtls_tunnel_operator.control.concerns import NOW, SOON, Concern, concerned, is_urgent
from mtls_tunnel_operator.control.queue import Item
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import namespace
from support.operators import tunnel

OURS = {"app.kubernetes.io/managed-by": "mtls-tunnel"}
DB = Item("tunnel", "shop", "orders-db")


@pytest.fixture
def view() -> View:
    """Two tunnels in shop, one in bank whose clients are in shop as well, one in bank alone."""
    view = View()
    for name in ("shop", "bank"):
        view.put("namespaces", namespace(name, {"mtlstunnel.dev/injection": "enabled"}))
    client = tunnel()["spec"]["clients"][0]
    roaming = [{**client, "namespaces": {"from": "Names", "names": ["shop"]}}]
    other = {"workload": {"selector": {"matchLabels": {"app": "other"}}}, "ports": tunnel()["spec"]["server"]["ports"]}
    view.put("mtlstunnels", tunnel())
    view.put("mtlstunnels", tunnel(name="other", server=other, clients=[]))
    view.put("mtlstunnels", tunnel("bank", "ledger", clients=roaming))
    view.put("mtlstunnels", tunnel("bank", "vault", server={**other, "plaintextPolicy": "Block"}, clients=[]))
    return view


def asked(view: View, plural: str, raw: dict[str, Any]) -> dict[Item, float]:
    change = view.put(plural, raw)
    assert change is not None
    return dict(concerned(change, view))


def pod(labels: dict[str, str], space: str = "shop", uid: str = "p") -> dict[str, Any]:
    metadata = {"namespace": space, "name": uid, "uid": uid, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}


def managed(kind: str, name: str, labels: dict[str, str], space: str = "shop", **more: Any) -> dict[str, Any]:
    group = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
    metadata = {"namespace": space, "name": name, "uid": name, "labels": {**OURS, **labels}, **more}
    return {"apiVersion": group, "kind": kind, "metadata": metadata}


def test_a_server_pod_concerns_the_tunnel_that_selects_it(view: View) -> None:
    assert asked(view, "pods", pod({"app": "postgres"})) == {DB: SOON}


def test_a_client_pod_concerns_the_tunnels_of_its_own_and_of_other_namespaces(view: View) -> None:
    assert asked(view, "pods", pod({"app": "orders-api"})) == {DB: SOON, Item("tunnel", "bank", "ledger"): SOON}


def test_a_pod_that_nobody_selects_concerns_nobody(view: View) -> None:
    assert asked(view, "pods", pod({"app": "cron"})) == {}


def test_a_pod_whose_labels_change_concerns_those_who_selected_it_before(view: View) -> None:
    view.put("pods", pod({"app": "postgres"}))
    assert asked(view, "pods", pod({"app": "other"})) == {DB: SOON, Item("tunnel", "shop", "other"): SOON}


def test_a_pod_that_is_gone_concerns_those_who_selected_it(view: View) -> None:
    view.put("pods", pod({"app": "postgres"}))
    change = view.drop(Ref("pods", "shop", "p"))
    assert change is not None
    assert dict(concerned(change, view)) == {DB: SOON}


def test_a_tunnel_is_looked_at_now_and_those_that_share_a_pod_with_it_soon(view: View) -> None:
    view.put("pods", pod({"app": "orders-api"}))
    changed = tunnel(observability={"adminPort": 16000})
    assert asked(view, "mtlstunnels", changed) == {DB: NOW, Item("tunnel", "bank", "ledger"): SOON}


def test_a_namespace_that_opts_in_has_its_pods_read_and_its_tunnels_looked_at(view: View) -> None:
    found = asked(view, "namespaces", namespace("shop"))
    ledger, other = Item("tunnel", "bank", "ledger"), Item("tunnel", "shop", "other")
    assert found == {Item("space", "", "shop"): NOW, DB: SOON, ledger: SOON, other: SOON}


def test_a_namespace_that_changes_otherwise_needs_no_new_list(view: View) -> None:
    labels = {"mtlstunnel.dev/injection": "enabled"}
    found = asked(view, "namespaces", namespace("shop", labels, {"mtlstunnel.dev/accept-tunnels-from": "bank"}))
    assert Item("space", "", "shop") not in found
    assert Item("tunnel", "bank", "ledger") in found


def test_an_object_of_ours_concerns_its_tunnel_now(view: View) -> None:
    labels = {"mtlstunnel.dev/tunnel": "orders-db"}
    assert asked(view, "configmaps", managed("ConfigMap", "c", labels)) == {DB: NOW}


def test_a_deleted_object_of_ours_concerns_its_tunnel_now(view: View) -> None:
    view.put("configmaps", managed("ConfigMap", "c", {"mtlstunnel.dev/tunnel": "orders-db"}))
    change = view.drop(Ref("configmaps", "shop", "c"))
    assert change is not None
    assert list(concerned(change, view)) == [Concern(DB, NOW)]


def test_a_leaf_concerns_its_trust_domain_as_well(view: View) -> None:
    labels, notes = {"mtlstunnel.dev/tunnel": "orders-db"}, {"mtlstunnel.dev/trust-domain": "default"}
    found = asked(view, "secrets", managed("Secret", "s", labels, annotations=notes))
    assert found == {DB: NOW, Item("domain", "", "default"): SOON}


def test_a_copy_concerns_the_tunnel_of_the_other_namespace(view: View) -> None:
    labels = {"mtlstunnel.dev/tunnel": "ledger", "mtlstunnel.dev/tunnel-namespace": "bank"}
    assert asked(view, "secrets", managed("Secret", "s", labels)) == {Item("tunnel", "bank", "ledger"): NOW}


def test_a_copy_without_its_tunnel_asks_for_the_sweep(view: View) -> None:
    labels = {"mtlstunnel.dev/tunnel": "gone", "mtlstunnel.dev/tunnel-namespace": "bank"}
    assert Item("copies") in asked(view, "secrets", managed("Secret", "s", labels))


def test_a_secret_of_nobody_is_a_ca_of_a_trust_domain_or_the_webhooks(view: View) -> None:
    spec = {"trustDomain": "cluster.local"}
    domain = {"apiVersion": "mtlstunnel.dev/v1alpha1", "kind": "MtlsTrustDomain"}
    found = asked(view, "mtlstrustdomains", {**domain, "metadata": {"name": "default"}, "spec": spec})
    assert found[Item("domain", "", "default")] == NOW
    assert DB in found
    home = "mtls-tunnel-system"
    default = {Item("domain", "", "default"): NOW}
    assert asked(view, "secrets", managed("Secret", "default-ca-1", {}, home)) == default
    assert asked(view, "configmaps", managed("ConfigMap", "default-bundle", {}, home)) == default
    assert asked(view, "secrets", managed("Secret", "mtls-tunnel-webhook-tls", {}, home)) == {Item("webhook"): NOW}


def test_a_policy_of_others_concerns_those_that_block_plaintext(view: View) -> None:
    metadata = {"namespace": "bank", "name": "deny", "uid": "deny"}
    raw = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {}}
    assert asked(view, "networkpolicies", raw) == {Item("tunnel", "bank", "vault"): SOON}


def blocking(name: str, app: str) -> dict[str, Any]:
    ports = tunnel()["spec"]["server"]["ports"]
    workload = {"selector": {"matchLabels": {"app": app}}}
    return tunnel("bank", name, server={"workload": workload, "ports": ports, "plaintextPolicy": "Block"}, clients=[])


def test_a_tunnel_that_closes_a_port_concerns_those_that_may_share_a_pod_even_if_there_is_none(view: View) -> None:
    mine = Item("tunnel", "bank", "new")
    assert asked(view, "mtlstunnels", blocking("new", "other")) == {mine: NOW, Item("tunnel", "bank", "vault"): SOON}
    assert asked(view, "mtlstunnels", blocking("new", "apart")) == {mine: NOW, Item("tunnel", "bank", "vault"): SOON}
    assert asked(view, "mtlstunnels", blocking("new", "again-apart")) == {mine: NOW}


def test_the_webhook_configuration_concerns_the_webhook(view: View) -> None:
    raw = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "mtls-tunnel"},
    }
    assert asked(view, "mutatingwebhookconfigurations", raw) == {Item("webhook"): NOW}


def observed(generation: int, seen: int | None, **spec: Any) -> dict[str, Any]:
    raw = tunnel(**spec)
    raw["metadata"]["generation"] = generation
    raw["status"] = {} if seen is None else {"observedGeneration": seen}
    return raw


@pytest.mark.parametrize(
    ("generation", "seen", "urgent"), [(1, None, True), (2, 1, True), (2, 2, False)], ids=["new", "changed", "done"]
)
@pytest.mark.parametrize("spec", [{}, {"server": {"ports": []}}], ids=["readable", "broken"])
def test_a_tunnel_is_urgent_until_its_spec_has_been_answered(
    generation: int, seen: int | None, urgent: bool, spec: dict[str, Any]
) -> None:
    view = View()
    view.put("mtlstunnels", observed(generation, seen, **spec))

    assert is_urgent(DB, view) is urgent


def test_what_many_tunnels_wait_for_is_urgent_and_housekeeping_is_not(view: View) -> None:
    assert all(is_urgent(one, view) for one in (Item("domain", "", "x"), Item("webhook"), Item("space", "", "shop")))
    assert not any(is_urgent(one, view) for one in (Item("copies"), Item("resync"), Item("tunnel", "shop", "gone")))
