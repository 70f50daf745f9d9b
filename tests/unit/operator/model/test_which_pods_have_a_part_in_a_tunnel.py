"""Selectors, namespaces, consent, opt-in and service accounts: who is a server or a client of what.

The reference of the last test says it again in one sentence each; hypothesis builds small clusters.
"""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.model.parts import Part, client_spaces, parts_of, parts_of_tunnel
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Tunnel
from support.crds import Raw

OPTED_IN = {"mtlstunnel.dev/injection": "enabled"}
SHOP = Space("shop", OPTED_IN)


def client(name: str = "api", app: str = "api", **fields: object) -> Raw:
    return {
        "name": name,
        "selector": {"matchLabels": {"app": app}},
        "listeners": [{"port": "pg", "localPort": 5432}],
        **fields,
    }


def tunnel(name: str = "db", namespace: str = "shop", clients: tuple[Raw, ...] = (client(),), **spec: object) -> Tunnel:
    server = {
        "workload": {"selector": {"matchLabels": {"app": "db"}}},
        "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
    }
    return tunnel_of(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"server": server, "clients": clients, **spec}}
    )


def names(parts: tuple[Part, ...]) -> list[str]:
    return [f"{part.tunnel.key}:{part.client_name or 'server'}" for part in parts]


def test_a_selected_pod_is_a_server_another_a_client_and_a_third_nothing() -> None:
    found = [names(parts_of(SHOP, {"app": app}, "default", [tunnel()])) for app in ("db", "api", "web")]
    assert found == [["shop/db:server"], ["shop/db:api"], []]


def test_one_pod_may_be_server_and_client_and_its_servers_lead() -> None:
    tunnels = [tunnel("z"), tunnel("a", clients=(client("y", "db"), client("b", "db")))]
    found = parts_of(SHOP, {"app": "db"}, "default", tunnels)
    assert names(found) == ["shop/a:server", "shop/z:server", "shop/a:b", "shop/a:y"]


def test_an_external_server_has_clients_only() -> None:
    server = {"type": "External", "external": {"host": "x.example"}, "ports": [{"name": "pg", "tlsPort": 443}]}
    outside = tunnel(server=server)
    assert names(parts_of_tunnel(outside)) == ["shop/db:api"]
    assert names(parts_of(SHOP, {"app": "api"}, "default", [outside])) == ["shop/db:api"]


@pytest.mark.parametrize(
    ("space", "labels"),
    [
        pytest.param(Space("shop"), {"app": "db"}, id="the namespace has not opted in"),
        pytest.param(Space("shop", {"mtlstunnel.dev/injection": "disabled"}), {"app": "db"}, id="it has opted out"),
        pytest.param(SHOP, {"app": "db", "mtlstunnel.dev/inject": "false"}, id="the pod has opted out"),
        pytest.param(Space("bank", OPTED_IN), {"app": "db"}, id="another namespace with the same labels"),
    ],
)
def test_nobody_gets_a_sidecar_against_their_will(space: Space, labels: dict[str, str]) -> None:
    assert parts_of(space, labels, "default", [tunnel()]) == ()


def test_a_suspended_tunnel_counts_as_before() -> None:
    assert names(parts_of(SHOP, {"app": "db"}, "default", [tunnel(suspend=True)])) == ["shop/db:server"]


def test_per_service_account_only_listed_accounts_have_a_part() -> None:
    listing = tunnel_of(
        {
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {
                "server": {
                    "workload": {
                        "selector": {"matchLabels": {"app": "db"}},
                        "serviceAccounts": ["postgres", "default"],
                    },
                    "ports": [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}],
                },
                "certificate": {"subject": "PerServiceAccount"},
            },
        }
    )
    found = [
        names(parts_of(SHOP, {"app": "db"}, account, [listing])) for account in ("postgres", "other", "default", "")
    ]
    assert found == [["shop/db:server"], [], ["shop/db:server"], ["shop/db:server"]]


@pytest.mark.parametrize(
    ("space", "taken"),
    [
        pytest.param(Space("jobs", OPTED_IN, frozenset({"shop"})), True, id="labelled and consenting"),
        pytest.param(Space("jobs", OPTED_IN, frozenset({"shop", "bank"})), True, id="consenting to several"),
        pytest.param(Space("jobs", OPTED_IN, frozenset({"bank"})), False, id="consenting to another"),
        pytest.param(Space("jobs", OPTED_IN), False, id="labelled only"),
        pytest.param(Space("jobs", {}, frozenset({"shop"})), False, id="consenting only"),
        pytest.param(Space("jobs", OPTED_IN, frozenset({"*"})), False, id="a star is no namespace"),
    ],
)
def test_a_client_in_another_namespace_needs_both_sides(space: Space, taken: bool) -> None:
    reaching = tunnel(clients=(client(namespaces={"from": "Names", "names": ["jobs"]}),))
    parts = parts_of(space, {"app": "api"}, "default", [reaching])
    assert bool(parts) is taken
    assert client_spaces(reaching, reaching.clients[0], {"jobs": space}) == (
        (("jobs",), ()) if taken else ((), ("jobs",))
    )
    assert [(part.abroad, part.namespace) for part in parts] == [("jobs", "jobs")] * taken


