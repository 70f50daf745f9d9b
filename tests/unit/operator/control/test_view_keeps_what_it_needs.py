"""The view: what it keeps, what it leaves out, and what it says has changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.control.view import Change, View
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Key
from support.kube_api import namespace
from support.operators import tunnel

MANAGED = {"app.kubernetes.io/managed-by": "mtls-tunnel"}


def meta(name: str, version: int = 1, space: str = "shop", **more: Any) -> dict[str, Any]:
    return {"namespace": space, "name": name, "uid": f"uid-{name}", "resourceVersion": str(version), **more}


def secret(version: int = 1, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    chosen = MANAGED if labels is None else labels
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta("s", version, labels=chosen, **more)}


def pod(name: str, space: str = "shop", version: int = 1) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, version, space), "spec": {"containers": []}}


def opened(*spaces: str) -> View:
    view = View()
    for number, name in enumerate(spaces):
        raw = namespace(name, {"mtlstunnel.dev/injection": "enabled"})
        raw["metadata"]["resourceVersion"] = str(number + 1)
        view.put("namespaces", raw)
    return view


def with_version(raw: dict[str, Any], version: int) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(version), "uid": "u"}}


def test_the_same_object_again_is_no_change_and_neither_is_an_older_one() -> None:
    view = View()
    assert view.put("secrets", secret(5)) is not None
    assert view.put("secrets", secret(5)) is None
    assert view.put("secrets", secret(4)) is None
    assert view.put("secrets", secret(6)) is not None


def test_what_we_wrote_is_known_before_any_watch_tells_it() -> None:
    view = View()
    view.observe(secret(7))
    assert view.put("secrets", secret(7)) is None
    assert view.put("secrets", secret(6)) is None


def test_objects_of_one_tunnel_keep_one_list_of_owners_and_others_their_own() -> None:
    view = View()
    labels = {**MANAGED, names.OWNER_LABEL: "t"}
    owners = [{"apiVersion": "mtlstunnel.dev/v1alpha1", "kind": "MtlsTunnel", "name": "db", "uid": "t"}]
    other = [{**owners[0], "name": "renamed"}]
    for name, held in (("one", owners), ("two", [dict(owners[0])]), ("three", other)):
        metadata = {**meta(name), "labels": labels, "ownerReferences": held}
        view.put("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    one, two, three = (view.objects[Ref("secrets", "shop", name)]["metadata"] for name in ("one", "two", "three"))
    assert one["ownerReferences"] is two["ownerReferences"]
    assert three["ownerReferences"] == other


def test_objects_without_our_label_are_not_kept_and_one_that_loses_it_goes() -> None:
    view = View()
    assert view.put("secrets", secret(1, {})) is None
    view.put("secrets", secret(2))
    change = view.put("secrets", secret(3, {"other": "label"}))
    assert change is not None
    assert (change.after, view.objects) == (None, {})


def test_managed_fields_are_not_kept() -> None:
    view = View()
    view.put("secrets", secret(1, managedFields=[{"manager": "x"}]))
    assert "managedFields" not in view.objects[Ref("secrets", "shop", "s")]["metadata"]


def test_a_deletion_meant_for_another_object_of_that_name_is_left_out() -> None:
    view = View()
    view.put("secrets", secret(1))
    assert view.drop(Ref("secrets", "shop", "s"), "uid-of-another") is None
    assert view.drop(Ref("secrets", "shop", "s"), "uid-s") is not None
    assert view.objects == {}


def test_an_object_made_anew_under_the_same_name_counts_whatever_its_version() -> None:
    view = View()
    view.put("secrets", secret(9))
    anew = secret(3)
    anew["metadata"]["uid"] = "another"
    assert view.put("secrets", anew) is not None


def test_pods_are_kept_in_namespaces_that_have_opted_in_only() -> None:
    view = opened("shop")
    assert view.put("pods", pod("a")) is not None
    assert view.put("pods", pod("b", "elsewhere")) is None
    assert [each.name for each in view.tunnel_pods("shop")] == ["a"]
    view.forget_pods("shop")
    assert (view.pods, view.known("pods")) == ({}, {})


def test_a_pod_that_is_told_after_its_namespace_opted_out_is_dropped() -> None:
    view = opened("shop")
    view.put("pods", pod("a"))
    view.put("namespaces", with_version(namespace("shop"), 50))
    change = view.put("pods", pod("a", version=2))
    assert change is not None
    assert (change.after, view.pods) == (None, {})


def test_a_resource_that_cannot_be_read_is_broken_and_heals() -> None:
    view = View()
    bad = tunnel(server={"workload": {"selector": {}}, "ports": [{"name": "pg", "targetPort": 1, "tlsPort": 2000}]})
    view.put("mtlstunnels", with_version(bad, 1))
    key = Key("shop", "orders-db")
    assert (key in view.tunnels, view.broken[key].error.reason) == (False, "InvalidSelector")
    view.put("mtlstunnels", with_version(tunnel(), 2))
    assert (key in view.tunnels, view.broken) == (True, {})
    view.drop(Ref("mtlstunnels", "shop", "orders-db"))
    assert (view.tunnels, list(view.candidates("shop"))) == ({}, [])


def test_a_change_of_the_status_alone_is_none() -> None:
    view = View()
    view.put("mtlstunnels", with_version(tunnel(), 1))
    assert view.put("mtlstunnels", {**with_version(tunnel(), 2), "status": {"revision": "x"}}) is None
    assert view.tunnels[Key("shop", "orders-db")].status == {"revision": "x"}


def test_tunnels_with_clients_elsewhere_are_candidates_everywhere() -> None:
    view = View()
    client = dict(tunnel()["spec"]["clients"][0], namespaces={"from": "Names", "names": ["bi"]})
    view.put("mtlstunnels", with_version(tunnel(), 1))
    view.put("mtlstunnels", with_version(tunnel(name="roaming", clients=[client]), 2))
    assert sorted(one.key.name for one in view.candidates("shop")) == ["orders-db", "roaming"]
    assert [one.key.name for one in view.candidates("bi")] == ["roaming"]


def test_of_policies_of_others_only_whom_they_select_is_kept() -> None:
    view = View()
    spec: dict[str, Any] = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": []}
    raw = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("deny"), "spec": spec}
    view.put("networkpolicies", raw)
    (policy,) = view.foreign_policies("shop")
    assert (policy.name, policy.selector.matches({"app": "db"}), policy.selector.matches({})) == ("deny", True, False)
    assert view.objects == {}


def test_a_policy_without_selector_or_with_one_we_cannot_read_selects_every_pod() -> None:
    for selector in (None, {}, {"matchExpressions": [{"key": "a", "operator": "Newer"}]}):
        view = View()
        spec = {"podSelector": selector}
        raw = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("deny"), "spec": spec}
        view.put("networkpolicies", raw)
        assert [one.selector.matches({"any": "pod"}) for one in view.foreign_policies("shop")] == [True]


def test_policies_about_egress_only_do_not_matter() -> None:
    view = View()
    spec = {"podSelector": {}, "policyTypes": ["Egress"]}
    raw = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("out"), "spec": spec}
    view.put("networkpolicies", raw)
    assert view.foreign_policies("shop") == []


def test_objects_are_found_by_their_owner_and_copies_by_their_tunnel() -> None:
    view = View()
    own = {**MANAGED, "mtlstunnel.dev/owner-uid": "u1", "mtlstunnel.dev/tunnel": "t"}
    copy = {**own, "mtlstunnel.dev/tunnel-namespace": "home"}
    view.put("secrets", secret(1, copy))
    assert [raw["metadata"]["name"] for raw in view.owned("u1")] == ["s"]
    assert (
        [ref for ref, _ in view.copies(Key("home", "t"))]
        == [Ref("secrets", "shop", "s")]
        == [ref for ref, _ in view.copies()]
    )
    view.put("secrets", secret(2, {**own, "mtlstunnel.dev/owner-uid": "u2"}))
    assert (view.owned("u1"), view.copies(), len(view.owned("u2"))) == ([], [], 1)
    view.drop(Ref("secrets", "shop", "s"))
    assert (view.owned("u2"), view.copies()) == ([], [])


def test_kinds_that_are_not_watched_have_to_be_read_by_name() -> None:
    view = View(unwatched=["secrets"])
    assert (view.watched("secrets"), view.watched("configmaps")) == (False, True)


EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 20), st.booleans(), st.sampled_from(["u1", "u2"])), max_size=40
)


@given(EVENTS)
def test_whatever_is_told_in_whatever_order_the_indices_agree(events: list[tuple[str, int, bool, str]]) -> None:
    view = View()
    for name, version, gone, owner in events:
        labels = {**MANAGED, "mtlstunnel.dev/owner-uid": owner, "mtlstunnel.dev/tunnel-namespace": "home"}
        ref = Ref("secrets", "shop", name)
        change: Change | None
        if gone:
            before = view.objects.get(ref)
            change = view.drop(ref)
            assert (change is None) == (before is None)
        else:
            view.put("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": meta(name, version, labels=labels)})
    names_owned = {raw["metadata"]["name"] for uid in ("u1", "u2") for raw in view.owned(uid)}
    assert names_owned == {ref.name for ref in view.objects} == {ref.name for ref in view.known("secrets")}
    assert {ref for ref, _ in view.copies()} == set(view.objects)
