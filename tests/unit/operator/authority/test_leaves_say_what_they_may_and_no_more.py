"""Leaves: names, validity, key and issuer, parsed back; what is refused, whoever asks."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust import chain
from mtls_tunnel.trust.material import File, TlsFiles, parse
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.authority.signer import Refusal, Signer
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.resources import CaSpec, PrivateKey
from support.clock import NOW

DAY = 86400
NAMES = Names("spiffe://cluster.local/ns/shop/mtlstunnel/db/server", ("db.shop.svc", "db.shop.svc.cluster.local"))


def signer(now: float = NOW, duration: int = 365 * DAY, **changes: Any) -> Signer:
    pair = ca.make_root(CaSpec(duration_seconds=duration), "cluster.local", now)
    return Signer("default", "cluster.local", pair, (pair.certificate,), **changes)


def issue(by: Signer, names: Names = NAMES, seconds: int = DAY, now: float = NOW, **asked: Any) -> leaf.Leaf:
    key = PrivateKey(**asked)
    return leaf.issue(by, names, seconds, key, "server", now)


def test_a_leaf_bears_its_names_in_a_critical_san_and_nothing_in_its_subject() -> None:
    certificate = x509.load_pem_x509_certificate(issue(signer()).cert_pem)

    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert sans.critical
    assert not certificate.subject.rdns
    assert leaf.read(issue(signer()).cert_pem).names == NAMES
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_pain_15_a_fresh_leaf_is_valid_on_hosts_whose_clock_is_five_minutes_behind() -> None:
    made = issue(signer(now=NOW - DAY))

    assert made.not_before == NOW - 300
    assert made.not_after == NOW + DAY


def test_pain_14_a_leaf_never_outlives_its_ca() -> None:
    by = signer(duration=3600)

    assert issue(by, seconds=DAY).not_after == by.pair.not_after


@pytest.mark.parametrize("age", [-300, -1, 0, 1, 299])
def test_under_a_ca_that_has_just_begun_a_leaf_begins_with_it_and_is_as_long_as_any_other(age: int) -> None:
    began = NOW - age
    by = signer(now=began + 300)  # its own validity begins five minutes before it was made

    made = issue(by)

    assert (made.not_before, made.not_after) == (began, began + 300 + DAY)


def test_a_leaf_is_no_longer_valid_than_the_trust_domain_allows() -> None:
    assert issue(signer(max_leaf_seconds=600)).not_after == NOW + 600


@pytest.mark.parametrize(
    ("names", "said"),
    [
        pytest.param(Names("spiffe://other.example/ns/shop/sa/db"), "not of trust domain", id="another domain"),
        pytest.param(Names("spiffe://cluster.local.evil/ns/shop/sa/db"), "not of trust domain", id="a longer domain"),
        pytest.param(Names("spiffe://cluster.local"), "no SPIFFE ID", id="no workload"),
        pytest.param(Names("spiffe://cluster.local/ns/../sa/db"), "no SPIFFE ID", id="dot segments"),
        pytest.param(Names("spiffe://cluster.local/ns/a%2fb"), "no SPIFFE ID", id="percent encoding"),
        pytest.param(Names("https://cluster.local/ns/a"), "no SPIFFE ID", id="another scheme"),
        pytest.param(Names("spiffe://cluster.local/ns/a/sa/" + "b" * 2048), "no SPIFFE ID", id="too long"),
        pytest.param(Names(NAMES.uri, ("*.shop.svc",)), "no DNS name", id="wildcard"),
        pytest.param(Names(NAMES.uri, ("db\r\nX: y",)), "no DNS name", id="line breaks"),
        pytest.param(Names(NAMES.uri, ("db\x00.shop",)), "no DNS name", id="NUL"),
        pytest.param(Names(NAMES.uri, ("DB.shop",)), "no DNS name", id="upper case"),
        pytest.param(Names(NAMES.uri, ("a" * 64,)), "no DNS name", id="label too long"),
        pytest.param(Names(NAMES.uri, ("",)), "no DNS name", id="empty"),
        pytest.param(Names(NAMES.uri, tuple(f"d{n}" for n in range(65))), "65 DNS names", id="too many"),
    ],
)
def test_names_that_are_not_the_domains_to_give_are_refused(names: Names, said: str) -> None:
    with pytest.raises(AuthorityError, match=said) as caught:
        issue(signer(), names)
    assert caught.value.reason == "NameNotAllowed"


@given(st.text(max_size=30))
def test_no_text_becomes_a_dns_name_that_a_verifier_would_read_otherwise(text: str) -> None:
    try:
        leaf.judge_names(Names(NAMES.uri, (text,)), "cluster.local")
    except AuthorityError:
        return
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert ".." not in text


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, ("ECDSA", 256)),
        ({"size_bits": 384}, ("ECDSA", 384)),
        ({"algorithm": "RSA"}, ("RSA", 3072)),
        ({"algorithm": "RSA", "size_bits": 2048}, ("RSA", 2048)),
        ({"algorithm": "Ed25519"}, ("Ed25519", 256)),
    ],
)
def test_keys_are_of_the_kind_that_was_asked_for(asked: dict[str, Any], kind: tuple[str, int]) -> None:
    facts = leaf.read(issue(signer(), **asked).cert_pem)

    assert (facts.algorithm, facts.size_bits) == kind


def test_a_key_is_kept_where_that_is_asked_for_and_made_anew_when_its_kind_changes() -> None:
    by, spec = signer(), PrivateKey(rotation_policy="Never")
    first = issue(by)

    second = leaf.issue(by, NAMES, DAY, spec, "server", NOW + 60, key_pem=first.key_pem)
    other = leaf.issue(by, NAMES, DAY, PrivateKey("Ed25519"), "server", NOW + 60, key_pem=first.key_pem)
    healed = leaf.issue(by, NAMES, DAY, spec, "server", NOW + 60, key_pem=b"garbage")

    assert second.key_pem == first.key_pem
    assert second.serial != first.serial
    assert other.key_pem != first.key_pem
    assert healed.key_pem.startswith(b"-----BEGIN PRIVATE KEY")


def test_what_is_issued_is_what_the_tunnel_reads() -> None:
    by = signer()
    made = issue(by)

    files = TlsFiles(File("tls.crt", made.cert_pem), File("tls.key", made.key_pem), (File("ca.crt", by.bundle_pem),))
    material = parse(files, now=NOW, strict=False, serves=True)

    assert chain.leads_to((material.leaf, *material.chain), by.bundle)
    assert leaf.read_pair(made.cert_pem, made.key_pem, by).issuer_fingerprint == by.pair.fingerprint


def test_a_stored_pair_that_is_none_is_named() -> None:
    by = signer()
    one, two = issue(by), issue(by)

    for cert, key, reason in (
        (one.cert_pem, two.key_pem, "LeafKeyMismatch"),
        (b"", one.key_pem, "BadLeaf"),
        (one.cert_pem, b"", "BadLeaf"),
        (one.cert_pem[:100], one.key_pem, "BadLeaf"),
    ):
        with pytest.raises(AuthorityError) as caught:
            leaf.read_pair(cert, key, by)
        assert caught.value.reason == reason


def test_a_stored_leaf_of_a_ca_outside_of_the_bundle_has_no_issuer() -> None:
    made = issue(signer())

    assert leaf.read_pair(made.cert_pem, made.key_pem, signer()).issuer_fingerprint == ""


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (signer(refusal=Refusal("BadCA", "the Secret is broken")), "BadCA"),
        (signer(now=NOW - 2 * DAY, duration=DAY), "CAExpired"),
        (signer(now=NOW - 3600, duration=3630), "CAExpired"),
    ],
    ids=["refused", "expired", "over in half a minute"],
)
def test_nothing_is_signed_by_a_ca_that_cannot(by: Signer, reason: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        issue(by)
    assert caught.value.reason == reason


def test_nothing_is_signed_when_the_key_is_gone() -> None:
    whole = signer()
    gone = Signer("default", "cluster.local", ca.Pair(whole.pair.certificate, None), whole.bundle)

    with pytest.raises(AuthorityError) as caught:
        issue(gone)
    assert caught.value.reason == "CAKeyMissing"


def test_neither_leaf_nor_signer_shows_its_key_when_it_is_logged() -> None:
    by = signer()

    assert "PRIVATE" not in repr(issue(by))
    assert "key" not in repr(by).lower()
