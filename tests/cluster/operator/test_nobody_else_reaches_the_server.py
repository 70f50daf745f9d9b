"""A pod without a certificate, one from another namespace, and one with a foreign CA reach nothing."""

from collections.abc import Callable

from support.kube import Kube
from support.shop import Shop


def test_strangers_are_refused_and_reach_nothing(
    cluster: Kube, new_shop: Callable[[], Shop], new_namespace: Callable[..., str]
) -> None:
    shop = new_shop()
    shop.open()
    elsewhere = new_namespace()

    cluster.apply(*shop.stranger(elsewhere))
    cluster.wait_condition("job", "stranger", "Complete", elsewhere)

    said = cluster.logs("job/stranger", elsewhere).splitlines()
    assert said[0].startswith("without a certificate: refused")
    assert said[1].startswith("with a certificate of another CA: refused")
    (server,) = shop.pods("orders-db")
    sidecar = cluster.logs(server["metadata"]["name"], shop.name, "mtls-tunnel")
    assert "reason=no_certificate" in sidecar
    assert "reason=unknown_ca" in sidecar


def test_the_labels_of_a_client_are_worth_nothing_in_another_namespace(
    cluster: Kube, new_shop: Callable[[], Shop]
) -> None:
    """The same pod labels in another namespace that has opted in too: no sidecar, so no identity."""
    shop, other = new_shop(), new_shop()
    shop.open()
    deployment = next(one for one in other._documents("workloads.yaml") if one["metadata"]["name"] == "orders-api")
    maps = [one for one in other._documents("workloads.yaml") if one["kind"] == "ConfigMap"]

    cluster.apply(*maps, deployment, namespace=other.name)
    (pod,) = cluster.wait_ready(other.name, "app=orders-api")

    assert "initContainers" not in pod["spec"]
    assert cluster.get("secret", "orders-db-mtls-client-api", other.name) == {}
