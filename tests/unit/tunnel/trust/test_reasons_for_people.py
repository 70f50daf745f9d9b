import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.reasons import hint, reason_of
from support.clock import NOW

WORDS = {
    "unknown_ca",
    "expired",
    "not_yet_valid",
    "revoked",
    "crl_unavailable",
    "wrong_purpose",
    "bad_certificate",
    "name_mismatch",
}


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (2, "unknown_ca"),
        (18, "unknown_ca"),
        (19, "unknown_ca"),
        (20, "unknown_ca"),
        (21, "unknown_ca"),
        (3, "crl_unavailable"),
        (8, "crl_unavailable"),
        (11, "crl_unavailable"),
        (12, "crl_unavailable"),
        (33, "crl_unavailable"),
        (36, "crl_unavailable"),
        (44, "crl_unavailable"),
        (7, "bad_certificate"),
        (9, "not_yet_valid"),
        (10, "expired"),
        (22, "bad_certificate"),
        (23, "revoked"),
        (26, "wrong_purpose"),
        (34, "bad_certificate"),
        (47, "bad_certificate"),
        (62, "name_mismatch"),
        (66, "bad_certificate"),
        (79, "wrong_purpose"),
    ],
)
def test_a_verification_code_has_its_word(code: int, word: str) -> None:
    assert reason_of(code) == word


@given(st.integers())
def test_no_code_has_a_word_that_is_not_a_label(code: int) -> None:
    assert reason_of(code) in WORDS


def test_an_unknown_ca_is_explained_by_who_was_looked_for_and_who_is_there() -> None:
    assert hint("unknown_ca", issuer="CN=Old", trusted=("CN=A", "CN=B")) == (
        "no trusted CA for issuer CN=Old; trusted: CN=A; CN=B;"
        " add that CA to tls.ca, or let the peer send its intermediate certificates"
    )


def test_a_ca_that_was_made_anew_is_explained() -> None:
    assert "with another key" in hint("unknown_ca", issuer="CN=A", trusted=("CN=A",))


def test_a_long_bundle_is_not_told_whole() -> None:
    text = hint("unknown_ca", issuer="CN=Old", trusted=[f"CN={n}" for n in range(9)])
    assert "CN=4 and 4 more" in text
    assert "CN=5" not in text


def test_a_certificate_of_tomorrow_points_at_the_clocks() -> None:
    assert hint("not_yet_valid", not_before=NOW + 3600, now=NOW) == (
        "the certificate is not valid before 2026-11-21 13:00 UTC and it is 2026-11-21 12:00 UTC here:"
        " one of the two clocks is wrong, or it was issued ahead"
    )


def test_an_expired_certificate_is_dated() -> None:
    assert hint("expired", not_after=NOW - 3600, now=NOW) == (
        "the certificate, or one above it, expired on 2026-11-21 11:00 UTC and it is 2026-11-21 12:00 UTC here:"
        " renew it, or set the clock"
    )


@pytest.mark.parametrize("word", sorted(WORDS - {"bad_certificate"}))
def test_every_reason_that_people_can_mend_has_a_hint_even_without_particulars(word: str) -> None:
    assert hint(word)


@given(st.floats())
def test_no_date_is_too_odd_to_be_told(seconds: float) -> None:
    assert hint("expired", not_after=seconds)
