"""Why a peer's certificate was refused: OpenSSL's verification code becomes a word and a hint for people.

The words are labels of mtlsd_handshake_failures_total and never change.  Codes are numbers here because no
public Python API names them; an unknown one is ``bad_certificate``, never nothing.  Pure.

Sources: OpenSSL x509_vfy.h (X509_V_ERR_*), X509_verify_cert_error_string(3).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

Reason = Literal[
    "unknown_ca", "expired", "not_yet_valid", "revoked", "crl_unavailable", "wrong_purpose", "bad_certificate",
    "name_mismatch",
]  # fmt: skip

UNABLE_TO_GET_ISSUER_CERT = 2
UNABLE_TO_GET_CRL = 3
CERT_NOT_YET_VALID = 9
CERT_HAS_EXPIRED = 10
CERT_REVOKED = 23
INVALID_PURPOSE = 26
APPLICATION_VERIFICATION = 50  # what a verify callback of ours reports when it refuses

_WORDS: dict[Reason, tuple[int, ...]] = {
    # no issuer, self-signed, no path to an anchor, an anchor that is not trusted for this
    "unknown_ca": (UNABLE_TO_GET_ISSUER_CERT, 18, 19, 20, 21, 24, 27, 29, 30, 31, 95),
    "expired": (CERT_HAS_EXPIRED,),
    "not_yet_valid": (CERT_NOT_YET_VALID,),
    "revoked": (CERT_REVOKED,),
    # none there, not readable, not signed by the issuer, out of its dates, of another scope
    "crl_unavailable": (UNABLE_TO_GET_CRL, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54),
    "wrong_purpose": (INVALID_PURPOSE, 28, 32, 37, 39, 79),
    "name_mismatch": (62, 63, 64),
}
_BY_CODE: dict[int, Reason] = {code: word for word, codes in _WORDS.items() for code in codes}
_MOST_NAMED = 5


def reason_of(code: int) -> Reason:
    """Return the reason word for an X509_V_ERR code; 0 (OK) has none and gives ``bad_certificate`` as well."""
    return _BY_CODE.get(code, "bad_certificate")


def hint(
    reason: str,
    *,
    issuer: str = "",
    trusted: Sequence[str] = (),
    not_before: float | None = None,
    not_after: float | None = None,
    now: float | None = None,
) -> str:
    """Say in plain words what happened and what to do; "" for a reason that needs no explanation.

    *issuer* is the subject of the CA that was looked for, *trusted* the subjects of the CAs that are there,
    the dates are those of the certificate, in epoch seconds.  Whatever is missing is left out.
    """
    if reason == "unknown_ca":
        return _unknown_ca(issuer, trusted)
    if reason == "not_yet_valid":
        when = "" if not_before is None else f" before {_date(not_before)}"
        clock = "" if now is None else f" and it is {_date(now)} here"
        return f"the certificate is not valid{when}{clock}: one of the two clocks is wrong, or it was issued ahead"
    if reason == "expired":
        when = "" if not_after is None else f" on {_date(not_after)}"
        clock = "" if now is None else f" and it is {_date(now)} here"
        return f"the certificate, or one above it, expired{when}{clock}: renew it, or set the clock"
    return _HINTS.get(reason, "")


def _unknown_ca(issuer: str, trusted: Sequence[str]) -> str:
    asked = f"no trusted CA for issuer {issuer}" if issuer else "the certificate leads to no trusted CA"
    named = "; ".join(trusted[:_MOST_NAMED]) or "none"
    more = f" and {len(trusted) - _MOST_NAMED} more" if len(trusted) > _MOST_NAMED else ""
    if issuer in trusted:
        # Same name, other key: the commonest outcome of making the CA anew.
        remedy = "a CA of that name is there with another key, so one of the two sides has an older CA"
    else:
        remedy = "add that CA to tls.ca, or let the peer send its intermediate certificates"
    return f"{asked}; trusted: {named}{more}; {remedy}"


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


_HINTS = {
    "revoked": "the CA has revoked the certificate: give the peer a new one",
    "crl_unavailable": "no CRL that is valid now covers the certificate: fetch a current one from its CA into tls.crl",
    "wrong_purpose": "its extendedKeyUsage, keyUsage or basicConstraints do not fit this side of TLS: "
    "a client needs clientAuth, a server serverAuth, and both digitalSignature",
    "no_certificate": "the client sent no certificate: give it one that a CA of tls.ca signed",
    "name_mismatch": "the server's certificate has other names than the one asked for",
}
