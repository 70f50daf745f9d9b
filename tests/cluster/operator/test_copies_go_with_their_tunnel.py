"""A client in another namespace, under the rights that the chart gives: its copies come and go with the tunnel."""

from collections.abc import Callable
from typing import Any

from mtls_tunnel_operator import names
from support.kube import Kube
from support.shop import Shop

LABEL = f"{names.TUNNEL_LABEL}=orders-db"


def test_copies_in_another_namespace_go_with_their_tunnel_and_come_back_with_the_next(
    cluster: Kube, new_shop: Callable[[], Shop]
) -> None:
    shop, elsewhere = new_shop(), new_shop().name
    consent = {"metadata": {"annotations": {names.ACCEPT_ANNOTATION: shop.name}}}
    cluster.patch("namespace", elsewhere, consent)

    def reports(spec: dict[str, Any]) -> None:
        client = {**spec["clients"][0], "name": "reports", "namespaces": {"from": "Names", "names": [elsewhere]}}
        spec["clients"].append(client)

    def copies() -> dict[str, str]:
        """The owner of each copy, by its kind."""
        found = cluster.items("configmaps,secrets", elsewhere, LABEL)
        return {one["kind"]: one["metadata"]["labels"][names.OWNER_LABEL] for one in found}

    def owned() -> bool:
        uid = cluster.get("mtt", "orders-db", shop.name)["metadata"]["uid"]
        return copies() == {"ConfigMap": uid, "Secret": uid}

    cluster.apply(shop.tunnel(reports), namespace=shop.name)
    cluster.wait(owned, "there are copies", elsewhere)

    cluster.delete("mtt", "orders-db", shop.name)
    cluster.wait(lambda: not copies(), "the copies are gone", elsewhere)

    cluster.apply(shop.tunnel(reports), namespace=shop.name)
    cluster.wait(owned, "there are copies of the new one", elsewhere)
    cluster.wait_condition("mtt", "orders-db", "Accepted", shop.name)
