import pytest

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.trust.policy import Decision, Policy
from support.leaves import someone

WEB = "spiffe://example.org/ns/prod/sa/web"


def allow(**rules: tuple[str, ...]) -> Policy:
    return Policy.of(Acl(allow=Rules(**rules)))


def deny(**rules: tuple[str, ...]) -> Policy:
    return Policy.of(Acl(deny=Rules(**rules)))


def test_an_acl_without_rules_lets_every_verified_peer_in() -> None:
    assert Policy.of(Acl()).decide(someone()) == Decision(True, "default")


def test_an_acl_without_allow_rules_decides_by_its_default() -> None:
    assert Policy.of(Acl(default="deny")).decide(someone("a")) == Decision(False, "default")


def test_with_allow_rules_the_rest_is_denied_whatever_the_default() -> None:
    acl = Acl(default="allow", allow=Rules(cn=("a",)))
    assert Policy.of(acl).decide(someone("b")) == Decision(False, "default")


MATCHES = [
    pytest.param("cn", "a", someone("a"), id="cn"),
    pytest.param("org", "Ops", someone(orgs=("Dev", "Ops")), id="any org"),
    pytest.param("ou", "Web", someone(ous=("Web",)), id="ou"),
    pytest.param("dns", "a.example.com", someone(dns=("a.example.com",)), id="dns"),
    pytest.param("dns", "A.Example.com", someone(dns=("a.example.com",)), id="dns without case"),
    pytest.param("dns", "*.example.com", someone(dns=("x.org", "a.example.com")), id="dns one label"),
    pytest.param("dns", "*.example.com", someone(dns=("*.example.com",)), id="wildcard SAN equal to the pattern"),
    pytest.param("ip", "10.0.0.1", someone(ips=("10.0.0.1",)), id="ip"),
    pytest.param("ip", "10.0.0.0/8", someone(ips=("10.200.0.1",)), id="cidr"),
    pytest.param("ip", "0.0.0.0/0", someone(ips=("10.200.0.1",)), id="every IPv4 address"),
    pytest.param("ip", "2001:db8::/32", someone(ips=("2001:db8:1::1",)), id="IPv6 cidr"),
    pytest.param("ip", "10.0.0.1", someone(ips=("::ffff:10.0.0.1",)), id="IPv4 written as IPv6"),
    pytest.param("ip", "::ffff:10.0.0.0/104", someone(ips=("10.9.9.9",)), id="IPv4 network written as IPv6"),
    pytest.param("email", "ops@Example.com", someone(emails=("ops@example.com",)), id="email host without case"),
    pytest.param("uri", WEB, someone(uris=(WEB,)), id="uri"),
    pytest.param("uri", "spiffe://example.org/ns/*/sa/*", someone(uris=(WEB,)), id="uri segments"),
    pytest.param("uri", "spiffe://example.org/ns/**", someone(uris=(WEB,)), id="uri rest"),
    pytest.param("uri", "spiffe://example.org/ns/prod/sa/**", someone(uris=(WEB,)), id="uri rest of one segment"),
    pytest.param("uri", "spiffe://example.org/*/prod/**", someone(uris=(WEB,)), id="both wildcards"),
    pytest.param("uri", "urn:x/*", someone(uris=("urn:x/y",)), id="another scheme"),
    pytest.param("fingerprint", "ab" * 32, someone(fingerprint="ab" * 32), id="fingerprint"),
]


@pytest.mark.parametrize(("key", "pattern", "who"), MATCHES)
def test_a_name_that_matches_lets_in_and_the_key_is_told(key: str, pattern: str, who: object) -> None:
    assert allow(**{key: (pattern,)}).decide(who) == Decision(True, f"allow_{key}")  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "pattern", "who"), MATCHES)
