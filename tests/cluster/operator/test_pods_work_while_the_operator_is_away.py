"""Without operator and injector running pods go on; pods that need a sidecar wait, everybody else does not."""

from collections.abc import Callable

import pytest

from support.kube import Kube, Refused
from support.plain_pods import SLEEP, pod, python
from support.releases import Installed
from support.shop import Shop


def test_pain_06_and_07_only_opted_in_namespaces_wait_for_an_injector(
    cluster: Kube,
    installed: Installed,
    new_shop: Callable[[], Shop],
    new_namespace: Callable[..., str],
    tunnel_image: str,
) -> None:
    shop, elsewhere = new_shop(), new_namespace()
    shop.open()
    installed.scale("injector", 0)
    installed.scale("operator", 0)
    cluster.wait(lambda: not cluster.items("pods", installed.namespace), "both are gone, drained too")
    try:
        shop.more(50)
        assert shop.count()[1] == 0, shop.complaints()
        lone = pod("lone", python("app", SLEEP, tunnel_image))
        with pytest.raises(Refused, match="failed calling webhook"):
            cluster.create(lone, shop.name)
        for namespace in (elsewhere, "kube-system", installed.namespace):
            cluster.create(lone, namespace, dry_run=True)
    finally:
        installed.scale("operator", 2)
        installed.scale("injector", 2)
    cluster.wait(lambda: cluster.create(lone, shop.name, dry_run=True), "pods may start again", shop.name)


def test_things_deleted_by_hand_come_back(cluster: Kube, installed: Installed, new_shop: Callable[[], Shop]) -> None:
    shop = new_shop()
    shop.open()
    was = shop.secret()["data"]["ca.crt"]
    for kind, name in (
        ("service", "orders-db"),
        ("configmap", "orders-db-mtls-server"),
        ("secret", "orders-db-mtls-server"),
    ):
        uid = cluster.get(kind, name, shop.name)["metadata"]["uid"]
        cluster.delete(kind, name, shop.name)
        cluster.wait(
            lambda kind=kind, name=name, uid=uid: (  # type: ignore[misc]
                cluster.get(kind, name, shop.name).get("metadata", {}).get("uid", uid) != uid
            ),
            f"{kind} {name} is there again",
            shop.name,
        )
    assert shop.secret()["data"]["ca.crt"] == was
    shop.more(50)
    assert shop.restarts() == 0
