"""What holds for all patterns and all names, not only for those that somebody thought of."""

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.policy import Policy
from support.leaves import someone

LABEL = st.text("ab*-", min_size=0, max_size=3)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PARENT = st.lists(st.text("ab-", min_size=1, max_size=3), min_size=1, max_size=3).map(".".join)
SEGMENT = st.sampled_from(["a", "b", "ab", "", ".", "..", "%2f", "a%2fb", "*", "?", "a b"])
PATH = st.lists(SEGMENT, max_size=5)
GLOB = st.tuples(st.lists(st.sampled_from(["a", "b", "ab", "*"]), max_size=4), st.sampled_from([[], ["**"]])).map(
    lambda parts: [*parts[0], *parts[1]]
)
WORD = st.sampled_from(["a", "b", "c"])
RULES = st.builds(
    Rules,
    cn=st.lists(WORD, max_size=2).map(tuple),
    org=st.lists(WORD, max_size=2).map(tuple),
    dns=st.lists(st.sampled_from(["a.x", "*.x", "b.y"]), max_size=2).map(tuple),
    uri=st.lists(st.sampled_from(["s://x/a", "s://x/*", "s://x/**"]), max_size=2).map(tuple),
    ip=st.lists(st.sampled_from(["10.0.0.0/8", "::1"]), max_size=1).map(tuple),
    role=st.lists(st.sampled_from(["r"]), max_size=1).map(tuple),
)
ROLES = RULES.map(lambda rules: (("r", Rules(cn=rules.cn, org=rules.org)),))
PEER = st.builds(
    someone,
    st.none() | WORD,
    orgs=st.lists(WORD, max_size=2),
    dns=st.lists(st.sampled_from(["a.x", "c.x", "x"]), max_size=2),
    uris=st.lists(st.sampled_from(["s://x/a", "s://x/a/b", "t://y"]), max_size=2),
    ips=st.lists(st.sampled_from(["10.1.1.1", "::1"]), max_size=1),
)


@given(PARENT, NAME)
def test_a_dns_wildcard_takes_exactly_one_label(parent: str, name: str) -> None:
    allowed = Policy.of(Acl(allow=Rules(dns=(f"*.{parent}",)))).decide(someone(dns=(name,))).allowed
    label, _, rest = name.partition(".")
    assert allowed == (rest == parent and label != "" and ("*" not in label or label == "*"))


@given(GLOB, PATH)
def test_a_uri_wildcard_never_crosses_a_segment(glob: list[str], path: list[str]) -> None:
    pattern, uri = "/".join(["s://h", *glob]), "/".join(["s://h", *path])
    if not Policy.of(Acl(allow=Rules(uri=(pattern,)))).decide(someone(uris=(uri,))).allowed:
        return
    if glob and glob[-1] == "**":
        assert len(path) >= len(glob)
    else:
        assert len(path) == len(glob)
    for wanted, segment in zip(glob, path, strict=False):
        assert segment not in ("", ".", "..", "%2f", "a%2fb") if "*" in wanted else segment == wanted


@given(GLOB, st.lists(st.sampled_from(["a", "b", "ab"]), max_size=5))
def test_what_a_uri_pattern_means_is_what_a_naive_reading_says(glob: list[str], path: list[str]) -> None:
    def naive(want: list[str], have: list[str]) -> bool:
        if not want:
            return not have
        if want == ["**"]:
            return len(have) >= 1
        return bool(have) and want[0] in ("*", have[0]) and naive(want[1:], have[1:])

    pattern, uri = "/".join(["s://h", *glob]), "/".join(["s://h", *path])
    allowed = Policy.of(Acl(allow=Rules(uri=(pattern,)))).decide(someone(uris=(uri,))).allowed
    assert allowed == naive(glob, path)


@given(RULES, RULES, ROLES, PEER)
def test_deny_always_beats_allow(
    allow: Rules, deny: Rules, roles: tuple[tuple[str, Rules], ...], who: Identity
) -> None:
    denied_alone = not Policy.of(Acl(deny=deny), roles).decide(who).allowed
    both = Policy.of(Acl(allow=allow, deny=deny), roles).decide(who)
    if denied_alone:
        assert not both.allowed
        assert both.rule.startswith("deny_")


@given(RULES, RULES, ROLES, PEER)
def test_a_rule_that_lets_in_would_keep_out_if_it_were_a_deny_rule(
    allow: Rules, deny: Rules, roles: tuple[tuple[str, Rules], ...], who: Identity
) -> None:
    """Deny rules see at least what allow rules see."""
    if Policy.of(Acl(allow=allow), roles).decide(who).rule.startswith("allow_"):
        assert not Policy.of(Acl(deny=allow), roles).decide(who).allowed


@given(RULES, RULES, ROLES, st.none() | PEER)
def test_audit_mode_passes_everybody_and_otherwise_says_the_same(
    allow: Rules, deny: Rules, roles: tuple[tuple[str, Rules], ...], who: Identity | None
) -> None:
    enforced = Policy.of(Acl(allow=allow, deny=deny), roles).decide(who)
    audited = Policy.of(Acl(allow=allow, deny=deny, mode="audit"), roles).decide(who)
    assert (audited.allowed, audited.audit) == (True, not enforced.allowed)
    assert (audited.rule, audited.roles) == (enforced.rule, enforced.roles)
