"""Who passes is asked of the tunnel's own policy, with the configuration that the operator has rendered."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Tunnel as Listener
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.policy import Decision, Policy
from mtls_tunnel_operator.desired import config, names
from mtls_tunnel_operator.desired.places import places_of
from mtls_tunnel_operator.desired.world import Peers
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.parts import Part, parts_of_tunnel
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Authorization, Rule, Tunnel
from support.generated_tunnels import peers, tunnels
from support.leaves import someone
from support.tunnel_resources import tunnel, tunnel_raw

many = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
HOME = Peers("cluster.local", spaces={"api": ("shop",), "batch": ("shop",)})
API = "spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/client/api"
SERVER = "spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/server"


def listeners(part: Part, given_peers: Peers) -> dict[int, Listener]:
    """The rendered listeners of *part* by their port."""
    text = config.tunnel_yaml(part, given_peers)
    return {one.listen.port: one for one in load([Source("tunnel.yaml", text)]).config.tunnels}


def judged(listener: Listener, who: Identity | None) -> Decision:
    return Policy.of(listener.acl, listener.roles).decide(who)


def passes(made: Tunnel, who: Identity | None, *, port: int = 15432, given_peers: Peers = HOME) -> bool:
    """Whether the server of *made* lets *who* in."""
    return judged(listeners(parts_of_tunnel(made)[0], given_peers)[port], who).allowed


def named(uri: str) -> Identity:
    return someone(uris=(uri,))


@many
@given(st.data())
def test_a_declared_client_passes_on_its_ports_where_its_namespace_has_accepted_and_nowhere_else(
    data: st.DataObject,
) -> None:
    made = replace(data.draw(tunnels(external=False)), authorization=Authorization())
    given_peers = data.draw(peers(made))
    everywhere = {client.name: (made.key.namespace, "abroad", "far", "elsewhere") for client in made.clients}

    for port, listener in listeners(parts_of_tunnel(made)[0], given_peers).items():
        name = next(one.name for one in made.ports if one.tls_port == port)
        may = {
            place.identity(given_peers.trust_domain)
            for place in places_of(made, given_peers.spaces)
            if place.part.client and name in {each.port for each in place.part.client.listeners}
        }
        for place in places_of(made, everywhere):
            who = place.identity(given_peers.trust_domain)
            assert judged(listener, named(who)).allowed == (who in may)
        assert not judged(listener, None).allowed
        assert not judged(listener, someone("nobody", dns=("nobody.example",))).allowed


@many
@given(st.data())
def test_no_two_roles_of_any_two_tunnels_share_an_identity(data: st.DataObject) -> None:
    some = {made.key: made for made in data.draw(st.lists(tunnels(), min_size=2, max_size=3))}
    spaces = ("shop", "abroad", "a")

    owners: dict[str, object] = {}
    for made in some.values():
        per_role = replace(made, certificate=replace(made.certificate, subject="PerRole"))
        where = {client.name: tuple(dict.fromkeys((*spaces, made.key.namespace))) for client in made.clients}
        for place in places_of(per_role, where):
            owner = (made.key, place.part.role, place.part.client_name, place.namespace)
            assert owners.setdefault(place.identity("cluster.local"), owner) == owner


@many
@given(st.data())
def test_a_client_takes_only_its_own_server_for_the_server(data: st.DataObject) -> None:
    made = data.draw(tunnels(external=False))
    given_peers = data.draw(peers(made))
    servers = set(names.server_identities(made, given_peers.trust_domain))

    for part in parts_of_tunnel(made):
        if part.client is None:
            continue
        for listener in listeners(part, given_peers).values():
            assert set(listener.tls.server_uri) == servers
            assert all(judged(listener, named(uri)).allowed for uri in servers)
            others = {place.identity(given_peers.trust_domain) for place in places_of(made, given_peers.spaces)}
            assert not any(judged(listener, named(uri)).allowed for uri in others - servers)
            assert not judged(listener, someone("db", dns=(listener.tls.server_name,))).allowed


def two_ports(**spec: Any) -> Tunnel:
    raw = tunnel_raw(**spec)
    raw["spec"]["server"]["ports"].append({"name": "admin", "targetPort": 5433, "tlsPort": 15433})
    return tunnel_of(raw)


def test_a_port_that_nobody_may_use_is_served_and_refuses_everyone() -> None:
    for who in (None, someone(), named(API), named(SERVER), someone("api", dns=("api.example",))):
        assert not passes(two_ports(), who, port=15433)


@pytest.mark.parametrize(
    ("rule", "passing", "refused"),
    [
        (
            {"spiffeIDs": ["spiffe://cluster.local/ns/ops/sa/*"]},
            named("spiffe://cluster.local/ns/ops/sa/deploy"),
            named("spiffe://cluster.local/ns/ops/sa/deploy/more"),
        ),
        (
            {"spiffeIDs": ["spiffe://dr.example/ns/cache/sa/mirror"]},
            named("spiffe://dr.example/ns/cache/sa/mirror"),
            named("spiffe://cluster.local/ns/cache/sa/mirror"),
        ),
        ({"dnsNames": ["Batch.corp.example"]}, someone(dns=("batch.corp.example",)), someone(dns=("corp.example",))),
        ({"dnsNames": ["*.corp.example"]}, someone(dns=("b.corp.example",)), someone(dns=("a.b.corp.example",))),
        ({"commonNames": ["batch"]}, someone("batch"), someone("Batch")),
        ({"organizations": ["Data"]}, someone(orgs=("Ops", "Data")), someone("Data")),
    ],
)
def test_a_listed_peer_passes_on_the_ports_of_its_rule(
    rule: dict[str, list[str]], passing: Identity, refused: Identity
) -> None:
    everywhere = two_ports(authorization={"allow": [{"name": "r", **rule}]})
    on_one = two_ports(authorization={"allow": [{"name": "r", **rule, "ports": ["admin"]}]})

    assert [passes(everywhere, passing, port=port) for port in (15432, 15433)] == [True, True]
    assert [passes(on_one, passing, port=port) for port in (15432, 15433)] == [False, True]
    assert [passes(everywhere, refused, port=port) for port in (15432, 15433)] == [False, False]


def test_audit_lets_pass_what_it_would_deny_and_says_so() -> None:
    server = listeners(parts_of_tunnel(tunnel(authorization={"mode": "Audit"}))[0], HOME)[15432]

    assert judged(server, named(API)) == Decision(True, "allow_uri")
    assert judged(server, someone("stranger")) == Decision(True, "default", audit=True)


def test_audit_is_about_who_comes_in_not_about_the_server_that_is_dialed() -> None:
    client = listeners(parts_of_tunnel(tunnel(authorization={"mode": "Audit"}))[1], HOME)[5432]

    assert not judged(client, someone("stranger")).allowed


def test_one_namespaces_consent_is_taken_back_alone() -> None:
    made = tunnel_of(
        tunnel_raw(
            clients=[
                {**tunnel_raw()["spec"]["clients"][0], "namespaces": {"from": "Names", "names": ["bi", "ops"]}},
            ]
        )
    )
    there = {
        space: f"spiffe://cluster.local/ns/{space}/mtlstunnel/shop.orders-db/client/api" for space in ("bi", "ops")
    }

    both = Peers("cluster.local", spaces={"api": ("bi", "ops")})
    one = Peers("cluster.local", spaces={"api": ("ops",)})

    assert [passes(made, named(there[space]), given_peers=both) for space in ("bi", "ops")] == [True, True]
    assert [passes(made, named(there[space]), given_peers=one) for space in ("bi", "ops")] == [False, True]


def test_per_service_account_the_account_and_its_namespace_are_the_identity() -> None:
    raw = tunnel_raw(certificate={"subject": "PerServiceAccount"})
    raw["spec"]["server"]["workload"]["serviceAccounts"] = ["postgres"]
    raw["spec"]["clients"][0]["serviceAccounts"] = ["orders", "batch"]
    made = tunnel_of(raw)

    for account in ("orders", "batch"):
        assert passes(made, named(f"spiffe://cluster.local/ns/shop/sa/{account}"))
        assert not passes(made, named(f"spiffe://cluster.local/ns/bi/sa/{account}"))
    assert not passes(made, named("spiffe://cluster.local/ns/shop/sa/default"))
    client = listeners(parts_of_tunnel(made)[1], HOME)[5432]
    assert client.tls.server_uri == ("spiffe://cluster.local/ns/shop/sa/postgres",)


@pytest.mark.parametrize(
    ("external", "right", "wrong"),
    [
        ({}, someone(dns=("db.example.com",)), someone(dns=("db.example.org",))),
        ({}, someone(dns=("*.example.com",)), someone(dns=("*.com",))),
        ({"host": "192.0.2.7"}, someone(ips=("192.0.2.7",)), someone(ips=("192.0.2.8",))),
        ({"host": "2001:db8::7"}, someone(ips=("2001:db8::7",)), someone(dns=("2001:db8::7",))),
        ({"serverName": "pg"}, someone(dns=("pg",)), someone(dns=("db.example.com",))),
        (
            {"spiffeID": "spiffe://dr.example/pg"},
            named("spiffe://dr.example/pg"),
            someone(dns=("db.example.com",), uris=("spiffe://dr.example/other",)),
        ),
    ],
)
def test_an_external_server_is_who_the_resource_says(
    external: dict[str, str], right: Identity, wrong: Identity
) -> None:
    server = {
        "type": "External",
        "external": {"host": "db.example.com", **external},
        "ports": [{"name": "pg", "tlsPort": 5433}],
    }

    client = listeners(parts_of_tunnel(tunnel(server=server))[0], HOME)[5432]

    assert (judged(client, right).allowed, judged(client, wrong).allowed) == (True, False)


@pytest.mark.parametrize("emergency", [False, True])
def test_connections_outlive_a_retired_ca_and_an_expired_leaf_but_not_a_compromised_ca(*, emergency: bool) -> None:
    for part in parts_of_tunnel(tunnel()):
        for listener in listeners(part, replace(HOME, emergency=emergency)).values():
            acl = listener.acl
            assert (acl.default, acl.reauthorize, acl.on_expiry) == ("deny", "close", "log")
            assert acl.on_ca_removed == ("close" if emergency else "log")


HOSTILE = (
    "x\nacl: {default: allow}",
    "x\r\nlistening: yes",
    "a: b",
    "- a",
    "*",
    "&anchor",
    "!!python/object:os.system",
    "{}",
    "x # comment",
    "'",
    '"',
    "\u2028x",
    "x\x00y",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
@pytest.mark.parametrize("kind", ["common_names", "organizations", "dns_names", "spiffe_ids"])
def test_no_text_of_a_rule_becomes_configuration(kind: str, text: str) -> None:
    """Past every check of the API server: the text is compared with names, or refused; it is never read as YAML."""
    made = replace(tunnel(clients=[]), authorization=Authorization(allow=(Rule("r", **{kind: (text,)}),)))

    try:
        found = listeners(parts_of_tunnel(made)[0], HOME)[15432]
    except SpecError:
        return

    assert (found.acl.default, found.acl.mode, str(found.listen)) == ("deny", "enforce", ":15432")
    (rendered,) = (found.acl.allow.cn, found.acl.allow.org, found.acl.allow.dns, found.acl.allow.uri)[
        ["common_names", "organizations", "dns_names", "spiffe_ids"].index(kind)
    ]
    assert rendered == text
    assert not judged(found, someone()).allowed


@pytest.mark.parametrize("account", ["x/../../ns/payments/sa/ledger", "a/b", "*", "a\nb", "a b", "..", ""])
def test_no_text_of_a_resource_becomes_somebody_elses_identity(account: str) -> None:
    made = tunnel()
    assert made.workload is not None
    part = Part(replace(made, certificate=replace(made.certificate, subject="PerServiceAccount")), "server")

    if account == "":  # a pod that names none runs as this one
        assert names.identity(part, "shop", account, "cluster.local") == "spiffe://cluster.local/ns/shop/sa/default"
        return
    with pytest.raises(SpecError) as caught:
        names.identity(part, "shop", account, "cluster.local")
    assert (caught.value.reason, caught.value.message.isprintable()) == ("InvalidIdentity", True)


@pytest.mark.parametrize("domain", ["td/ns/payments", "TD", "", "user@td", "td:80", "td\n"])
def test_no_trust_domain_hides_a_path(domain: str) -> None:
    with pytest.raises(SpecError):
        names.identity(parts_of_tunnel(tunnel())[0], "shop", "", domain)