def test_refused_namespaces_are_those_that_were_asked_for() -> None:
    selecting = client(namespaces={"from": "Selector", "selector": {"matchLabels": {"team": "data"}}})
    reaching = tunnel(clients=(selecting, client("two", namespaces={"from": "Names", "names": ["gone", "shop"]})))
    data = {"team": "data"}
    spaces = {
        "shop": SHOP,
        "lake": Space("lake", OPTED_IN | data, frozenset({"shop"})),
        "moat": Space("moat", OPTED_IN | data),
        "dry": Space("dry", OPTED_IN, frozenset({"shop"})),
    }
    assert client_spaces(reaching, reaching.clients[0], spaces) == (("lake",), ("moat",))
    assert client_spaces(reaching, reaching.clients[1], spaces) == (("shop",), ("gone",))


def test_the_tunnels_own_namespace_needs_no_consent_and_no_label_for_its_files() -> None:
    assert client_spaces(tunnel(), tunnel().clients[0], {"shop": Space("shop")}) == (("shop",), ())


def test_names_of_objects_meet_no_other_tunnels() -> None:
    """At home names are readable; copies and files of one account end with a hash of whose they are."""
    plain, other = tunnel(), tunnel(namespace="bank")
    at_home = [part.object_name("shop", "ignored") for part in parts_of_tunnel(plain)]
    assert at_home == ["db-mtls-server", "db-mtls-client-api"]
    copies = {parts_of_tunnel(one)[1].object_name("jobs", "x") for one in (plain, other)}
    assert len(copies) == 2
    assert all(
        name.startswith("db-mtls-client-api-") and len(name) == len("db-mtls-client-api-") + 8 for name in copies
    )
    assert parts_of_tunnel(plain)[1].object_name("jobs", "x") == parts_of_tunnel(plain)[1].object_name("mine", "y")


APPS, SPACES = ("db", "api", "web"), ("shop", "jobs", "bank")
SPACE = st.builds(
    lambda name, enabled, accepts, team: Space(
        name, (OPTED_IN if enabled else {}) | ({"team": team} if team else {}), frozenset(accepts)
    ),
    st.sampled_from(SPACES),
    st.booleans(),
    st.sets(st.sampled_from(SPACES)),
    st.sampled_from(["", "a", "b"]),
)
REACH = st.one_of(
    st.just({"from": "Same"}),
    st.lists(st.sampled_from(SPACES), min_size=1, max_size=3, unique=True).map(
        lambda some: {"from": "Names", "names": some}
    ),
    st.just({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}),
)
TUNNEL = st.builds(
    lambda name, namespace, app, reach: tunnel(name, namespace, (client("one", app, namespaces=reach),)),
    st.sampled_from(["t", "u"]),
    st.sampled_from(SPACES),
    st.sampled_from(APPS),
    REACH,
)


@given(SPACE, st.sampled_from(APPS), st.lists(TUNNEL, max_size=4))
def test_parts_are_what_the_contract_says(space: Space, app: str, tunnels: list[Tunnel]) -> None:
    expected = set()
    for index, one in enumerate(tunnels):
        home = one.key.namespace == space.name
        wanted = one.clients[0]
        asked = {
            "Same": home,
            "Names": space.name in wanted.namespaces.names,
            "Selector": space.labels.get("team") == "a",
        }[wanted.namespaces.source]
        if space.enabled and home and app == "db":
            expected.add((index, "server"))
        consent = home or one.key.namespace in space.accepts
        if space.enabled and asked and consent and wanted.selector.matches({"app": app}):
            expected.add((index, "client"))
    found = parts_of(space, {"app": app}, "default", tunnels)
    positions = {id(one): index for index, one in enumerate(tunnels)}
    assert {(positions[id(part.tunnel)], part.role) for part in found} == expected
    assert list(found) == sorted(found, key=lambda part: part.sort_key)


@given(st.lists(SPACE, max_size=4), TUNNEL, st.sampled_from(APPS))
def test_a_pod_is_a_client_just_where_the_operator_puts_its_files(known: list[Space], one: Tunnel, app: str) -> None:
    spaces = {space.name: space for space in known}
    accepted, refused = client_spaces(one, one.clients[0], spaces)
    assert not set(accepted) & set(refused)
    for name, role in product(spaces, ["client"]):
        parts = parts_of(spaces[name], {"app": app}, "default", [one])
        if any(part.role == role for part in parts):
            assert name in accepted
