"""A server's certificate names its Service and nothing that the resource merely mentions."""

from typing import Any

import pytest

from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.desired.names import leaf_names, server_host
from mtls_tunnel_operator.model.parts import parts_of_tunnel
from support.tunnel_resources import tunnel, tunnel_raw

SERVER = "spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/server"


def names_of(**service: Any) -> Names:
    raw = tunnel_raw()["spec"]["server"]
    made = tunnel(server={**raw, "workload": {**raw["workload"], "service": service}})
    return leaf_names(parts_of_tunnel(made)[0], "shop", "", "cluster.local", "cluster.local")


@pytest.mark.parametrize(
    ("service", "dns"),
    [
        ({}, ("orders-db.shop.svc.cluster.local", "orders-db.shop.svc")),
        ({"name": "db-mtls"}, ("db-mtls.shop.svc.cluster.local", "db-mtls.shop.svc")),
        (
            {"policy": "None", "address": "pg.shop.svc.cluster.local"},
            ("pg.shop.svc.cluster.local", "pg.shop.svc"),
        ),
        ({"policy": "None", "address": "PG.shop.svc."}, ("pg.shop.svc.cluster.local", "pg.shop.svc")),
        ({"policy": "None", "address": "ledger.payments.svc.cluster.local"}, ()),
        ({"policy": "None", "address": "www.bank.example"}, ()),
        ({"policy": "None", "address": "a.b.shop.svc"}, ()),
        ({"policy": "None", "address": "shop.svc"}, ()),
    ],
)
def test_nobody_gets_a_certificate_for_a_host_that_is_not_their_own(
    service: dict[str, str], dns: tuple[str, ...]
) -> None:
    assert names_of(**service) == Names(SERVER, dns)


def test_clients_have_an_identity_and_no_dns_name() -> None:
    part = parts_of_tunnel(tunnel())[1]

    assert leaf_names(part, "bi", "", "td.example", "cluster.local") == Names(
        "spiffe://td.example/ns/bi/mtlstunnel/shop.orders-db/client/api"
    )


def test_the_cluster_domain_is_the_installations() -> None:
    assert server_host(tunnel(), "k8s.corp.example.") == "orders-db.shop.svc.k8s.corp.example"
