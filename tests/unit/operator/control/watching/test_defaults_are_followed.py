"""The defaults of the installation: the last good ones stay, a change is told, the first reading is none."""

import logging

import pytest

from mtls_tunnel_operator.control.watching.installation import Installation
from support.kube_api import MemoryApi, cluster

IMAGE = {"sidecarImage": "registry.example/mtls-tunnel:1"}


def made(changes: list[str]) -> Installation:
    api = MemoryApi(cluster())
    return Installation(api, "mtls-tunnel-system", "mtls-tunnel", lambda: changes.append("changed"))


def test_the_first_reading_is_no_change_the_same_again_is_none_and_another_one_is() -> None:
    changes: list[str] = []
    installation = made(changes)
    installation.read(IMAGE)
    installation.read(dict(IMAGE))
    assert changes == []
    installation.read({**IMAGE, "clusterDomain": "corp.example"})
    assert changes == ["changed"]
    assert installation.defaults().cluster_domain == "corp.example"
    assert installation.defaults().operator_namespace == "mtls-tunnel-system"


def test_what_cannot_be_read_keeps_its_last_good_value_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    changes: list[str] = []
    installation = made(changes)
    installation.read({**IMAGE, "maxConcurrentRollouts": "7"})
    with caplog.at_level(logging.WARNING):
        installation.read({**IMAGE, "maxConcurrentRollouts": "many"})
    assert installation.defaults().max_concurrent_rollouts == 7
    assert changes == []
    assert "maxConcurrentRollouts" in caplog.text


def test_without_an_image_there_are_no_defaults_yet_and_it_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    installation = made([])
    installation.read({})
    assert "sidecarImage" in caplog.text
    with pytest.raises(AssertionError):
        installation.defaults()
