"""Manifests of one tunnel: which there are, whose they are, in which order, and what has to go."""

from dataclasses import replace
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired import objects
from mtls_tunnel_operator.desired.plan import Plan, plan
from mtls_tunnel_operator.desired.world import Manifest, Peers, World
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.resources import Tunnel
from support.tunnel_resources import NOON, tunnel, tunnel_raw

ABROAD = {**tunnel_raw()["spec"]["clients"][0], "namespaces": {"from": "Names", "names": ["shop", "bi"]}}
PEERS = Peers("cluster.local", spaces={"api": ("shop", "bi")})
CERT_MANAGER = {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "corp"}


def there(made: Plan) -> dict[Ref, Manifest]:
    """The cluster once *made* has been carried out."""
    return {ref_of(one): one for one in made.apply}


def both() -> Tunnel:
    return tunnel(clients=[ABROAD])


def test_servers_come_first_then_the_service_then_clients() -> None:
    made = plan(both(), World(PEERS), NOON)

    assert [str(ref_of(one)) for one in made.apply] == [
        "ConfigMap shop/orders-db-mtls-server",
        "Service shop/orders-db",
        "ConfigMap shop/orders-db-mtls-client-api",
        "ConfigMap bi/orders-db-mtls-client-api-a4e1952f",
    ]


def test_what_is_there_is_not_written_again() -> None:
    first = plan(both(), World(PEERS), NOON)

    again = plan(both(), World(PEERS, objects=there(first)), NOON + 1000)

    assert (again.apply, again.delete, again.wake_at, again.waiting) == ((), (), None, ())
    assert again.desired == first.desired


def test_objects_at_home_have_an_owner_and_copies_only_say_whose_they_are() -> None:
    for manifest in plan(both(), World(PEERS), NOON).apply:
        meta = manifest["metadata"]
        assert (
            meta["labels"].items()
            >= {
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
                names.TUNNEL_LABEL: "orders-db",
                names.TUNNEL_NAMESPACE_LABEL: "shop",
                names.OWNER_LABEL: "uid-shop-orders-db",
            }.items()
        )
        owners = [(one["uid"], one["controller"], one["blockOwnerDeletion"]) for one in meta.get("ownerReferences", [])]
        assert owners == ([("uid-shop-orders-db", True, False)] if meta["namespace"] == "shop" else [])
        assert "finalizers" not in meta


def test_a_withdrawn_namespace_leaves_the_acl_first_and_then_its_copies_go() -> None:
    first = plan(both(), World(PEERS), NOON)
    secret = Ref("secrets", "bi", "orders-db-mtls-client-api-a4e1952f")
    present = {**there(first), secret: {**there(first)[secret._replace(plural="configmaps")], "kind": "Secret"}}

    made = plan(both(), World(replace(PEERS, spaces={"api": ("shop",)}), objects=present), NOON + 1)

    assert [str(ref_of(one)) for one in made.apply] == ["ConfigMap shop/orders-db-mtls-server"]
    assert made.delete == (secret._replace(plural="configmaps"), secret)


def test_a_removed_client_loses_its_access_at_once_and_its_objects() -> None:
    first = plan(both(), World(PEERS), NOON)

    made = plan(tunnel(clients=[]), World(PEERS, objects=there(first)), NOON + 1)

    (server,) = made.apply
    assert "client/api" not in server["data"]["tunnel.yaml"]
    assert {ref.namespace for ref in made.delete} == {"shop", "bi"}


def test_nothing_is_deleted_that_is_not_this_tunnels() -> None:
    first = plan(both(), World(PEERS), NOON)
    strange = there(plan(replace(both(), uid="another"), World(PEERS), NOON))
    strange = {ref._replace(name=f"x-{ref.name}"): raw for ref, raw in strange.items()}

    made = plan(both(), World(PEERS, objects={**there(first), **strange}), NOON)

    assert made.delete == ()
    assert not any(objects.is_ours(raw, both()) for raw in strange.values())


def test_a_suspended_tunnel_changes_nothing() -> None:
    assert plan(tunnel(suspend=True), World(PEERS), NOON) == Plan()


def test_nothing_new_is_made_in_a_namespace_that_is_being_deleted() -> None:
    made = plan(both(), World(PEERS, terminating=frozenset({"bi"})), NOON)
    assert {ref_of(one).namespace for one in made.apply} == {"shop"}

    present = there(plan(both(), World(PEERS), NOON))
    again = plan(both(), World(PEERS, objects=present, terminating=frozenset({"bi"})), NOON)
    assert (again.apply, again.delete) == ((), ())


def test_pods_of_the_service_are_those_with_a_sidecar_under_numbers() -> None:
    (service,) = (one for one in plan(both(), World(PEERS), NOON).apply if one["kind"] == "Service")

    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {"server.mtlstunnel.dev/orders-db": "true"},
        "ports": [{"name": "pg", "port": 15432, "targetPort": 15432, "protocol": "TCP"}],
    }


def test_a_port_that_is_about_to_go_meets_no_name_of_the_resource() -> None:
    before = plan(tunnel(), World(PEERS), NOON)
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15433}]
    moved = tunnel(server={**tunnel_raw()["spec"]["server"], "ports": ports})

    made = plan(moved, World(PEERS, objects=there(before)), NOON + 1)

    (service,) = (one for one in made.desired if one["kind"] == "Service")
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]] == [("retiring-port-15432", 15432)]


