"""A SPIFFE ID counts only as the one URI name of a verified leaf, letter by letter.

The same text in another place, twice, or bent out of the rules is no identity, and the rule that would have
let the holder in does not match.
"""

from collections.abc import Callable, Iterator

import pytest
from cryptography import x509

from mtls_tunnel.trust.pki import Credential, Names
from support.clients import PING, context, refusal, talk
from support.guarded import Guarded, Sign, acl_denial, handshake_failure
from support.pki import SPIFFE_ID, Authority

RULES = {"acl": {"allow_uri": ["spiffe://example.org/frontend", "spiffe://example.org/jobs/**"]}}
OTHER_NAME = x509.OtherName(
    x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), b"\x0c" + bytes([len(SPIFFE_ID)]) + SPIFFE_ID.encode()
)


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("guarded"), RULES)
    guarded.files.client = guarded.files.write("client", guarded.authority.client(uri=(SPIFFE_ID,)))
    with guarded:
        yield guarded


def leaf_with(*names: x509.GeneralName) -> Callable[[Authority], Credential]:
    return lambda ca: ca.odd(Names(cn="looks-alike"), (x509.SubjectAlternativeName(names), False))


def uris(*uris: str) -> Callable[[Authority], Credential]:
    return leaf_with(*(x509.UniformResourceIdentifier(uri) for uri in uris))


DENIED = [
    pytest.param(lambda ca: ca.leaf(SPIFFE_ID[-60:], dns=("a.example",)), id="in the common name"),
    pytest.param(leaf_with(OTHER_NAME), id="in an otherName"),
    pytest.param(leaf_with(x509.DNSName(SPIFFE_ID)), id="in a DNS name"),
    pytest.param(leaf_with(x509.RFC822Name(SPIFFE_ID)), id="in an e-mail name"),
    pytest.param(uris(SPIFFE_ID, SPIFFE_ID), id="twice"),
    pytest.param(uris(SPIFFE_ID, "https://example.org/"), id="beside another URI"),
    pytest.param(uris("spiffe://Example.org/frontend"), id="upper-case trust domain"),
    pytest.param(uris("SPIFFE://example.org/frontend"), id="upper-case scheme"),
    pytest.param(uris("spiffe://example.org/jobs/%2e%2e/frontend"), id="escaped dots"),
    pytest.param(uris("spiffe://example.org/jobs/../frontend"), id="dots"),
    pytest.param(uris("spiffe://example.org/jobs//a"), id="empty segment"),
    pytest.param(uris("spiffe://example.org/jobs/a/"), id="trailing slash"),
    pytest.param(uris("spiffe://example.org/frontend/"), id="trailing slash after an exact name"),
    pytest.param(uris("spiffe://example.org:443/frontend"), id="port"),
    pytest.param(uris("spiffe://me@example.org/frontend"), id="user"),
    pytest.param(uris("spiffe://example.org/frontend?a=b"), id="query"),
    pytest.param(uris("spiffe://example.org/frontend#a"), id="fragment"),
    pytest.param(uris("spiffe://example.org/jobs/" + "a" * 2048), id="more than 2048 bytes"),
    pytest.param(uris("spiffe://example.org/jobs"), id="no segment where one is wanted"),
    pytest.param(uris("spiffe://example.org/FRONTEND"), id="another case in the path"),
    pytest.param(uris("spiffe://example.org/frontend2"), id="longer"),
    pytest.param(uris("spiffe://example.org/front"), id="shorter"),
    pytest.param(uris("spiffe://evil.example/spiffe://example.org/frontend"), id="as the path of another"),
    pytest.param(lambda ca: ca.ca_leaf(), id="on a CA certificate"),
]


@pytest.mark.parametrize("made", DENIED)
def test_it_is_denied(guarded: Guarded, made: Callable[[Authority], Credential]) -> None:
    identity = guarded.files.write("lookalike", made(guarded.authority))
    with guarded.refuses(acl_denial("default")):
        refusal(guarded.port, context(guarded.files, identity))


@pytest.mark.parametrize("uri", ["spiffe://example.org/jobs/a", "spiffe://example.org/jobs/a/b.c_d-e"])
def test_the_real_thing_gets_through(guarded: Guarded, uri: str) -> None:
    identity = guarded.files.write("real", guarded.authority.client("job", uri=(uri,)))
    assert talk(guarded.port, context(guarded.files, identity)) == PING


def test_a_nul_in_a_name_refuses_the_certificate(guarded: Guarded) -> None:
    """`good.example\\0.evil.example`: what a C library would read differently from everybody else."""
    credential = guarded.authority.odd(Names(cn="nul", dns=("frontend\0.evil.example",), uris=(SPIFFE_ID,)))
    identity = guarded.files.write("nul", credential)
    with guarded.refuses(handshake_failure("bad_certificate")):
        refusal(guarded.port, context(guarded.files, identity))


def test_the_denial_names_the_certificate(guarded: Guarded) -> None:
    credential = guarded.authority.client("stranger", org=("Elsewhere",))
    identity = guarded.files.write("stranger", credential)
    denial = acl_denial("default")
    whole = Sign(
        denial.metric,
        denial.labels,
        r"denied\" peer_cn=stranger peer_org=Elsewhere peer_sha256=[0-9a-f]{64} rule=default remote=127",
    )
    with guarded.refuses(whole):
        refusal(guarded.port, context(guarded.files, identity))