def test_the_same_name_in_a_deny_rule_keeps_out(key: str, pattern: str, who: object) -> None:
    assert deny(**{key: (pattern,)}).decide(who) == Decision(False, f"deny_{key}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "pattern", "who"),
    [
        pytest.param("cn", "a", someone("A"), id="cn in another case"),
        pytest.param("cn", "a", someone("ab"), id="cn that begins so"),
        pytest.param("cn", "*", someone("a"), id="no wildcard in cn"),
        pytest.param("cn", "a.b", someone("axb"), id="a dot is a dot"),
        pytest.param("org", "Ops", someone("Ops"), id="cn is no org"),
        pytest.param("dns", "a.example.com", someone("a.example.com"), id="cn is no dns name"),
        pytest.param("dns", "*.a", someone(dns=("x.y.a",)), id="two labels"),
        pytest.param("dns", "*.a", someone(dns=("a",)), id="the bare parent"),
        pytest.param("dns", "*.a", someone(dns=(".a",)), id="an empty label"),
        pytest.param("dns", "*.a", someone(dns=("xa",)), id="the dot is part of it"),
        pytest.param("dns", "*.a.b", someone(dns=("x.axb",)), id="a dot is not any character"),
        pytest.param("dns", "x.a", someone(dns=("*.a",)), id="a wildcard SAN does not cover an exact rule"),
        pytest.param("dns", "*.a", someone(dns=("*.x.a",)), id="a wildcard SAN below"),
        pytest.param("dns", "*.a", someone(dns=("f*.a",)), id="a partial wildcard SAN"),
        pytest.param("ip", "10.0.0.1", someone(dns=("10.0.0.1",)), id="an address as dns name"),
        pytest.param("ip", "10.0.0.0/8", someone(ips=("11.0.0.1",)), id="outside"),
        pytest.param("ip", "0.0.0.0/0", someone(ips=("2001:db8::1",)), id="another family"),
        pytest.param("ip", "::/0", someone(ips=("10.0.0.1",)), id="IPv4 is not in IPv6"),
        pytest.param("email", "Ops@example.com", someone(emails=("ops@example.com",)), id="mailbox has case"),
        pytest.param("uri", "spiffe://example.org/ns/*", someone(uris=(WEB,)), id="* is one segment"),
        pytest.param("uri", "spiffe://example.org/ns/prod/sa/web/**", someone(uris=(WEB,)), id="** is at least one"),
        pytest.param("uri", "spiffe://example.org/ns/prod/sa/web/*", someone(uris=(WEB,)), id="* is one, not none"),
        pytest.param("uri", "spiffe://example.org/ns/prod/sa/we", someone(uris=(WEB,)), id="a prefix"),
        pytest.param("uri", "spiffe://exampleXorg/**", someone(uris=(WEB,)), id="another domain"),
        pytest.param("uri", "https://a/*", someone(uris=("https://a/",)), id="an empty segment"),
        pytest.param("uri", "https://a/**", someone(uris=("https://a/b/",)), id="an empty segment at the end"),
        pytest.param("uri", "https://a/*", someone(uris=("https://a/..",)), id="a step upwards"),
        pytest.param("uri", "https://a/x/**", someone(uris=("https://a/x/../y",)), id="a step upwards in the rest"),
        pytest.param("uri", "https://a/*", someone(uris=("https://a/x%2fy",)), id="an encoded slash"),
        pytest.param("uri", "https://a/*", someone(uris=("https://a/x?y",)), id="a query"),
        pytest.param("uri", "https://a/x", someone(uris=("https://A/x",)), id="allow compares letter for letter"),
        pytest.param("uri", WEB, someone(uris=(WEB, WEB)), id="two URIs"),
        pytest.param("uri", WEB, someone(WEB, dns=(WEB,)), id="a look-alike elsewhere"),
        pytest.param("fingerprint", "ab" * 32, someone(fingerprint="ba" * 32), id="another certificate"),
    ],
)
def test_a_near_miss_does_not_let_in(key: str, pattern: str, who: object) -> None:
    assert allow(**{key: (pattern,)}).decide(who) == Decision(False, "default")  # type: ignore[arg-type]


def test_deny_beats_allow() -> None:
    acl = Acl(allow=Rules(cn=("a",)), deny=Rules(org=("Evil",)))
    assert Policy.of(acl).decide(someone("a", orgs=("Evil",))) == Decision(False, "deny_org")


def test_deny_reads_every_uri_where_allow_needs_the_only_one() -> None:
    who = someone(uris=("spiffe://example.org/a", WEB))
    assert deny(uri=(WEB,)).decide(who) == Decision(False, "deny_uri")


@pytest.mark.parametrize("uri", ["SPIFFE://Example.org/x/y", "spiffe://example.org/x//y", "spiffe://example.org/x/%41"])
def test_an_odd_spelling_does_not_slip_past_a_deny_rule(uri: str) -> None:
    who = someone(uris=(uri,), uri=None, spiffe_id=None)
    assert deny(uri=("spiffe://example.org/x/**",)).decide(who) == Decision(False, "deny_uri")


@pytest.mark.parametrize(
    "uri", ["https://ex.org/db/", "https://EX.org/db", "https://ex.org/%64b", "https://ex.org/d%62/"]
)
def test_an_odd_spelling_does_not_slip_past_an_exact_deny_rule(uri: str) -> None:
    assert deny(uri=("https://ex.org/db",)).decide(someone(uris=(uri,))) == Decision(False, "deny_uri")
    assert allow(uri=("https://ex.org/db",)).decide(someone(uris=(uri,))) == Decision(False, "default")