def test_with_an_address_of_somebodys_there_is_no_service() -> None:
    workload = {**tunnel_raw()["spec"]["server"]["workload"], "service": {"policy": "None", "address": "db.example"}}
    made = plan(tunnel(server={**tunnel_raw()["spec"]["server"], "workload": workload}), World(PEERS), NOON)

    assert "Service" not in {one["kind"] for one in made.apply}
    assert "target: db.example:15432" in made.apply[-1]["data"]["tunnel.yaml"]


def test_an_external_server_has_clients_and_nothing_else() -> None:
    server = {"type": "External", "external": {"host": "db.example"}, "ports": [{"name": "pg", "tlsPort": 5432}]}

    made = plan(tunnel(server=server), World(replace(PEERS, spaces={"api": ("shop",)})), NOON)

    assert [str(ref_of(one)) for one in made.apply] == ["ConfigMap shop/orders-db-mtls-client-api"]


def test_a_bundle_that_is_not_there_is_told_with_the_remedy() -> None:
    external = {"host": "db.example", "caBundleRef": {"name": "corp"}}
    server = {"type": "External", "external": external, "ports": [{"name": "pg", "tlsPort": 5432}]}

    with pytest.raises(SpecError, match=r"ConfigMap shop/corp has no key ca\.crt yet: create it") as caught:
        plan(tunnel(server=server), World(PEERS), NOON)

    assert caught.value.reason == "CABundleNotFound"


@pytest.mark.parametrize(
    ("external", "place"),
    [({"host": "a..b"}, "host"), ({"host": "010.0.0.1"}, "host"), ({"host": "a", "serverName": "b:1"}, "serverName")],
)
def test_a_host_that_can_be_none_is_told(external: dict[str, str], place: str) -> None:
    server = {"type": "External", "external": external, "ports": [{"name": "pg", "tlsPort": 5432}]}

    with pytest.raises(SpecError, match=f"spec.server.external.{place}: "):
        plan(tunnel(server=server), World(PEERS), NOON)


def test_more_principals_than_a_configmap_holds_are_told() -> None:
    rules = [
        {"name": f"r{i}", "spiffeIDs": [f"spiffe://td.example/{i}/{j}/{'x' * 240}" for j in range(64)]}
        for i in range(64)
    ]

    with pytest.raises(SpecError, match=r"makes 11\d{5} bytes .* at most 1000000 fit: name fewer") as caught:
        plan(tunnel(authorization={"allow": rules}), World(PEERS), NOON)

    assert caught.value.reason == "InvalidSpec"


def certificates(**certificate: Any) -> list[Manifest]:
    made = plan(tunnel(certificate={"issuerRef": CERT_MANAGER, **certificate}), World(PEERS), NOON)
    return [one for one in made.apply if one["kind"] == "Certificate"]


def test_cert_manager_is_asked_for_what_we_would_issue() -> None:
    server = certificates(durationSeconds=86400, privateKey={"algorithm": "RSA"})[0]

    assert server["metadata"]["name"] == server["spec"]["secretName"] == "orders-db-mtls-server"
    assert server["spec"].pop("secretTemplate") == {"labels": server["metadata"]["labels"]}
    assert server["spec"] == {
        "secretName": "orders-db-mtls-server",
        "duration": "24h0m0s",
        "renewBefore": "8h0m0s",
        "privateKey": {"algorithm": "RSA", "encoding": "PKCS8", "rotationPolicy": "Always", "size": 3072},
        "usages": ["digital signature", "server auth"],
        "uris": ["spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/server"],
        "dnsNames": ["orders-db.shop.svc.cluster.local", "orders-db.shop.svc"],
        "issuerRef": CERT_MANAGER,
        "revisionHistoryLimit": 1,
    }


def test_a_client_gets_no_dns_name_and_ed25519_no_size() -> None:
    client = certificates(privateKey={"algorithm": "Ed25519"})[1]["spec"]

    assert "dnsNames" not in client
    assert (client["usages"][1], client["privateKey"]["algorithm"]) == ("client auth", "Ed25519")
    assert "size" not in client["privateKey"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"durationSeconds": 600}, "durationSeconds is 600: cert-manager needs at least 3600"),
        ({"renewBeforeSeconds": 60}, "renewBeforeSeconds is 60: cert-manager needs at least 300"),
    ],
)
def test_what_cert_manager_would_refuse_is_told_before_it_is_asked(asked: dict[str, int], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        certificates(**asked)


def test_another_issuer_makes_the_certificates_go_and_the_secrets_stay() -> None:
    asked = plan(tunnel(certificate={"issuerRef": CERT_MANAGER}), World(PEERS), NOON)
    secret = Ref("secrets", "shop", "orders-db-mtls-server")
    present = {**there(asked), secret: {**there(asked)[secret._replace(plural="configmaps")], "kind": "Secret"}}

    made = plan(tunnel(), World(PEERS, objects=present), NOON)

    assert {ref.plural for ref in made.delete} == {"certificates"}
