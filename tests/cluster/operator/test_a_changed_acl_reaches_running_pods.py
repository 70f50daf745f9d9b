"""An ACL that changes in the resource reaches running pods without a restart, and cuts whom it no longer lets in."""

from collections.abc import Callable
from typing import Any

from support.kube import Kube
from support.shop import Shop


def test_a_client_that_is_taken_out_loses_its_live_connection_and_nobody_restarts(
    cluster: Kube, new_shop: Callable[[], Shop]
) -> None:
    shop = new_shop()

    def two_clients(spec: dict[str, Any]) -> None:
        other = {"name": "other", "selector": {"matchLabels": {"app": "other"}}}
        spec["clients"].append({**other, "listeners": [{"port": "db", "localPort": 5432}]})

    shop.open(two_clients)
    before = {pod["metadata"]["uid"] for app in ("orders-db", "orders-api") for pod in shop.pods(app)}
    assert shop.count()[1] == 0

    def without_the_api(spec: dict[str, Any]) -> None:
        two_clients(spec)
        del spec["clients"][0]

    cluster.apply(shop.tunnel(without_the_api), namespace=shop.name)
    cluster.wait(lambda: shop.count()[1] > 1, "the client is cut off", shop.name)

    (server,) = shop.pods("orders-db")
    said = cluster.logs(server["metadata"]["name"], shop.name, "mtls-tunnel")
    assert "session closed: no longer authorized" in said
    assert {pod["metadata"]["uid"] for app in ("orders-db", "orders-api") for pod in shop.pods(app)} == before
    assert shop.restarts() == 0
