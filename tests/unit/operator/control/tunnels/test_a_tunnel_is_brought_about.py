"""From the minimal example to Secrets, ConfigMaps, Service and a status; then nothing more is written."""

import asyncio

from mtls_tunnel_operator.authority import leaf
from support.operator_stage import Stage
from support.tunnel_resources import tunnel_raw


def brought_about() -> Stage:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    return stage


def test_each_role_gets_a_secret_a_config_map_and_the_server_a_service() -> None:
    stage = brought_about()
    made = sorted((ref.plural, ref.name) for ref in stage.store.objects if ref.namespace == "shop")
    assert made == [
        ("configmaps", "orders-db-mtls-client-api"),
        ("configmaps", "orders-db-mtls-server"),
        ("mtlstunnels", "orders-db"),
        ("secrets", "orders-db-mtls-client-api"),
        ("secrets", "orders-db-mtls-server"),
        ("services", "orders-db"),
    ]


def test_a_secret_holds_the_leaf_its_key_and_the_bundle() -> None:
    stage = brought_about()
    held = stage.secret("orders-db-mtls-server")
    facts = leaf.read_pair(held["tls.crt"], held["tls.key"], stage.domains.given)
    assert facts.names.uri == "spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/server"
    assert facts.usage == "server"
    assert held["ca.crt"] == stage.domains.given.bundle_pem


def test_the_status_says_what_is_there_and_what_is_awaited() -> None:
    stage = brought_about()
    assert {item["type"]: (item["status"], item["reason"]) for item in stage.status()["conditions"]} == {
        "Ready": ("Unknown", "NoPodsSelected"),
        "Accepted": ("True", "Accepted"),
        "CertificatesReady": ("True", "Issued"),
        "PodsReady": ("Unknown", "NoPodsSelected"),
        "PlaintextBlocked": ("False", "PolicyPermit"),
        "ProxySettingsApplied": ("True", "Applied"),
        "RotationInProgress": ("False", "Stable"),
    }
    certificates = [(one["name"], one["secretName"]) for one in stage.status()["certificates"]]
    assert certificates == [("server", "orders-db-mtls-server"), ("api", "orders-db-mtls-client-api")]


def test_the_steady_state_makes_no_write() -> None:
    stage = brought_about()
    with stage.quiet():
        asyncio.run(stage.look())
        stage.restart()
        asyncio.run(stage.look())


def test_nothing_carries_a_finalizer() -> None:
    stage = brought_about()
    assert [ref for ref, raw in stage.store.objects.items() if raw["metadata"].get("finalizers")] == []


def test_a_client_that_has_to_wait_for_its_port_is_told_of() -> None:
    stage = brought_about()
    raw = tunnel_raw()
    raw["spec"]["server"]["ports"].append({"name": "admin", "targetPort": 5433, "tlsPort": 15433})
    raw["spec"]["clients"].append(
        {
            "name": "late",
            "selector": {"matchLabels": {"app": "late"}},
            "listeners": [{"port": "admin", "localPort": 6001}],
        }
    )
    stage.tunnel(raw)

    again = asyncio.run(stage.look())
    waits = _message(stage)
    with stage.quiet():
        asyncio.run(stage.look())
    while again is not None and _message(stage) == waits:
        stage.clock.now = again
        again = asyncio.run(stage.look())

    assert waits.startswith("Not configured yet: client late.")
    assert _message(stage) == "The resource can be carried out."
    assert any(ref.name == "orders-db-mtls-client-late" for ref in stage.store.objects if ref.plural == "configmaps")


def _message(stage: Stage) -> str:
    accepted = next(item for item in stage.status()["conditions"] if item["type"] == "Accepted")
    return str(accepted["message"])
