from collections.abc import Sequence

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust import revocation
from mtls_tunnel.trust.chain import Authority as Known
from mtls_tunnel.trust.pki import Credential, Extension, Names, make_root
from mtls_tunnel.trust.revocation import Revocation, signed_by
from support.clock import NOW
from support.pki import Authority

ROOT = Authority(now=NOW)
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.client("leaf")
OTHER = MIDDLE.client("other")


def status(*crls: x509.CertificateRevocationList, whole_chain: bool = False, leaf: Credential = LEAF) -> str:
    above = [Known.of(MIDDLE.certificate), Known.of(ROOT.certificate)]
    return Revocation(crls, whole_chain=whole_chain).status(leaf.certificate, above, NOW)


def test_a_leaf_that_is_not_listed_is_good() -> None:
    assert status(MIDDLE.crl(OTHER)) == "good"


def test_a_listed_leaf_is_revoked() -> None:
    assert status(MIDDLE.crl(OTHER, LEAF)) == "revoked"


@pytest.mark.parametrize(
    "crls",
    [
        pytest.param((), id="none at all"),
        pytest.param((ROOT.crl(),), id="of another issuer"),
        pytest.param((ROOT.crl(LEAF),), id="the serial in the list of another issuer"),
        pytest.param((MIDDLE.crl(hours=-0.1),), id="expired"),
        pytest.param((MIDDLE.crl(since_hours=1),), id="not yet valid"),
        pytest.param((Authority("Test Intermediate", now=NOW).crl(LEAF),), id="signed by another key of the same name"),
        pytest.param((MIDDLE.crl(extensions=((x509.DeltaCRLIndicator(1), True),)),), id="delta only"),
        pytest.param(
            (
                MIDDLE.crl(
                    extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True),)
                ),
            ),
            id="unknown critical extension",
        ),
    ],
)
def test_without_a_crl_that_counts_there_is_no_way_to_know(crls: Sequence[x509.CertificateRevocationList]) -> None:
    assert status(*crls) == "crl_unavailable"


def test_a_revocation_outlives_its_crl_while_there_is_no_other() -> None:
    assert status(MIDDLE.crl(LEAF, hours=-0.1)) == "revoked"


def test_the_newest_current_crl_decides() -> None:
    old, new = MIDDLE.crl(LEAF, since_hours=-2), MIDDLE.crl(since_hours=-1)
    assert (status(old, new), status(new, old)) == ("good", "good")
    assert status(MIDDLE.crl(since_hours=-2), MIDDLE.crl(LEAF, since_hours=-1)) == "revoked"


def test_an_expired_crl_beside_a_current_one_says_nothing() -> None:
    assert status(MIDDLE.crl(LEAF, hours=-0.1), MIDDLE.crl()) == "good"


def test_an_intermediate_counts_only_when_the_whole_chain_is_checked() -> None:
    lists = (MIDDLE.crl(), ROOT.crl(MIDDLE.credential))
    assert (status(*lists), status(*lists, whole_chain=True)) == ("good", "revoked")


def test_the_whole_chain_needs_a_crl_of_every_ca_but_none_above_the_anchor() -> None:
    assert status(MIDDLE.crl(), whole_chain=True) == "crl_unavailable"
    assert status(MIDDLE.crl(), ROOT.crl(), whole_chain=True) == "good"


def test_a_revoked_intermediate_outweighs_a_missing_list_for_the_leaf() -> None:
    assert status(ROOT.crl(MIDDLE.credential), whole_chain=True) == "revoked"


POINT = x509.UniformResourceIdentifier("http://ca.example/1.crl")
ELSEWHERE = x509.UniformResourceIdentifier("http://ca.example/2.crl")


def scope(reasons: frozenset[x509.ReasonFlags] | None = None, **bits: bool) -> Extension:
    names = {"only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"}
    values = {name: bits.get(name, False) for name in names}
    return x509.IssuingDistributionPoint(None, None, only_some_reasons=reasons, **values), True


def at(point: x509.GeneralName) -> Extension:
    value = x509.IssuingDistributionPoint(
        [point],
        None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return value, True


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        pytest.param(scope(only_contains_user_certs=True), "good", id="of leaves"),
        pytest.param(scope(only_contains_ca_certs=True), "crl_unavailable", id="of CAs"),
        pytest.param(scope(indirect_crl=True), "crl_unavailable", id="of other issuers"),
        pytest.param(scope(frozenset({x509.ReasonFlags.key_compromise})), "crl_unavailable", id="of some reasons"),
        pytest.param(scope(only_contains_attribute_certs=True), "crl_unavailable", id="of attribute certificates"),
    ],
)
def test_a_partial_crl_counts_for_what_it_covers(extension: Extension, expected: str) -> None:
    assert status(MIDDLE.crl(extensions=(extension,))) == expected


@pytest.mark.parametrize(("point", "expected"), [(POINT, "good"), (ELSEWHERE, "crl_unavailable")])
def test_a_partitioned_crl_covers_the_leaves_that_name_it(point: x509.GeneralName, expected: str) -> None:
    points = x509.CRLDistributionPoints([x509.DistributionPoint([POINT], None, None, None)])
    leaf = MIDDLE.odd(Names(cn="x"), (points, False))
    assert status(MIDDLE.crl(extensions=(at(point),)), leaf=leaf) == expected


def test_a_ca_whose_key_may_not_sign_crls_signed_none() -> None:
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    basic = x509.BasicConstraints(ca=True, path_length=None)
    mute = Authority(now=NOW, credential=ROOT.odd(Names(cn="Mute"), (usage, True), (basic, True)))
    assert not signed_by(mute.crl(), mute.certificate)


def test_a_crl_of_the_same_key_under_another_name_is_of_another_ca() -> None:
    renamed = make_root(Names(cn="Renamed"), validity=ROOT.validity(9), key=ROOT.credential.key)
    assert not signed_by(ROOT.crl(), renamed.certificate)


@given(st.sets(st.integers(min_value=1, max_value=50)), st.integers(min_value=1, max_value=50))
def test_exactly_the_listed_serials_are_revoked(listed: set[int], asked: int) -> None:
    [usable] = Revocation([ROOT.crl(*listed)], whole_chain=False).index(Known.of(ROOT.certificate))
    assert (asked in usable.serials) == (asked in listed)


def test_delta_lists_are_told_from_full_ones() -> None:
    delta = ROOT.crl(extensions=((x509.DeltaCRLIndicator(1), True),))
    assert (revocation.is_delta(delta), revocation.is_delta(ROOT.crl())) == (True, False)
