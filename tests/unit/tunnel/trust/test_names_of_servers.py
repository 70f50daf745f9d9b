import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.names import Match, dns_matches, match_host, match_uri
from support.leaves import someone

WEB = "spiffe://example.org/web"
LABELS = st.lists(st.text("ab-", min_size=1, max_size=3), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("server", "expected", "by"),
    [
        pytest.param(someone(dns=("db.example.com",)), "db.example.com", "DNS:db.example.com", id="exact"),
        pytest.param(someone(dns=("a", "db.example.com")), "DB.Example.COM", "DNS:db.example.com", id="case"),
        pytest.param(someone(dns=("db.example.com",)), "db.example.com.", "DNS:db.example.com", id="trailing dot"),
        pytest.param(someone(dns=("*.example.com",)), "db.example.com", "DNS:*.example.com", id="wildcard"),
        pytest.param(someone(dns=("localhost",)), "localhost", "DNS:localhost", id="one label"),
        pytest.param(someone(ips=("10.0.0.1",)), "10.0.0.1", "IP:10.0.0.1", id="IPv4"),
        pytest.param(someone(ips=("::1",)), "[::1]", "IP:::1", id="IPv6 in brackets"),
        pytest.param(someone(ips=("2001:db8::1",)), "2001:DB8:0::1", "IP:2001:db8::1", id="IPv6 in another spelling"),
    ],
)
def test_the_right_server_is_known_by_one_of_its_names(server: Identity, expected: str, by: str) -> None:
    match = match_host(server, expected)
    assert match
    assert match.by == by


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param(someone("db.example.com"), "db.example.com", id="common name only"),
        pytest.param(someone("db", dns=("other",)), "db", id="common name beside other names"),
        pytest.param(someone(dns=("db.example.com",)), "db.example.org", id="another name"),
        pytest.param(someone(dns=("example.com",)), "db.example.com", id="the parent"),
        pytest.param(someone(dns=("*.example.com",)), "a.db.example.com", id="wildcard over two labels"),
        pytest.param(someone(dns=("*.example.com",)), "example.com", id="wildcard over none"),
        pytest.param(someone(dns=("*.example.com",)), ".example.com", id="wildcard over an empty label"),
        pytest.param(someone(dns=("*.com",)), "example.com", id="wildcard over a top-level domain"),
        pytest.param(someone(dns=("*",)), "localhost", id="wildcard alone"),
        pytest.param(someone(dns=("d*.example.com",)), "db.example.com", id="part of a label"),
        pytest.param(someone(dns=("db.*.com",)), "db.example.com", id="wildcard in the middle"),
        pytest.param(someone(dns=("*.*.com",)), "db.example.com", id="two wildcards"),
        pytest.param(someone(dns=("*.example.com",)), "*.example.com", id="a wildcard is no server's name"),
        pytest.param(someone(dns=("10.0.0.1",)), "10.0.0.1", id="an address as DNS name"),
        pytest.param(someone(ips=("10.0.0.2",)), "10.0.0.1", id="another address"),
        pytest.param(someone(ips=("10.0.0.1",), dns=("db",)), "10.0.0.1.", id="no address with a dot behind"),
        pytest.param(someone(uris=("https://db.example.com",)), "db.example.com", id="a URI is no host"),
        pytest.param(someone(), "db", id="no names at all"),
        pytest.param(someone(dns=("db",)), "", id="nothing asked for"),
    ],
)
def test_another_server_is_not_taken_for_it(server: Identity, expected: str) -> None:
    assert not match_host(server, expected)


def test_a_mismatch_says_what_was_there() -> None:
    server = someone("db", dns=("a", "*.b"), ips=("10.0.0.1",), uris=(WEB,))
    match = match_host(server, "db")
    assert match == Match(("db",), "", ("DNS:a", "DNS:*.b", "IP:10.0.0.1", f"URI:{WEB}"))
    assert str(match) == f"expected db, the certificate has DNS:a, DNS:*.b, IP:10.0.0.1, URI:{WEB}"


def test_a_certificate_without_names_is_told_that_its_common_name_does_not_count() -> None:
    assert str(match_host(someone("db"), "db")) == (
        "expected db, the certificate has no subject alternative names (a common name does not count)"
    )


@given(LABELS, LABELS)
def test_a_wildcard_stands_for_exactly_one_label(parent: list[str], front: list[str]) -> None:
    wanted = ".".join([*front, *parent])
    presented = ".".join(["*", *parent])
    assert dns_matches(presented, wanted) == (len(front) == 1 and len(parent) > 1)


def test_one_of_several_uris_is_enough() -> None:
    match = match_uri(someone(uris=(WEB,)), ("spiffe://example.org/other", WEB))
    assert (bool(match), match.by) == (True, f"URI:{WEB}")


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(someone(uris=(WEB, "https://x")), id="two URIs"),
        pytest.param(someone(uris=(WEB + "/a",)), id="a longer one"),
        pytest.param(someone(WEB, dns=(WEB,)), id="a look-alike elsewhere"),
        pytest.param(someone(uris=(WEB,), uri=None, spiffe_id=None), id="no valid SVID"),
    ],
)
def test_a_uri_matches_whole_and_alone_or_not_at_all(server: Identity) -> None:
    assert str(match_uri(server, (WEB,))).startswith(f"expected {WEB}, the certificate has ")
