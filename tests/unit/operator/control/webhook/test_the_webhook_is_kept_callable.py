"""The webhook's objects in a cluster: made, restored, renewed; and left alone where they are somebody else's."""

import asyncio
import base64
import copy
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.control.webhook import trust
from mtls_tunnel_operator.control.webhook.reconcile import Mode, Webhook
from mtls_tunnel_operator.errors import ApiError
from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import MemoryApi, Trouble, cluster
from support.operator_stage import Clock
from support.tunnel_resources import NOON

SPACE = "mtls-tunnel-system"
CONFIGURATION = Ref("mutatingwebhookconfigurations", "", "mtls-tunnel")
CA, SERVING = Ref("secrets", SPACE, "mtls-tunnel-webhook-ca"), Ref("secrets", SPACE, "mtls-tunnel-webhook-tls")
CHART: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "mtls-tunnel"},
    "webhooks": [
        {
            "name": "inject.mtlstunnel.dev",
            "clientConfig": {"service": {"name": "mtls-tunnel-injector", "namespace": SPACE, "path": "/mutate"}},
            "failurePolicy": "Fail",
        }
    ],
}


class House:
    """A release with its webhook."""

    def __init__(self, mode: Mode = "Operator", chart: bool = True) -> None:
        self.clock = Clock()
        self.store = cluster(now=self.clock)
        self.mode: Mode = mode
        self.ends: list[float] = []
        if chart:
            self.store.put(CHART)
        self.restart()

    def restart(self) -> None:
        self.api = MemoryApi(self.store, sleep=_no_sleep)
        self.webhook = Webhook(
            self.api,
            namespace=SPACE,
            name="mtls-tunnel",
            service="mtls-tunnel-injector",
            cluster_domain=lambda: "cluster.local",
            mode=self.mode,
            now=self.clock,
            expires=self.ends.append,
        )

    def look(self) -> float | None:
        return asyncio.run(self.webhook.reconcile())

    @property
    def bundle(self) -> bytes:
        text = self.store.objects[CONFIGURATION]["webhooks"][0]["clientConfig"].get("caBundle", "")
        return base64.b64decode(text)

    @property
    def serving(self) -> trust.Serving:
        found = trust.read_serving(self.store.objects[SERVING])
        assert found is not None
        return found

    @property
    def authority(self) -> trust.Authority:
        found = trust.read_authority(self.store.objects[CA])
        assert found is not None
        return found


async def _no_sleep(_: float) -> None:
    return None


def test_the_first_look_makes_all_three() -> None:
    house = House()
    house.look()
    assert house.bundle == house.authority.bundle
    assert trust.dns_names(house.serving.certificate) == {
        "mtls-tunnel-injector.mtls-tunnel-system.svc",
        "mtls-tunnel-injector.mtls-tunnel-system.svc.cluster.local",
    }
    assert house.ends == [house.serving.not_after]


def test_pain_11_only_the_ca_bundle_is_written_and_under_a_manager_of_its_own() -> None:
    house = House()
    before = copy.deepcopy(CHART["webhooks"][0])
    house.look()
    after = copy.deepcopy(house.store.objects[CONFIGURATION]["webhooks"][0])
    del after["clientConfig"]["caBundle"]
    assert after == before
    (entry,) = house.store.objects[CONFIGURATION]["metadata"]["managedFields"]
    assert entry["manager"] == names.WEBHOOK_MANAGER
    assert {path.split('"')[-2] for path in entry["fieldsV1"]} <= {"caBundle", "name"}


def test_nothing_is_written_once_all_is_well() -> None:
    house = House()
    house.look()
    writes = len(house.store.writes())
    house.restart()
    for _ in range(3):
        again = house.look()
        assert again is not None
        house.clock.now = again
    assert len(house.store.writes()) == writes


@pytest.mark.parametrize("text", ["", base64.b64encode(b"rubbish").decode()])
def test_a_bundle_that_was_taken_away_or_spoilt_is_restored(text: str) -> None:
    house = House()
    house.look()
    raw = copy.deepcopy(house.store.objects[CONFIGURATION])
    raw["webhooks"][0]["clientConfig"]["caBundle"] = text
    house.store.put(raw)
    house.look()
    assert house.bundle == house.authority.bundle


def test_a_deleted_serving_secret_is_made_anew_under_the_same_ca() -> None:
    house = House()
    house.look()
    before = house.authority.certificate
    house.store.remove(SERVING)
    house.look()
    assert house.authority.certificate == before
    assert house.serving.not_after > NOON


def test_pain_09_a_deleted_ca_secret_leads_to_both_cas_until_the_new_certificate_is_out() -> None:
    house = House()
    house.look()
    old, serving = house.authority.certificate, house.serving.certificate
    house.store.remove(CA)
    again = house.look()
    assert house.authority.certificate != old
    assert house.authority.previous == old
    assert house.bundle == house.authority.bundle
    assert house.serving.certificate == serving
    for _ in range(4):
        assert again is not None
        house.clock.now = again
        again = house.look()
    assert house.serving.certificate != serving
    assert house.authority.previous is None
    assert house.bundle == house.authority.bundle


def test_the_serving_certificate_never_ends_and_neither_does_its_ca() -> None:
    house = House()
    seen: set[int] = set()
    while house.clock.now < NOON + 3 * 365 * trust.DAY:
        again = house.look()
        assert again is not None
        seen.add(house.serving.certificate.serial_number)
        assert house.serving.not_after > house.clock.now + 3600
        house.clock.now = max(again, house.clock.now + (again - house.clock.now >= 3600) * 5 * trust.DAY)
    assert 12 < len(seen) < 40


@pytest.mark.parametrize("mode", ["CertManager", "Existing"])
def test_certificates_of_others_are_left_alone(mode: Mode) -> None:
    house = House(mode)
    assert house.look() is None
    assert house.store.writes() == []


def test_without_a_configuration_the_certificate_is_there_when_it_comes() -> None:
    house = House(chart=False)
    again = house.look()
    assert again == NOON + 60
    house.store.put(CHART)
    house.look()
    assert house.bundle == house.authority.bundle


@pytest.mark.parametrize("number", range(3))
def test_killed_between_any_two_writes_it_goes_on(number: int) -> None:
    house = House()
    left = [number]

    def may_write() -> bool:
        left[0] -= 1
        return left[0] >= 0

    house.api.may_write = may_write
    with pytest.raises(Exception, match="Lease"):
        house.look()
    house.restart()
    house.look()
    assert house.bundle == house.authority.bundle
    assert (
        trust.decide(house.authority, house.serving, house.bundle, house.webhook.names, NOON, 0.0).new_serving is False
    )


def test_an_error_is_left_to_the_queue() -> None:
    house = House()
    house.api.trouble(Trouble(path=".*webhook-tls", status=500, times=9))
    with pytest.raises(ApiError):
        house.look()
