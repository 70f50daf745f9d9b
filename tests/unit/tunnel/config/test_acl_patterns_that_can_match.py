"""Patterns of an ACL: brought to one form, or refused because no certificate could ever match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config import patterns
from mtls_tunnel.config.fields import Check
from support import configs

HEX = "0123456789abcdef" * 4
COLONS = ":".join(HEX[i : i + 2].upper() for i in range(0, 64, 2))


@pytest.mark.parametrize(
    ("check", "text", "canonical"),
    [
        pytest.param(patterns.name, "Frontend Service", "Frontend Service", id="a name as it is"),
        pytest.param(patterns.name, "*", "*", id="a star in a name is a star"),
        pytest.param(patterns.dns, "DB.Example.com", "db.example.com", id="DNS in lower case"),
        pytest.param(patterns.dns, "*.Example.com", "*.example.com", id="one label before a name"),
        pytest.param(patterns.ip, "10.1.2.3", "10.1.2.3", id="an address"),
        pytest.param(patterns.ip, "10.0.0.0/8", "10.0.0.0/8", id="a network"),
        pytest.param(patterns.ip, "2001:DB8:0::/32", "2001:db8::/32", id="IPv6 in its short form"),
        pytest.param(patterns.email, "ops@example.com", "ops@example.com", id="a mailbox"),
        pytest.param(patterns.fingerprint, HEX.upper(), HEX, id="hex in lower case"),
        pytest.param(patterns.fingerprint, COLONS, HEX, id="hex without colons"),
        pytest.param(patterns.uri, "spiffe://example.org/ns/*/sa/**", "spiffe://example.org/ns/*/sa/**", id="stars"),
        pytest.param(patterns.uri, "urn:uuid:1", "urn:uuid:1", id="a URN"),
        pytest.param(patterns.uri, "https://a/b/", "https://a/b/", id="a slash may end other URIs"),
        pytest.param(patterns.exact_uri, "spiffe://example.org/db", "spiffe://example.org/db", id="a SPIFFE ID"),
        pytest.param(patterns.trust_domain, "example.org", "example.org", id="a trust domain"),
    ],
)
def test_a_pattern_comes_back_in_the_form_that_is_compared(check: Check, text: str, canonical: str) -> None:
    assert (check(text), check(canonical)) == (canonical, canonical)


@pytest.mark.parametrize(
    ("check", "text", "part"),
    [
        pytest.param(patterns.name, "", "is empty", id="no name"),
        pytest.param(patterns.name, "a ", "begins or ends with a space", id="a space at the end"),
        pytest.param(patterns.dns, "*a.com", "not the whole first label", id="part of a label"),
        pytest.param(patterns.dns, "a.*.com", "not the whole first label", id="a star in the middle"),
        pytest.param(patterns.dns, "*.*.com", "not the whole first label", id="two stars"),
        pytest.param(patterns.dns, "*", "not the whole first label", id="only a star"),
        pytest.param(patterns.dns, "*.", "no possible DNS name", id="a star and nothing"),
        pytest.param(patterns.dns, "a.com.", "no possible DNS name", id="a final dot"),
        pytest.param(patterns.dns, "b\u00fccher.example", "beyond ASCII", id="an umlaut"),
        pytest.param(patterns.dns, "a b", "no possible DNS name", id="a space in a name"),
        pytest.param(patterns.ip, "10.0.0.1/8", "write 10.0.0.0/8", id="host bits"),
        pytest.param(patterns.ip, "10.0.0.0/255.0.0.0", "no IP address", id="a netmask"),
        pytest.param(patterns.ip, "10.0.0.0/33", "no IP address", id="a long prefix"),
        pytest.param(patterns.ip, "fe80::1%eth0", "no IP address", id="a zone"),
        pytest.param(patterns.ip, "010.1.1.1", "no IP address", id="octal numbers"),
        pytest.param(patterns.email, "example.com", "no e-mail address", id="no mailbox"),
        pytest.param(patterns.email, "a b@c", "no e-mail address", id="a space in a mailbox"),
        pytest.param(patterns.fingerprint, "ab" * 20, "is a SHA-1 fingerprint", id="SHA-1"),
        pytest.param(patterns.fingerprint, "ab", "no SHA-256 fingerprint", id="two digits"),
        pytest.param(patterns.fingerprint, HEX[:-1] + "g", "no SHA-256 fingerprint", id="a letter that is no digit"),
        pytest.param(patterns.fingerprint, "a:" + HEX[1:], "colons in odd places", id="odd colons"),
        pytest.param(patterns.uri, "example.org/db", "is no URI", id="no scheme"),
        pytest.param(patterns.uri, "spiffe://*/db", "before its path", id="any trust domain"),
        pytest.param(patterns.uri, "urn:*", "before its path", id="a star in a URN"),
        pytest.param(patterns.uri, "https://a/b*", "inside a segment", id="part of a segment"),
        pytest.param(patterns.uri, "https://a/**/b", "may only be the last", id="two stars in the middle"),
        pytest.param(patterns.uri, "https://a/b c", "no URI can hold", id="a space in a URI"),
        pytest.param(patterns.uri, "https://a/" + "b" * 2048, "longer than 2048 bytes", id="a long URI"),
        pytest.param(patterns.uri, "spiffe://Example.org/db", "lower-case", id="an upper-case trust domain"),
        pytest.param(patterns.uri, "SPIFFE://example.org/db", "lower-case", id="an upper-case scheme"),
        pytest.param(patterns.uri, "spiffe:example.org/db", "lower-case", id="no slashes"),
        pytest.param(patterns.uri, "spiffe://example.org:443/db", "without port", id="a port"),
        pytest.param(patterns.uri, "spiffe://u@example.org/db", "without port or user", id="a user"),
        pytest.param(patterns.uri, "spiffe://example.org", "no workload", id="no path"),
        pytest.param(patterns.uri, "spiffe://example.org/db/", "no slash ends it", id="a slash at the end"),
        pytest.param(patterns.uri, "spiffe://example.org//db", "no segment is empty", id="an empty segment"),
        pytest.param(patterns.uri, "spiffe://example.org/../db", '"."', id="a step upwards"),
        pytest.param(patterns.uri, "spiffe://example.org/%2e", "letters, digits", id="an escape"),
        pytest.param(patterns.uri, "spiffe://example.org/db?a", "letters, digits", id="a query"),
        pytest.param(
            patterns.exact_uri, "spiffe://example.org/*", "compared exactly here", id="a star where none may be"
        ),
        pytest.param(patterns.exact_uri, "spiffe://example.org/a b", "no URI can hold", id="a space in a SPIFFE ID"),
        pytest.param(
            patterns.trust_domain, "spiffe://example.org/db", "write only the trust domain: example.org", id="ID"
        ),
        pytest.param(patterns.trust_domain, "Example.org", "is no SPIFFE trust domain", id="an upper-case domain"),
        pytest.param(patterns.trust_domain, "", "is no SPIFFE trust domain", id="no domain"),
        pytest.param(patterns.trust_domain, "a" * 256, "is no SPIFFE trust domain", id="a long domain"),
    ],
)
def test_a_pattern_that_cannot_match_is_refused(check: Check, text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part.replace(".", r"\.").replace("*", r"\*")):
        check(text)


CHECKS = [
    pytest.param(patterns.name, configs.TEXTS, id="name"),
    pytest.param(patterns.dns, configs.DNS_PATTERNS, id="dns"),
    pytest.param(patterns.ip, configs.IP_PATTERNS, id="ip"),
    pytest.param(patterns.email, configs.EMAILS, id="email"),
    pytest.param(patterns.uri, configs.URI_PATTERNS, id="uri"),
    pytest.param(patterns.exact_uri, configs.SPIFFE_IDS, id="exact uri"),
]


@pytest.mark.parametrize(("check", "strategy"), CHECKS)
@given(st.data())
def test_every_good_pattern_is_taken_as_it_is(
    check: Check, strategy: st.SearchStrategy[str], data: st.DataObject
) -> None:
    pattern = data.draw(strategy)

    assert check(pattern) == pattern


@pytest.mark.parametrize("check", [check for check, *_ in (param.values for param in CHECKS)])
@given(text=st.text(max_size=30) | st.text("spife:/.*%1aB@ ", max_size=30))
def test_any_text_is_a_canonical_pattern_or_a_value_error(check: Check, text: str) -> None:
    try:
        canonical = check(text)
    except ValueError:
        return
    assert check(canonical) == canonical
