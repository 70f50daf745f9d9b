"""Wildcards stay within a label, dots are dots, and every pattern is anchored at both ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.clients import PING, context, refusal, talk
from support.guarded import Guarded, acl_denial

RULES = {
    "acl": {
        "allow_cn": ["frontend-service"],
        "allow_dns": ["*.a.example", "api.example"],
        "allow_ip": ["10.1.0.0/16"],
        "allow_email": ["ops@example.org"],
        "allow_ou": ["Payments"],
        "deny_dns": ["bad.a.example"],
        "deny_org": ["Fired"],
    }
}


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded"), RULES) as guarded:
        yield guarded


DENIED = [
    pytest.param({"dns": ("x.y.a.example",)}, "default", id="two labels under a wildcard"),
    pytest.param({"dns": ("a.example",)}, "default", id="the wildcard's own domain"),
    pytest.param({"dns": ("xa.example",)}, "default", id="no dot before the domain"),
    pytest.param({"dns": ("x.a.example.evil.org",)}, "default", id="as a prefix"),
    pytest.param({"dns": ("apixexample",)}, "default", id="a character for the dot"),
    pytest.param({"dns": ("evil-api.example",)}, "default", id="as a suffix"),
    pytest.param({"dns": ("*.b.example",)}, "default", id="a wildcard in the certificate"),
    pytest.param({"cn": "frontend-service2"}, "default", id="a longer CN"),
    pytest.param({"cn": "frontend"}, "default", id="a shorter CN"),
    pytest.param({"cn": "Frontend-Service"}, "default", id="a CN in another case"),
    pytest.param({"org": ("frontend-service",)}, "default", id="the CN as an organisation"),
    pytest.param({"ou": ("Payments2",)}, "default", id="a longer OU"),
    pytest.param({"ip": ("10.2.0.1",)}, "default", id="an address outside of the network"),
    pytest.param({"dns": ("10.1.0.1",)}, "default", id="an address as a DNS name"),
    pytest.param({"email": ("xops@example.org",)}, "default", id="a longer e-mail name"),
    pytest.param({"dns": ("bad.a.example",)}, "deny_dns", id="denied and allowed: deny wins"),
    pytest.param({"dns": ("ok.a.example", "bad.a.example")}, "deny_dns", id="one of two names is denied"),
    pytest.param(
        {"cn": "frontend-service", "org": ("Fired",)}, "deny_org", id="an allowed CN of a denied organisation"
    ),
]
ALLOWED = [
    pytest.param({"dns": ("x.a.example",)}, id="one label under a wildcard"),
    pytest.param({"dns": ("X.A.Example",)}, id="DNS names in another case"),
    pytest.param({"dns": ("other.example", "api.example")}, id="the second of two names"),
    pytest.param({"ip": ("10.1.255.255",)}, id="an address of the network"),
    pytest.param({"email": ("ops@example.org",)}, id="an e-mail name"),
    pytest.param({"ou": ("Staff", "Payments")}, id="any of the OUs"),
]


@pytest.mark.parametrize(("names", "rule"), DENIED)
def test_these_are_denied(guarded: Guarded, names: dict[str, Any], rule: str) -> None:
    identity = guarded.files.write("peer", guarded.authority.leaf(**{"cn": "peer", **names}))
    with guarded.refuses(acl_denial(rule)):
        refusal(guarded.port, context(guarded.files, identity))


@pytest.mark.parametrize("names", ALLOWED)
def test_these_get_through(guarded: Guarded, names: dict[str, Any]) -> None:
    identity = guarded.files.write("peer", guarded.authority.leaf(**{"cn": "peer", **names}))
    assert talk(guarded.port, context(guarded.files, identity)) == PING


def test_two_common_names_are_none(guarded: Guarded) -> None:
    credential = guarded.authority.two_cns("frontend-service", "frontend-service")
    identity = guarded.files.write("two", credential)
    with guarded.refuses(acl_denial("default")):
        refusal(guarded.port, context(guarded.files, identity))
