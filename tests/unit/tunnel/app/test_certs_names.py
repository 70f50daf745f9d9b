"""Names for new certificates: any text either becomes a name that X.509 can carry, or is refused in words."""

import argparse
import os

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.app import certs_names
from mtls_tunnel.errors import ConfigError
from mtls_tunnel.trust.pki import Names

LIKELY = st.sampled_from(
    ["web", "*.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "spiffe://example.org/a", "a@b.c", "..", "", "\0", "é"]
)
TEXT = st.text(max_size=80) | LIKELY


def names_of(name: str, cn: str | None = None, **lists: list[str]) -> Names:
    kinds = ("org", "ou", "dns", "ip", "uri", "email")
    return certs_names.names_of(argparse.Namespace(name=name, cn=cn, **{kind: lists.get(kind, []) for kind in kinds}))


@given(cn=st.none() | TEXT, org=TEXT, dns=TEXT, ip=TEXT, uri=TEXT, email=TEXT)
def test_any_text_is_a_name_or_refused(cn: str | None, org: str, dns: str, ip: str, uri: str, email: str) -> None:
    for wanted in ({"org": [org]}, {"dns": [dns]}, {"ip": [ip]}, {"uri": [uri]}, {"email": [email]}):
        try:
            names = names_of("web", cn, **wanted)
        except ConfigError:
            continue
        names.subject().public_bytes()
        x509.SubjectAlternativeName([*names.alternatives(), x509.DNSName("end")]).public_bytes()


@given(TEXT)
def test_no_name_leads_out_of_the_folder_or_onto_another_file(name: str) -> None:
    try:
        certs_names.check_name(name)
    except ConfigError:
        return
    assert os.path.basename(name) == name
    assert not name.startswith(".")
    assert name not in ("ca", "intermediate", "crl", "index")
    assert not name.endswith("-key")


def test_the_default_common_name_is_the_files_name_and_becomes_a_dns_name() -> None:
    assert names_of("db.internal") == Names("db.internal", dns=("db.internal",))


def test_another_san_keeps_the_common_name_out_of_the_dns_names() -> None:
    assert names_of("web", uri=["spiffe://example.org/web"]) == Names("web", uris=("spiffe://example.org/web",))


def test_an_empty_common_name_leaves_the_subject_empty() -> None:
    names = names_of("web", cn="", dns=["db.internal"])
    assert names.subject().rfc4514_string() == ""
