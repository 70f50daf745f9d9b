"""CAs: those we make, and those that others put into a Secret."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from OpenSSL import crypto

from mtls_tunnel.tls.verify import store_of
from mtls_tunnel.trust import pki
from mtls_tunnel.trust.material import File, TlsFiles, parse
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.resources import CaSpec, PrivateKey
from support.clock import NOW
from support.pki import Authority

URI = "spiffe://cluster.local/ns/shop/sa/db"


def root(now: float = NOW, domain: str = "cluster.local") -> Pair:
    return ca.make_root(CaSpec(), domain, now)


def verified(anchor: x509.Certificate, presented: x509.Certificate) -> str:
    """What OpenSSL says, with the store that the tunnel verifies with: "" if it accepts."""
    own = Authority(now=NOW).leaf("self")
    bundle = File("ca.crt", ca.pem_of((anchor,)))
    files = TlsFiles(File("tls.crt", own.cert_pem), File("tls.key", own.key_pem), (bundle,))
    store = store_of(parse(files, now=NOW), whole_chain=False)
    store.set_time(datetime.fromtimestamp(NOW + 60, UTC).replace(tzinfo=None))
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(presented)).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return ""


def test_a_root_signs_leaves_only_and_only_for_its_trust_domain() -> None:
    extensions = root().certificate.extensions

    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    limits = extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.UniformResourceIdentifier("cluster.local")]
    assert limits.value.excluded_subtrees is None


@pytest.mark.parametrize(
    ("uris", "dns", "accepted"),
    [
        pytest.param((URI,), (), True, id="its own domain"),
        pytest.param((URI,), ("db.shop.svc", "x.example"), True, id="with DNS names"),
        pytest.param((), ("db.shop.svc",), True, id="without any URI"),
        pytest.param(("spiffe://evil.local/ns/shop/sa/db",), (), False, id="another domain"),
        pytest.param(("spiffe://sub.cluster.local/ns/shop/sa/db",), (), False, id="a domain below"),
        pytest.param((URI, "spiffe://evil.local/x"), (), False, id="another domain beside it"),
    ],
)
def test_openssl_keeps_a_root_to_its_trust_domain(uris: tuple[str, ...], dns: tuple[str, ...], accepted: bool) -> None:
    made = root()
    assert made.key is not None
    issuer = pki.Credential(made.certificate, made.key)
    validity = pki.Validity.starting(NOW, 3600)

    one = pki.make_leaf(issuer, pki.Names(uris=uris, dns=dns), validity=validity, key=pki.new_key())

    assert (verified(made.certificate, one.certificate) == "") is accepted


@pytest.mark.parametrize("domain", ["", ".local", "local.", "a..b", "10.0.0.1"])
def test_a_trust_domain_that_no_ca_can_be_limited_to_gets_none(domain: str) -> None:
    with pytest.raises(AuthorityError, match="choose one") as caught:
        root(domain=domain)
    assert caught.value.reason == "BadTrustDomain"


def test_two_roots_of_a_domain_have_different_names() -> None:
    assert root().certificate.subject != root().certificate.subject


def test_a_trust_domain_of_any_length_fits_into_the_name_of_its_root() -> None:
    assert len(root(domain="a" * 255).certificate.subject.rfc4514_string()) <= 64 + len("CN=")


def test_a_ca_comes_back_from_its_pem() -> None:
    made = root()

    assert ca.load(made.cert_pem, made.key_pem, now=NOW, trust_domain="cluster.local").certificate == made.certificate


def _odd(kind: str) -> tuple[bytes, bytes]:
    good, other = Authority(now=NOW).credential, Authority("Other", now=NOW).credential
    match kind:
        case "garbage":
            return b"garbage", good.key_pem
        case "empty":
            return b"", b""
        case "half":
            return good.cert_pem[:200], good.key_pem
        case "no key":
            return good.cert_pem, b""
        case "foreign key":
            return good.cert_pem, other.key_pem
        case "leaf":
            one = Authority(now=NOW).leaf("web")
            return one.cert_pem, one.key_pem
        case "expired":
            old = Authority(now=NOW, days=-1, since_days=-30).credential
            return old.cert_pem, old.key_pem
        case "early":
            early = Authority(now=NOW, days=30, since_days=2).credential
            return early.cert_pem, early.key_pem
    foreign = root(domain="other.example")
    return foreign.cert_pem, foreign.key_pem


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("garbage", "BadCA"),
        ("empty", "BadCA"),
        ("half", "BadCA"),
        ("no key", "BadCA"),
        ("foreign key", "CAKeyMismatch"),
        ("leaf", "NotACA"),
        ("expired", "CAExpired"),
        ("early", "CANotYetValid"),
        ("foreign domain", "CANotPermitted"),
    ],
)
def test_a_broken_ca_secret_is_named_with_a_remedy(kind: str, reason: str) -> None:
    cert, key = _odd(kind)

    with pytest.raises(AuthorityError) as caught:
        ca.load(cert, key, now=NOW, trust_domain="cluster.local", source="Secret corp-ca")

    assert caught.value.reason == reason
    assert caught.value.message.startswith("Secret corp-ca: ")


def test_an_intermediate_is_its_own_anchor_and_is_sent_behind_its_leaves() -> None:
    above = Authority("Corp Root", now=NOW)
    below = above.intermediate("Mesh CA")
    pair = ca.load(below.credential.cert_pem + above.pem, below.credential.key_pem, now=NOW)
    by = Signer("corp", "cluster.local", pair, (pair.certificate,))

    made = leaf.issue(by, Names(URI), 3600, PrivateKey(), "client", NOW)

    chain = x509.load_pem_x509_certificates(made.cert_pem)
    assert chain[1:] == [below.certificate]
    assert verified(below.certificate, chain[0]) == ""
    assert verified(Authority("Corp Root", now=NOW).certificate, chain[0]) != ""


@pytest.mark.parametrize(
    ("limit", "domain", "allowed"),
    [
        ("corp.example", "corp.example", True),
        ("CORP.example", "corp.example", True),
        (".corp.example", "mesh.corp.example", True),
        (".corp.example", "corp.example", False),
        ("corp.example", "mesh.corp.example", False),
    ],
)
def test_name_constraints_of_others_are_read_as_openssl_reads_them(limit: str, domain: str, allowed: bool) -> None:
    key = pki.new_key()
    public = key.public_key()
    limits = x509.NameConstraints([x509.UniformResourceIdentifier(limit)], None)
    issuer = Authority("Corp Root", now=NOW).credential
    extensions = (*pki.authority_extensions(public, issuer.key.public_key(), path_length=0), (limits, True))
    validity = pki.Validity.starting(NOW, 86400)
    made = pki.sign(issuer, pki.Names(cn="Mesh").subject(), key, validity, extensions)
    one = pki.make_leaf(
        made, pki.Names(uris=(f"spiffe://{domain}/a",)), validity=validity, key=pki.new_key()
    ).certificate

    assert ca.permits(made.certificate, domain) is allowed
    assert (verified(made.certificate, one) == "") is allowed


def test_a_bundle_with_anything_but_cas_is_refused_whole() -> None:
    authority = Authority(now=NOW)

    with pytest.raises(AuthorityError, match="not a CA") as caught:
        ca.bundle_of(authority.pem + authority.leaf("web").cert_pem, "ConfigMap partners")
    assert caught.value.reason == "BadBundle"
