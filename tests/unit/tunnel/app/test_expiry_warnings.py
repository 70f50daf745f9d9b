"""When a certificate is worth a line in the log, and how loud."""

import logging

import pytest

from mtls_tunnel.app.expiry import due
from mtls_tunnel.config.schema import Expiry
from mtls_tunnel.trust.material import File, Material, TlsFiles, parse
from mtls_tunnel.trust.pki import Credential
from support.clock import NOW
from support.pki import Authority

EXPIRY = Expiry(warn_days=30, critical_days=7)


def material(ca: Authority, leaf: Credential) -> Material:
    files = TlsFiles(File("leaf.pem", leaf.cert_pem), File("key.pem", leaf.key_pem), (File("ca.pem", ca.pem),))
    return parse(files, now=NOW)


@pytest.mark.parametrize(
    ("days", "level"),
    [
        pytest.param(31, None, id="a month and a day"),
        pytest.param(29.5, logging.WARNING, id="under a month"),
        pytest.param(6.5, logging.ERROR, id="under a week"),
        pytest.param(-0.5, logging.ERROR, id="expired"),
    ],
)
def test_the_level_follows_the_days_left(days: float, level: int | None) -> None:
    ca = Authority(now=NOW)
    leaf = ca.leaf("web", dns=("localhost",), days=days)
    found = [one_level for one_level, _ in due([material(ca, leaf)], EXPIRY, NOW)]
    assert found == ([] if level is None else [level])


def test_a_ca_that_runs_out_is_told_like_a_leaf() -> None:
    ca = Authority("Old Root", now=NOW, days=20)
    leaf = ca.leaf("web", dns=("localhost",), days=10)
    told = [attributes for _, attributes in due([material(ca, leaf)], EXPIRY, NOW)]
    assert [one["days_left"] for one in told] == [10, 20]
    assert "CN=Old Root" in str(told[1]["name"])


def test_a_ca_that_two_tunnels_share_is_told_once() -> None:
    ca = Authority(now=NOW, days=20)
    both = [material(ca, ca.leaf(name, dns=("localhost",), days=300)) for name in ("one", "two")]
    assert len(list(due(both, EXPIRY, NOW))) == 1
