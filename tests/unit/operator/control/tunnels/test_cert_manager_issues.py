"""With an Issuer of cert-manager the operator asks for Certificates, and tells how cert-manager gets on with them."""

import asyncio
from typing import Any

from mtls_tunnel_operator.authority import leaf
from mtls_tunnel_operator.model.kinds import Ref
from support.cert_manager import CertManager
from support.operator_stage import Stage
from support.tunnel_resources import NOON, tunnel_raw

ISSUER = {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "corp-mtls"}
SERVER = "orders-db-mtls-server"


def asked(**fields: Any) -> tuple[Stage, CertManager]:
    stage = Stage()
    stage.tunnel(tunnel_raw(certificate={"issuerRef": ISSUER, "trustDomain": "corp.example"}))
    asyncio.run(stage.look())
    return stage, CertManager(stage.store, NOON, **fields)


def test_certificates_are_asked_for_and_nothing_is_signed_here() -> None:
    stage, _ = asked()
    assert [one["metadata"]["name"] for one in stage.store.of("certificates")] == ["orders-db-mtls-client-api", SERVER]
    spec = stage.store.objects[Ref("certificates", "shop", SERVER)]["spec"]
    assert spec["uris"] == ["spiffe://corp.example/ns/shop/mtlstunnel/orders-db/server"]
    assert spec["issuerRef"] == ISSUER
    assert stage.store.of("secrets") == []
    assert stage.condition("CertificatesReady")[:2] == ("False", "Pending")


def test_once_cert_manager_has_issued_all_is_ready() -> None:
    stage, manager = asked()
    assert manager.work() == 2
    asyncio.run(stage.look())
    assert stage.condition("CertificatesReady")[:2] == ("True", "Issued")
    facts = leaf.read(stage.secret(SERVER)["tls.crt"])
    (server, _) = stage.status()["certificates"]
    assert (server["serialNumber"], server["secretName"]) == (facts.serial, SERVER)
    with stage.quiet():
        asyncio.run(stage.look())


def test_what_cert_manager_complains_about_is_passed_on() -> None:
    stage, manager = asked(broken='clusterissuer.cert-manager.io "corp-mtls" not found')
    manager.work()
    asyncio.run(stage.look())
    status, reason, message = stage.condition("CertificatesReady")
    assert (status, reason) == ("False", "RenewalFailing")
    assert '"corp-mtls" not found' in message
    assert "`kubectl -n shop describe certificate" in message


def test_an_issuer_that_hands_out_no_ca_is_of_no_use() -> None:
    stage, manager = asked(hands_out_ca=False)
    manager.work()
    asyncio.run(stage.look())
    assert "hands out no CA" in stage.condition("CertificatesReady")[2]


def test_a_certificate_from_a_clock_that_was_ahead_is_said_with_what_makes_it_anew() -> None:
    stage, manager = asked()
    manager.now = NOON + 86400
    manager.work()
    asyncio.run(stage.look())
    status, reason, message = stage.condition("CertificatesReady")
    assert (status, reason) == ("False", "NotYetValid")
    assert "Delete it, and cert-manager makes it anew." in message


def test_without_cert_manager_in_the_cluster_that_is_what_is_said() -> None:
    stage = Stage()
    stage.store.served.discard("certificates")
    stage.tunnel(tunnel_raw(certificate={"issuerRef": ISSUER}))
    asyncio.run(stage.look())
    status, reason, message = stage.condition("Accepted")
    assert (status, reason) == ("False", "IssuerNotFound")
    assert "install cert-manager" in message


def test_a_secret_that_is_no_longer_wanted_goes_with_its_certificate() -> None:
    stage, manager = asked()
    manager.work()
    asyncio.run(stage.look())
    stage.tunnel(tunnel_raw(certificate={"issuerRef": ISSUER, "trustDomain": "corp.example"}, clients=[]))
    asyncio.run(stage.look())
    assert [one["metadata"]["name"] for one in stage.store.of("certificates")] == [SERVER]
    assert [one["metadata"]["name"] for one in stage.store.of("secrets")] == [SERVER]
