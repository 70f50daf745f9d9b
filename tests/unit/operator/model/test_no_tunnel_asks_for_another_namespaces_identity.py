"""Whoever may write MtlsTunnels in one namespace gets identities of that namespace, whatever is written in them.

Each text of a tunnel is replaced by texts that would reach elsewhere if they were put into a URI, a DNS name
or an object's name as they are: either the tunnel is refused, or every identity stays at home.
"""

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.parts import parts_of_tunnel
from mtls_tunnel_operator.model.reading import tunnel_of
from support.crds import FULL, MINIMAL, Raw, with_

CLIENT = {"name": "api", "selector": {"matchLabels": {"a": "b"}}, "listeners": [{"port": "pg", "localPort": 5432}]}
PER_ROLE = with_(MINIMAL, {"spec.clients": [CLIENT], "metadata.namespace": "shop"})
PER_ACCOUNT = with_(FULL, {"metadata.namespace": "shop"})

TEXTS = (
    "metadata.name",
    "spec.clients.0.name",
    "spec.clients.0.serviceAccounts.0",
    "spec.server.workload.serviceAccounts.0",
    "spec.server.workload.service.name",
    "spec.server.workload.service.address",
    "spec.server.ports.0.name",
    "spec.certificate.issuerRef.name",
)
HOSTILE = (
    "../../../ns/bank/sa/teller",
    "x/../../../../bank/mtlstunnel/ledger/server",
    "x/server",
    "..",
    ".",
    "",
    "x%2f..%2fbank",
    "x\r\nURI:spiffe://cluster.local/ns/bank/sa/teller",
    "x\x00.bank.svc",
    "x, URI:spiffe://cluster.local/ns/bank/sa/teller",
    "ledger.bank.svc.cluster.local",
    "ledger.bank",
    "*.bank.svc",
    "*",
    "bank/ledger",
    "LEDGER",
    "ｌedger",
    "a" * 300,
)
AT_HOME = re.compile(
    r"spiffe://cluster\.local/ns/shop/(sa/[a-z0-9.-]+|mtlstunnel/[a-z0-9-]+/(server|client/[a-z0-9-]+))"
)
DNS_AT_HOME = re.compile(r"[a-z0-9-]+\.shop\.svc(\.cluster\.local)?")


def stays_at_home(raw: Raw) -> bool:
    """Whether *raw* is refused, or gives identities of namespace shop only."""
    try:
        tunnel = tunnel_of(raw)
        found = [
            leaf_names(part, "shop", account, "cluster.local", "cluster.local")
            for part in parts_of_tunnel(tunnel)
            for account in part.accounts or ("",)
        ]
    except SpecError:
        return True
    return all(
        AT_HOME.fullmatch(one.uri) and ".." not in one.uri and all(DNS_AT_HOME.fullmatch(name) for name in one.dns)
        for one in found
    )


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("place", TEXTS)
@pytest.mark.parametrize("base", [PER_ROLE, PER_ACCOUNT], ids=["per role", "per account"])
def test_a_hostile_text_in_any_name_is_refused_or_stays_at_home(base: Raw, place: str, text: str) -> None:
    if place.endswith("serviceAccounts.0") and base is PER_ROLE:
        base = with_(base, {place.removesuffix(".0"): ["x"]})
    assert stays_at_home(with_(base, _changes(place, text)))


@given(st.sampled_from(TEXTS[:6]), st.text(max_size=40))
@example("spec.clients.0.name", "server\n")
def test_no_text_at_all_leaves_home(place: str, text: str) -> None:
    assert stays_at_home(with_(PER_ACCOUNT, _changes(place, text)))


def test_two_tunnels_that_could_be_mixed_up_have_two_identities() -> None:
    """The client of one tunnel cannot be written so that it is another tunnel's server."""
    first = tunnel_of(with_(PER_ROLE, {"metadata.name": "a", "spec.clients.0.name": "b"}))
    second = tunnel_of(with_(PER_ROLE, {"metadata.name": "a-mtls-client-b", "spec.clients.0.name": "b"}))
    found = [
        leaf_names(part, "shop", "", "cluster.local", "cluster.local").uri
        for tunnel in (first, second)
        for part in parts_of_tunnel(tunnel)
    ]
    assert len(set(found)) == len(found) == 4


def _changes(place: str, text: str) -> dict[str, Any]:
    if place.endswith("address"):
        return {"spec.server.workload.service": {"policy": "None", "address": text}}
    return {place: text}
