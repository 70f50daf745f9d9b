from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.trust.chain import Authorities, Authority, issued, leads_to, order
from mtls_tunnel.trust.pki import Names, make_root, new_key, sign
from support.clock import NOW
from support.pki import Authority as CA

ROOT = CA(now=NOW)
MIDDLE = ROOT.intermediate("Middle", path_length=None)
LOW = MIDDLE.intermediate("Low")
LEAF = LOW.leaf("web", dns=("localhost",)).certificate
CHAIN = (LEAF, LOW.certificate, MIDDLE.certificate, ROOT.certificate)
OTHER = CA("Other", now=NOW).certificate


@given(st.permutations(CHAIN), st.lists(st.sampled_from(CHAIN), max_size=3))
def test_any_order_and_any_repetition_gives_the_same_chain(
    shuffled: list[x509.Certificate], again: list[x509.Certificate]
) -> None:
    ordered = order(LEAF, [*shuffled, *again])
    assert (ordered.chain, ordered.strangers) == (CHAIN, ())


@given(st.permutations((*CHAIN, OTHER)))
def test_a_certificate_that_issued_nothing_here_is_a_stranger(shuffled: list[x509.Certificate]) -> None:
    ordered = order(LEAF, shuffled)
    assert (ordered.chain, ordered.strangers) == (CHAIN, (OTHER,))


def test_a_gap_leaves_what_is_above_it_outside() -> None:
    ordered = order(LEAF, [MIDDLE.certificate, ROOT.certificate])
    assert (ordered.chain, ordered.strangers) == ((LEAF,), (MIDDLE.certificate, ROOT.certificate))


def test_a_cross_certificate_comes_behind_the_chain() -> None:
    other = CA("Old Root", now=NOW)
    extensions = [(extension.value, extension.critical) for extension in MIDDLE.certificate.extensions]
    cross = sign(
        other.credential, MIDDLE.certificate.subject, MIDDLE.credential.key, other.validity(10), extensions
    ).certificate
    ordered = order(LEAF, [cross, *CHAIN])
    assert set(ordered.chain) == {*CHAIN, cross}
    assert (ordered.chain[:2], ordered.strangers) == (CHAIN[:2], ())


def test_a_self_signed_leaf_is_a_chain_of_one() -> None:
    assert order(ROOT.certificate, [ROOT.certificate]).chain == (ROOT.certificate,)


def test_the_same_name_with_another_key_issued_nothing() -> None:
    impostor = CA(now=NOW).certificate
    assert impostor.subject == ROOT.certificate.subject
    assert not issued(impostor, MIDDLE.certificate)
    assert not leads_to(CHAIN[:3], (impostor,))


def test_a_chain_leads_to_an_anchor_that_stands_in_it_or_above_it() -> None:
    assert leads_to(CHAIN[:3], (OTHER, ROOT.certificate))
    assert leads_to(CHAIN, (MIDDLE.certificate,))
    assert not leads_to(CHAIN[:2], (ROOT.certificate,))


def test_a_certificate_issued_again_with_its_name_and_key_is_the_same_authority() -> None:
    again = make_root(Names(cn="Test Root", orgs=("Test",)), validity=ROOT.validity(9999), key=ROOT.credential.key)
    other_key = make_root(Names(cn="Test Root", orgs=("Test",)), validity=ROOT.validity(9999), key=new_key())
    assert Authority.of(again.certificate).key == Authority.of(ROOT.certificate).key
    assert Authority.of(other_key.certificate).key != Authority.of(ROOT.certificate).key


def test_equal_certificates_share_one_authority() -> None:
    known = Authorities()
    copy = x509.load_pem_x509_certificate(ROOT.pem)
    assert known.of(copy) is known.of(ROOT.certificate)
