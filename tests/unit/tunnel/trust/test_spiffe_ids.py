import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.spiffe import claims_spiffe, fault_in_id, fault_in_trust_domain, trust_domain_of

GOOD = "spiffe://example.org/ns/prod/sa/billing"
SEGMENT = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(GOOD, id="a workload"),
        pytest.param("spiffe://example.org/A", id="upper case in the path"),
        pytest.param("spiffe://10.0.0.1/x", id="an address as trust domain"),
        pytest.param("spiffe://a_b-c.d/...", id="three dots are a segment like others"),
        pytest.param("spiffe://" + "a" * 255 + "/x", id="longest trust domain"),
        pytest.param("spiffe://a/" + "x" * 2037, id="2048 bytes"),
    ],
)
def test_a_valid_id_has_no_fault(uri: str) -> None:
    assert fault_in_id(uri) == ""


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("", id="nothing"),
        pytest.param("https://example.org/x", id="another scheme"),
        pytest.param("SPIFFE://example.org/x", id="upper-case scheme"),
        pytest.param("spiffe:/example.org/x", id="one slash"),
        pytest.param("spiffe:///x", id="no trust domain"),
        pytest.param("spiffe://example.org", id="a trust domain alone"),
        pytest.param("spiffe://example.org/", id="trailing slash, no path"),
        pytest.param("spiffe://example.org/x/", id="trailing slash"),
        pytest.param("spiffe://example.org//x", id="empty segment"),
        pytest.param("spiffe://Example.org/x", id="upper-case trust domain"),
        pytest.param("spiffe://example.org:443/x", id="port"),
        pytest.param("spiffe://me@example.org/x", id="user info"),
        pytest.param("spiffe://example.org/x?y=1", id="query"),
        pytest.param("spiffe://example.org/x#y", id="fragment"),
        pytest.param("spiffe://example.org?x/y", id="query before the path"),
        pytest.param("spiffe://example.org/x/../y", id="step upwards"),
        pytest.param("spiffe://example.org/./y", id="dot segment"),
        pytest.param("spiffe://example.org/%2e%2e/y", id="encoded step upwards"),
        pytest.param("spiffe://example.org/a%2Fb", id="encoded slash"),
        pytest.param("spiffe://example%2eorg/a", id="encoded dot in the trust domain"),
        pytest.param("spiffe://example.org/ä", id="beyond ASCII"),
        pytest.param("spiffe://example.org/a b", id="space"),
        pytest.param("spiffe://example.org/a\n", id="line end"),
        pytest.param("spiffe://example.org\n/a", id="line end in the trust domain"),
        pytest.param("spiffe://" + "a" * 256 + "/x", id="trust domain one byte too long"),
        pytest.param("spiffe://a/" + "x" * 2038, id="2049 bytes"),
    ],
)
def test_a_near_miss_is_refused_with_a_sentence(uri: str) -> None:
    assert fault_in_id(uri) != ""


@given(st.text("abc019._-", min_size=1, max_size=20), st.lists(SEGMENT, min_size=1, max_size=5))
def test_every_id_of_the_grammar_is_accepted_and_names_its_domain(domain: str, path: list[str]) -> None:
    uri = f"spiffe://{domain}/{'/'.join(path)}"
    assert (fault_in_id(uri), trust_domain_of(uri)) == ("", domain)


@given(st.text(max_size=30), st.integers(min_value=9, max_value=len(GOOD)))
def test_a_foreign_character_anywhere_is_never_accepted(text: str, at: int) -> None:
    """The alphabet decides, so that nobody has to list the characters that are dangerous."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/")
    if set(text) - allowed:
        assert fault_in_id(GOOD[:at] + text + GOOD[at:])


@pytest.mark.parametrize("uri", ["spiffe://x/y", "SPIFFE://x", "Spiffe:x"])
def test_any_spelling_of_the_scheme_is_a_claim(uri: str) -> None:
    assert claims_spiffe(uri)


def test_another_scheme_claims_nothing() -> None:
    assert not claims_spiffe("spiffes://x/y")


@pytest.mark.parametrize("name", ["", "Example.org", "a/b", "a:1", "*", "a\n", "x" * 256])
def test_an_impossible_trust_domain_is_refused(name: str) -> None:
    assert fault_in_trust_domain(name) != ""
