"""An MtlsTunnel as a file or the API server has it becomes a value, or one sentence that says what to change."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import (
    Authorization,
    Certificate,
    Client,
    External,
    IssuerRef,
    Key,
    Listener,
    Namespaces,
    Observability,
    Port,
    PrivateKey,
    Proxy,
    Rollout,
    Rule,
    Service,
    Tunnel,
    Workload,
)
from mtls_tunnel_operator.model.selectors import Requirement, Selector
from support.crds import ELSEWHERE, EXTERNAL, FULL, MINIMAL, Raw, with_
from support.refused_tunnels import REFUSED


def requirement(key: str, *values: str, negated: bool = False) -> Requirement:
    return Requirement(key, "NotIn" if negated else "In", frozenset(values))


def test_what_a_tunnel_leaves_out_takes_its_default() -> None:
    assert tunnel_of(MINIMAL) == Tunnel(
        key=Key("default", "orders-db"),
        uid="",
        generation=0,
        created=0.0,
        ports=(Port("pg", 15432, 5432),),
        workload=Workload(Selector((requirement("app", "postgres"),))),
    )


def test_every_field_arrives() -> None:
    metadata = {"uid": "1-2-3", "generation": 7, "creationTimestamp": "2026-11-21T12:00:00Z"}
    raw = {**FULL, "metadata": {**FULL["metadata"], **metadata}, "status": {"revision": "ab"}}
    found = tunnel_of(raw)
    assert found == Tunnel(
        key=Key("default", "redis"),
        uid="1-2-3",
        generation=7,
        created=1795262400.0,
        ports=(Port("redis", 16379, 6379), Port("bus", 16380, 6380)),
        workload=Workload(
            Selector((requirement("app", "redis"), requirement("example.com/role", "sentinel", negated=True))),
            ("redis",),
            Service("Managed", "redis-mtls"),
        ),
        suspend=True,
        plaintext="Block",
        clients=(
            Client(
                name="web",
                selector=Selector((requirement("cache-role", "client"), requirement("old", "no", ""))),
                listeners=(Listener("redis", 6379), Listener("bus", 6381)),
                accounts=("web",),
                namespaces=Namespaces(
                    "Selector", (), Selector((requirement("cache-access", "true"), requirement("tier", "a", "b")))
                ),
            ),
            Client(
                name="batch",
                selector=Selector((requirement("app", "batch"),)),
                listeners=(Listener("redis", 6379),),
                accounts=("batch",),
                namespaces=Namespaces("Names", ("jobs", "default")),
            ),
        ),
        authorization=Authorization(
            "Audit",
            (
                Rule(
                    "mirror",
                    spiffe_ids=("spiffe://dr.example/ns/cache/sa/mirror", "spiffe://dr.example/ns/ops/sa/*"),
                    ports=("redis",),
                ),
                Rule("legacy-host", dns_names=("batch.corp.example", "*.batch.corp.example")),
                Rule("legacy-batch", common_names=("Nightly Batch",)),
                Rule("legacy-team", organizations=("Data & Co",)),
            ),
        ),
        certificate=Certificate(
            issuer=IssuerRef("cert-manager.io", "ClusterIssuer", "corp-mtls"),
            duration_seconds=43200,
            renew_before_seconds=28800,
            subject="PerServiceAccount",
            trust_domain="corp.example",
            private_key=PrivateKey("RSA", 3072, "Never"),
        ),
        rollout=Rollout("RestartWorkloads", 2, 900),
        proxy=Proxy(
            image="registry.corp.example/mtls-tunnel:1",
            image_pull_policy="Always",
            injection="Container",
            resources={"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"cpu": 1, "memory": "128Mi"}},
            min_tls="VersionTLS12",
            max_connections=2000,
            dial_timeout_seconds=5,
            handshake_timeout_seconds=6,
            idle_timeout_seconds=3600,
            drain_timeout_seconds=20,
        ),
        observability=Observability(15999, "Managed", "All", "Debug"),
    )
    assert found.status == {"revision": "ab"}
    assert (found.service_name, found.port("bus"), found.port("smtp")) == ("redis-mtls", Port("bus", 16380, 6380), None)


def test_an_external_server_is_no_workload() -> None:
    found = tunnel_of(EXTERNAL)
    assert found.external == External("mtls.bank.example", "api.bank.example", "spiffe://bank.example/api", "bank-ca")
    assert (found.workload, found.ports, found.service_name) == (None, (Port("api", 443),), "")


def test_a_service_elsewhere_is_none_of_ours() -> None:
    found = tunnel_of(ELSEWHERE)
    assert found.workload is not None
    assert found.workload.service == Service("None", "", "mail.example.org")
    assert found.service_name == ""


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_api_server_refuses_is_refused_in_a_file_too(name: str) -> None:
    base, changes, _, _ = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        tunnel_of(with_(base, changes))
    assert caught.value.reason in ("InvalidSpec", "InvalidSelector")
    assert caught.value.message.startswith(("spec.", "metadata."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"spec": "none"}, "spec: want a mapping, have 'none'", id="a word for a spec"),
        pytest.param({"spec.server": None}, "spec.server.ports: is empty", id="no server"),
        pytest.param(
            {"spec.server.ports.0.tlsPort": "15432"},
            "spec.server.ports[0].tlsPort: want an integer from 1 to 65535, have '15432'",
            id="a port in quotes",
        ),
        pytest.param({"spec.server.ports.0.tlsPort": True}, "have True", id="true is no port"),
        pytest.param({"spec.server.type": "workload"}, "use Workload or External", id="a type in lower case"),
        pytest.param({"spec.suspend": "yes"}, "spec.suspend: want true or false, have 'yes'", id="yes is no bool"),
        pytest.param({"spec.clients": {}}, "spec.clients: want a list, have {}", id="a mapping of clients"),
        pytest.param({"metadata.namespace": "a/b"}, "metadata.namespace: 'a/b' is no namespace name", id="a slash"),
        pytest.param(
            {"spec.authorization.allow": [{"name": "a", "organizations": ["x"], "ports": []}]},
            "spec.authorization.allow[0].ports: is empty",
            id="no ports is not all ports",
        ),
        pytest.param(
            {"spec.authorization.allow": [{"name": "a", "spiffeIDs": ["spiffe://td/../x"]}]},
            "spec.authorization.allow[0].spiffeIDs[0]: 'spiffe://td/../x' is no SPIFFE ID",
            id="dots in a SPIFFE ID",
        ),
        pytest.param(
            {"spec.authorization.allow": [{"name": "a", "dnsNames": ["a.*.example"]}]},
            "write *.example.com",
            id="a star in the middle",
        ),
        pytest.param(
            {"spec.proxy.resources": {"requests": {"cpu": "much"}, "limits": {"cpu": 1}}},
            "spec.proxy.resources.requests.cpu: 'much' is no quantity",
            id="a quantity that is none",
        ),
    ],
)
def test_bad_input_is_named_by_its_place_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        tunnel_of(with_(MINIMAL, changes))
    assert message in caught.value.message


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(node: Any, way: str = "") -> list[str]:
    """The dotted place of everything below *node*."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [
        place for key, child in items if "." not in str(key) for place in _with_own(child, f"{way}.{key}".strip("."))
    ]


def _with_own(child: Any, way: str) -> list[str]:
    return [way, *places(child, way)]


@given(
    st.sampled_from([FULL, EXTERNAL, ELSEWHERE]).flatmap(
        lambda base: st.tuples(st.just(base), st.sampled_from(places(base)))
    ),
    JUNK,
)
def test_no_junk_anywhere_ends_in_anything_but_a_spec_error(where: tuple[Raw, str], junk: object) -> None:
    base, place = where
    with contextlib.suppress(SpecError):
        tunnel_of(with_(base, {place: junk}))
