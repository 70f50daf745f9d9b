"""SPIFFE IDs and the leaves that may carry one: text and extensions in, a verdict out.

Nothing is normalised: an ID is compared byte for byte, so whatever is not already in its only valid
form is refused.  Whether the signature is good is not looked at here.  Pure.

Sources: SPIFFE-ID §2 (form of the ID, 2048 and 255 byte limits); X509-SVID §3.1, §4 and §5.2 (the leaf).
"""

import re

from cryptography import x509

MAX_ID_BYTES = 2048  # SPIFFE-ID §2.3
MAX_TRUST_DOMAIN_BYTES = 255  # SPIFFE-ID §2.3

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


def claims_spiffe(uri: str) -> bool:
    """Say whether *uri* has the scheme of a SPIFFE ID in any spelling, valid or not."""
    return uri[:7].lower() == "spiffe:"


def trust_domain_of(spiffe_id: str) -> str:
    """Return the trust domain of a valid SPIFFE ID; nothing is checked."""
    return spiffe_id[len(_SCHEME) :].partition("/")[0]


def fault_in_trust_domain(name: str) -> str:
    """Say what is wrong with a trust domain name, or "" if nothing is."""
    if not name:
        return "the trust domain is empty"
    if len(name.encode()) > MAX_TRUST_DOMAIN_BYTES:
        return f"the trust domain is longer than {MAX_TRUST_DOMAIN_BYTES} bytes"
    if not _TRUST_DOMAIN.fullmatch(name):
        # One alphabet refuses upper case, ports, user info and percent-encoding alike.
        return "the trust domain has a character other than a-z, 0-9, dot, dash and underscore"
    return ""


def fault_in_id(uri: str) -> str:
    """Say what keeps *uri* from being the SPIFFE ID of a workload, or "" if nothing does.

    An ID without a path names a trust domain, which no leaf may bear (X509-SVID §3.1).
    """
    if not uri.startswith(_SCHEME):
        return "the scheme is not spiffe://"
    if len(uri.encode()) > MAX_ID_BYTES:
        return f"the ID is longer than {MAX_ID_BYTES} bytes"
    domain, slash, path = uri[len(_SCHEME) :].partition("/")
    if fault := fault_in_trust_domain(domain):
        return fault
    if not slash:
        return "the ID names a trust domain and no workload"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return f"the path has the segment {segment!r}"
        if not _SEGMENT.fullmatch(segment):
            return "the path has a character other than letters, digits, dot, dash and underscore"
    return ""


def fault_in_leaf(extensions: x509.Extensions) -> str:
    """Say why a certificate with these *extensions* is no X509-SVID of a workload, or "" if it may be one.

    A missing keyUsage is let pass: §4.3 demands it of issuers, §5.2 does not make validators refuse it.
    """
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return "it is a CA certificate"
        if isinstance(value, x509.KeyUsage):
            if value.key_cert_sign or value.crl_sign:
                return "its key may sign certificates or CRLs"
            if not value.digital_signature:
                return "its key may not make digital signatures"
    return ""
