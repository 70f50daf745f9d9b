"""Nothing is written that would change nothing; whatever of ours was changed is put right."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired import network
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.same import same, sealed
from mtls_tunnel_operator.desired.world import Peers, World
from support.tunnel_resources import NOON, tunnel, tunnel_raw

Raw = dict[str, Any]
BLOCK = {**tunnel_raw()["spec"]["server"], "plaintextPolicy": "Block"}
PLANNED = {
    f"{one['kind']} {one['metadata']['name']}": one
    for one in plan(tunnel(server=BLOCK), World(Peers("cluster.local", spaces={"api": ("shop",)})), NOON).apply
}


def stored(manifest: Raw) -> Raw:
    """As the API server has it: with its own fields, defaults, and what others have added."""
    raw = copy.deepcopy(manifest)
    raw["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-01T00:00:00Z",
        "generation": 1,
    }
    raw["metadata"]["labels"]["team"] = "theirs"
    raw["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    raw["metadata"].setdefault("ownerReferences", []).insert(0, {"uid": "theirs", "kind": "Other"})
    if raw["kind"] == "Service":
        raw["spec"] |= {"clusterIP": "10.0.0.1", "sessionAffinity": "None", "ipFamilies": ["IPv4"]}
        for port in raw["spec"]["ports"]:
            port["nodePort"] = 0
        raw["spec"]["ports"].insert(0, {"name": "theirs", "port": 80, "protocol": "TCP", "targetPort": 80})
    return raw


@pytest.mark.parametrize("manifest", PLANNED.values(), ids=list(PLANNED))
def test_what_the_api_server_and_others_add_is_no_reason_to_write(manifest: Raw) -> None:
    assert same(manifest, manifest)
    assert same(manifest, stored(manifest))
    assert not same(manifest, None)


def leaves(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [found for key, below in value.items() for found in leaves(below, (*way, key))]
    if isinstance(value, list):
        return [found for index, below in enumerate(value) for found in leaves(below, (*way, index))]
    return [way]


@given(st.sampled_from(sorted(PLANNED)), st.data())
def test_any_field_of_ours_that_was_changed_or_removed_is_written_again(which: str, data: st.DataObject) -> None:
    manifest = PLANNED[which]
    *parents, last = data.draw(st.sampled_from(leaves(manifest)))
    edited = copy.deepcopy(manifest)
    place: Any = edited
    for step in parents:
        place = place[step]
    if data.draw(st.booleans()) and isinstance(place, dict):
        del place[last]
    else:
        place[last] = data.draw(st.sampled_from(("other", 1, True, None, [], {})).filter(lambda v: v != place[last]))

    assert not same(manifest, edited)


def test_a_number_is_not_a_flag_and_no_text() -> None:
    assert not same({"a": 1}, {"a": True})
    assert not same({"a": 1}, {"a": "1"})


ONLY_TLS = network.network_policy(tunnel(server=BLOCK), [5432], tls_ports=[15432], only_tls=True)


@pytest.mark.parametrize("policy", [PLANNED["NetworkPolicy orders-db-mtls"], ONLY_TLS], ids=["all but one", "only TLS"])
@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: spec["ingress"].append({}),
        lambda spec: spec["ingress"][0]["ports"].append({"protocol": "TCP", "port": 5432}),
        lambda spec: spec["ingress"][0]["ports"].insert(0, {"protocol": "TCP", "port": 1, "endPort": 65535}),
        lambda spec: spec["ingress"][0]["ports"][-1].update(endPort=65535),
        lambda spec: spec["ingress"][0].update({"from": [{"podSelector": {}}]}),
        lambda spec: spec["podSelector"].update(matchLabels={"app": "nothing"}),
        lambda spec: spec["podSelector"]["matchExpressions"][0]["values"].append("more"),
        lambda spec: spec.update(egress=[]),
    ],
)
def test_whatever_is_put_into_a_network_policy_is_seen(policy: Raw, edit: Callable[[Raw], None]) -> None:
    """It is applied as a whole: one word more opens a port, or takes the policy off its pods."""
    edited = copy.deepcopy(policy)
    edit(edited["spec"])

    assert not same(policy, edited)


def test_a_label_more_in_the_selector_of_a_service_is_seen() -> None:
    service = PLANNED["Service orders-db"]
    edited = copy.deepcopy(service)
    edited["spec"]["selector"]["app"] = "nothing"

    assert not same(service, edited)


def test_the_digest_is_of_the_manifest_and_stable() -> None:
    manifest = PLANNED["Service orders-db"]
    other = copy.deepcopy(manifest)
    other["spec"]["ports"][0]["port"] = 1

    assert sealed(manifest) == manifest
    digests = {one["metadata"]["annotations"][names.CONTENT_ANNOTATION] for one in (manifest, sealed(other))}
    assert len(digests) == 2
