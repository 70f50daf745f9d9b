"""The ConfigMap with the installation's defaults: what is read, what is said, and what stays when it is broken."""

from dataclasses import fields

import pytest

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.settings import Defaults, defaults_of

IMAGE = {"sidecarImage": "registry.example/tunnel:1"}
FULL = {
    "sidecarImage": "registry.example/tunnel@sha256:00",
    "sidecarPullPolicy": "Always",
    "allowedImages": "- registry.example/*\n- other/x:1\n",
    "sidecarResources": "requests: {cpu: 5m, memory: 20Mi}\n",
    "runAsUser": "null",
    "runAsGroup": "",
    "injection": "Container",
    "clusterDomain": "k8s.example",
    "trustDomainName": "corp",
    "trustDomain": "corp.example",
    "trustDomainCreate": "false",
    "trustDomainSpec": "rotation: {issuingSeconds: 0}",
    "maxConcurrentRollouts": "7",
}
READ = Defaults(
    sidecar_image="registry.example/tunnel@sha256:00",
    sidecar_pull_policy="Always",
    allowed_images=("registry.example/*", "other/x:1"),
    sidecar_resources={"requests": {"cpu": "5m", "memory": "20Mi"}},
    run_as_user=None,
    run_as_group=None,
    injection="Container",
    cluster_domain="k8s.example",
    trust_domain_name="corp",
    trust_domain="corp.example",
    trust_domain_create=False,
    trust_domain_spec={"rotation": {"issuingSeconds": 0}},
    max_concurrent_rollouts=7,
    operator_namespace="mtls",
)


def read(data: dict[str, str], last: Defaults | None = None) -> tuple[Defaults, tuple[str, ...]]:
    return defaults_of(data, operator_namespace="mtls", last=last)


def test_every_key_arrives() -> None:
    assert read(FULL) == (READ, ())
    assert len(FULL) + 1 == len(fields(Defaults)), "a field has no key in this test"


def test_a_key_that_is_absent_means_the_default_and_not_the_value_before() -> None:
    assert read(IMAGE, READ) == (Defaults("registry.example/tunnel:1", operator_namespace="mtls"), ())


def test_without_any_image_nothing_can_be_injected() -> None:
    for data in ({}, {"sidecarImage": ""}, {"sidecarImage": "two words"}):
        with pytest.raises(SpecError, match=r"set the chart's value sidecar\.image") as caught:
            read(data)
        assert caught.value.reason == "InvalidDefaults"


def test_an_image_that_is_taken_away_stays() -> None:
    found, _ = read({}, READ)
    assert found.sidecar_image == READ.sidecar_image


def test_an_unknown_key_is_said_and_ignored() -> None:
    assert read(IMAGE | {"sidecarimage": "x"})[1] == ("sidecarimage: unknown, ignored",)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("sidecarPullPolicy", "Sometimes", "is none of Always, IfNotPresent, Never"),
        ("allowedImages", "registry.example/*", "is no list of image names"),
        ("allowedImages", "[1]", "is no list of image names"),
        ("allowedImages", "[", "is no YAML"),
        ("sidecarResources", "- cpu", "is no mapping"),
        ("sidecarResources", "claims: []", "has other keys than requests and limits"),
        ("sidecarResources", "requests: 5m", "has no quantities in requests"),
        ("runAsUser", "0", "is no whole number from 1 on"),
        ("runAsGroup", "-1", "is no whole number from 1 on"),
        ("injection", "Sidecar", "is none of Auto, NativeSidecar, Container"),
        ("clusterDomain", "Cluster Local", "is no DNS domain"),
        ("trustDomainName", "Default", "is no object name"),
        ("trustDomain", "spiffe://x", "is no SPIFFE trust domain"),
        ("trustDomainCreate", "yes", "is none of true, false"),
        ("trustDomainSpec", "x", "is no mapping"),
        ("maxConcurrentRollouts", "many", "is no whole number from 1 on"),
        ("sidecarImage", "a b", "is no image"),
    ],
)
def test_a_value_that_cannot_be_read_keeps_the_last_good_one(key: str, value: str, problem: str) -> None:
    found, problems = read(FULL | {key: value}, READ)
    assert found == READ
    (said,) = problems
    assert said.startswith(f"{key}: ")
    assert problem in said
    assert said.endswith("; the last good value stays")


def test_a_value_that_cannot_be_read_at_the_start_is_the_default() -> None:
    found, problems = read(IMAGE | {"injection": "x"})
    assert found == Defaults("registry.example/tunnel:1", operator_namespace="mtls")
    assert len(problems) == 1
