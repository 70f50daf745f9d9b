"""The decision: a name and an identity make a claim, and only rows that say so make it a host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config.schema import Address
from mtls_tunnel.router.decision import Claim, Refused, address_of, claim_of, connect_id_of, decide
from mtls_tunnel.router.rows import Found, Host, Team, User
from support.leaves import someone

DOMAIN, ISSUER = "connect.tinyscale.com", "tinyscale.com"
CLAIM = Claim(ISSUER, "org-123", "user-456", "host-1")
USER = User("user-456", "org-123")
HOST = Host("host-1", "10.0.0.1", "org-123", frozenset({"user-456"}))
TEAM = Team("ops", "org-123", frozenset({"user-456"}))


@pytest.mark.parametrize(
    ("name", "connect_id"),
    [
        (f"host-123.{DOMAIN}", "host-123"),
        ("Host_1.Connect.TinyScale.com", "host_1"),
        (f"{'a' * 63}.{DOMAIN}", "a" * 63),
        (f"-.{DOMAIN}", "-"),
    ],
)
def test_one_label_below_the_domain_is_a_connect_id(name: str, connect_id: str) -> None:
    assert connect_id_of(name, DOMAIN) == connect_id


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "no_sni"),
        ("", "no_sni"),
        (DOMAIN, "bad_sni"),
        (f".{DOMAIN}", "bad_sni"),
        (f"a.b.{DOMAIN}", "bad_sni"),
        (f"host.{DOMAIN}.evil.example", "bad_sni"),
        (f"host.x{DOMAIN}", "bad_sni"),
        (f"hostx{DOMAIN}", "bad_sni"),
        (f"{'a' * 64}.{DOMAIN}", "bad_sni"),
        (f"' OR 1=1 --.{DOMAIN}", "bad_sni"),
        (f"h\u00f6st.{DOMAIN}", "bad_sni"),
        (f"h\0st.{DOMAIN}", "bad_sni"),
        (f"host.{DOMAIN}..", "bad_sni"),
        ("10.0.0.1", "bad_sni"),
    ],
)
def test_any_other_name_is_refused_with_its_reason(name: str | None, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        connect_id_of(name, DOMAIN)
    assert caught.value.reason == reason


def test_the_certificate_names_the_user() -> None:
    identity = someone("x", uris=("spiffe://tinyscale.com/orgs/org-123/users/user-456",))

    assert claim_of(identity, ISSUER, "host-1") == CLAIM


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        pytest.param((), "no_spiffe_id", id="none"),
        pytest.param(("spiffe://tinyscale.com/orgs/o/users/u",) * 2, "bad_spiffe_id", id="twice the same"),
        pytest.param(("spiffe://tinyscale.com/orgs/o/users/u", "https://x"), "bad_spiffe_id", id="another beside it"),
        pytest.param(("https://tinyscale.com/orgs/o/users/u",), "bad_spiffe_id", id="another scheme"),
        pytest.param(("spiffe://evil.example/orgs/o/users/u",), "wrong_issuer", id="another issuer"),
        pytest.param(("spiffe://sub.tinyscale.com/orgs/o/users/u",), "wrong_issuer", id="a domain below the issuer"),
        pytest.param(("spiffe://tinyscale.com/orgs/o/users/u/x",), "bad_spiffe_id", id="one segment more"),
        pytest.param(("spiffe://tinyscale.com/x/orgs/o/users/u",), "bad_spiffe_id", id="one segment before"),
        pytest.param(("spiffe://tinyscale.com/orgs/o/user/u",), "bad_spiffe_id", id="another word"),
        pytest.param(("spiffe://tinyscale.com/orgs/o/users",), "bad_spiffe_id", id="no user"),
    ],
)
def test_a_certificate_without_exactly_one_user_is_refused(uris: tuple[str, ...], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        claim_of(someone("x", uris=uris), ISSUER, "host-1")
    assert caught.value.reason == reason


def test_a_uri_that_is_no_valid_spiffe_id_names_nobody() -> None:
    uri = "spiffe://TinyScale.com/orgs/org-123/users/user-456"

    with pytest.raises(Refused, match="bad_spiffe_id"):
        claim_of(someone("x", uris=(uri,), spiffe_id=None), ISSUER, "host-1")


def test_nobody_without_a_certificate_is_anybody() -> None:
    with pytest.raises(Refused, match="no_spiffe_id"):
        claim_of(None, ISSUER, "host-1")


def test_a_user_goes_where_the_host_lists_him_or_one_of_his_teams() -> None:
    by_team = Host("host-1", "10.0.0.1", "org-123", team_ids=frozenset({"ops"}))

    assert decide(CLAIM, Found((HOST,), (), USER)) is HOST
    assert decide(CLAIM, Found((by_team,), (TEAM,), USER)) is by_team


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(Found((HOST,), (), None), "unknown_user", id="no user"),
        pytest.param(Found((HOST,), (), User("user-457", "org-123")), "unknown_user", id="the row of somebody else"),
        pytest.param(Found((HOST,), (), User("user-456", "org-9")), "wrong_org", id="user of another organization"),
        pytest.param(Found((), (), USER), "unknown_host", id="no host"),
        pytest.param(Found((HOST, Host("HOST-1", "b", "org-123")), (), USER), "unknown_host", id="two but for case"),
        pytest.param(
            Found((Host("host-1", "a", "org-9", frozenset({"user-456"})),), (), USER), "wrong_org", id="foreign host"
        ),
        pytest.param(Found((Host("host-1", "a", "org-123"),), (TEAM,), USER), "not_allowed", id="a team not listed"),
        pytest.param(
            Found(
                (Host("host-1", "a", "org-123", team_ids=frozenset({"ops"})),),
                (Team("ops", "org-9", frozenset({"user-456"})),),
                USER,
            ),
            "not_allowed",
            id="a team of another organization",
        ),
        pytest.param(
            Found(
                (Host("host-1", "a", "org-123", team_ids=frozenset({"ops"})),),
                (Team("ops", "org-123", frozenset({"user-457"})),),
                USER,
            ),
            "not_allowed",
            id="a team without the user",
        ),
        pytest.param(Found((Host("host-1", "a", "org-123"),), (), USER), "not_allowed", id="nobody listed"),
    ],
)
def test_whatever_the_rows_do_not_say_is_refused(found: Found, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        decide(CLAIM, found)
    assert caught.value.reason == reason


NAMES = st.sampled_from(["a", "b", "c"])
SETS = st.frozensets(NAMES)
HOSTS = st.builds(Host, st.just("h"), st.just("10.0.0.1"), NAMES, SETS, SETS)
TEAMS = st.builds(Team, NAMES, NAMES, SETS)
FOUND = st.builds(
    Found,
    st.lists(HOSTS, max_size=2).map(tuple),
    st.lists(TEAMS, max_size=3).map(tuple),
    st.none() | st.builds(User, NAMES, NAMES),
)


@given(NAMES, NAMES, FOUND)
def test_whoever_is_let_in_fulfils_every_condition(org: str, user: str, found: Found) -> None:
    try:
        host = decide(Claim(ISSUER, org, user, "h"), found)
    except Refused:
        return
    assert found.hosts == (host,)
    assert found.user == User(user, org)
    assert host.org_id == org
    named = [team for team in found.teams if team.team_id in host.team_ids and team.org_id == org]
    assert user in host.user_ids or any(user in team.user_ids for team in named)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", Address("10.0.0.1", 22)),
        ("10.0.0.1:2222", Address("10.0.0.1", 2222)),
        ("db.internal", Address("db.internal", 22)),
        ("db.internal:5432", Address("db.internal", 5432)),
        ("[2001:db8::5]", Address("2001:db8::5", 22)),
        ("[2001:db8::5]:2222", Address("2001:db8::5", 2222)),
        ("2001:db8::5", Address("2001:db8::5", 22)),
    ],
)
def test_an_address_may_come_with_or_without_its_port(text: str, address: Address) -> None:
    assert address_of(Host("h", text, "o"), 22) == address


@pytest.mark.parametrize("text", ["", ":22", "http://x", "a b", "10.0.0.1:0", "10.0.0.1:70000", "[x]:22", "[::1", "22"])
def test_what_is_no_address_is_no_host(text: str) -> None:
    with pytest.raises(Refused, match="unknown_host"):
        address_of(Host("h", text, "o"), 22)