@pytest.mark.parametrize("pattern", ["db.example.com", "*.example.com"])
def test_a_dot_at_the_end_of_a_host_does_not_slip_past_a_deny_rule(pattern: str) -> None:
    who = someone(dns=("db.example.com.",))
    assert deny(dns=(pattern,)).decide(who) == Decision(False, "deny_dns")
    assert allow(dns=(pattern,)).decide(who) == Decision(False, "default")


def test_an_ambiguous_subject_does_not_slip_past_a_deny_rule() -> None:
    who = someone(every_cn=("a", "evil"), every_org=("Ops",), every_ou=("Web",))
    rules = {"cn": "evil", "org": "Ops", "ou": "Web"}
    assert [deny(**{key: (name,)}).decide(who).rule for key, name in rules.items()] == [
        "deny_cn",
        "deny_org",
        "deny_ou",
    ]


def test_an_ambiguous_subject_does_not_let_in() -> None:
    who = someone(every_cn=("a", "b"), every_org=("Ops",), every_ou=("Web",))
    assert not allow(cn=("a",), org=("Ops",), ou=("Web",)).decide(who).allowed


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        pytest.param(Acl(), Decision(True, "default"), id="no rules"),
        pytest.param(Acl(default="deny"), Decision(False, "default"), id="default deny"),
        pytest.param(Acl(allow=Rules(cn=("a",))), Decision(False, "default"), id="allow rules"),
        pytest.param(Acl(deny=Rules(cn=("a",))), Decision(True, "default"), id="deny rules"),
        pytest.param(Acl(allow=Rules(cn=("a",)), mode="audit"), Decision(True, "default", audit=True), id="audit mode"),
    ],
)
def test_a_peer_without_a_certificate_has_no_name_to_be_let_in_by(acl: Acl, expected: Decision) -> None:
    assert Policy.of(acl).decide(None) == expected


def test_audit_mode_lets_pass_what_it_would_have_denied_and_says_so() -> None:
    acl = Acl(deny=Rules(cn=("a",)), mode="audit")
    assert Policy.of(acl).decide(someone("a")) == Decision(True, "deny_cn", audit=True)


def test_audit_mode_says_nothing_of_what_is_allowed_anyway() -> None:
    assert Policy.of(Acl(allow=Rules(cn=("a",)), mode="audit")).decide(someone("a")) == Decision(True, "allow_cn")


ROLES = (("writer", Rules(cn=("a",), uri=("spiffe://example.org/w/*",))), ("reader", Rules(org=("Ops",))))


def test_every_decision_lists_all_roles_in_the_order_of_the_configuration() -> None:
    decision = Policy.of(Acl(), ROLES).decide(someone("a", orgs=("Ops",)))
    assert decision == Decision(True, "default", ("writer", "reader"))


def test_a_denied_peer_keeps_its_roles_in_the_decision() -> None:
    assert Policy.of(Acl(default="deny"), ROLES).decide(someone("a")).roles == ("writer",)


def test_a_role_lets_its_members_in() -> None:
    policy = Policy.of(Acl(allow=Rules(role=("writer",))), ROLES)
    assert policy.decide(someone("a")) == Decision(True, "allow_role", ("writer",))
    assert policy.decide(someone("b")) == Decision(False, "default")


def test_a_denied_role_finds_its_members_among_ambiguous_names_too() -> None:
    policy = Policy.of(Acl(deny=Rules(role=("writer",))), ROLES)
    assert policy.decide(someone(every_cn=("a", "b"))) == Decision(False, "deny_role")


def test_a_role_without_rules_has_no_members() -> None:
    policy = Policy.of(Acl(allow=Rules(role=("none",))), (("none", Rules()),))
    assert policy.decide(someone("a")) == Decision(False, "default")


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        pytest.param("dns", "a.*.com", id="wildcard in the middle"),
        pytest.param("dns", "*", id="wildcard alone"),
        pytest.param("dns", "*.", id="wildcard of nothing"),
        pytest.param("dns", "*.*.com", id="two wildcards"),
        pytest.param("uri", "spiffe://example.org/a*", id="part of a segment"),
        pytest.param("uri", "spiffe://example.org/**/a", id="** before the end"),
        pytest.param("uri", "spiffe://*/a", id="wildcard trust domain"),
        pytest.param("uri", "*", id="everything"),
        pytest.param("uri", "***", id="three stars"),
        pytest.param("ip", "10.0.0.1/8", id="host bits"),
        pytest.param("ip", "ten", id="no address"),
        pytest.param("role", "nobody", id="unknown role"),
    ],
)
def test_a_pattern_that_should_not_exist_is_an_error_and_never_a_rule(key: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        allow(**{key: (pattern,)})


def test_a_role_made_of_roles_is_an_error() -> None:
    with pytest.raises(ValueError, match="made of other roles"):
        Policy.of(Acl(), (("a", Rules(role=("b",))), ("b", Rules())))
