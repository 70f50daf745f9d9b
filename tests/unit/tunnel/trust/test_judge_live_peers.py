from collections.abc import Sequence
from typing import Any, Literal

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.trust.identity import identity_of
from mtls_tunnel.trust.judge import (
    Fault,
    Judge,
    Peer,
    Sentence,
    anchor_allowed,
    anchors_for,
    chain_allowed,
    needs_no_crl,
    sentence,
)
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.pki import Credential, Names, make_root, sign
from mtls_tunnel.trust.policy import Policy
from support.clock import NOW
from support.leaves import DAY, material
from support.pki import SPIFFE_ID, Authority

ROOT = Authority(now=NOW)
MIDDLE = ROOT.intermediate()
OTHER = Authority("Other", now=NOW)
LEAF = MIDDLE.client("web")
CHAIN = (LEAF.certificate, MIDDLE.certificate, ROOT.certificate)
FINE = (ROOT.crl_pem(), MIDDLE.crl_pem())

GONE = Fault("ca_removed", detail="its CA is no longer trusted")
REVOKED = Fault("revoked", detail="its CA has revoked it")
UNKNOWN = Fault("revoked", detail="no CRL that is valid now covers it")


def faults(
    now_trusted: Material,
    *,
    acl: Acl | None = None,
    chain: Sequence[x509.Certificate] = CHAIN,
    crl_check: Literal["leaf", "chain"] = "leaf",
    now: float = NOW,
) -> tuple[Fault, ...]:
    policy = None if acl is None else Policy.of(acl)
    return Judge(now_trusted, policy, crl_check=crl_check).faults(Peer(identity_of(chain[0]), tuple(chain)), now)


def test_a_peer_that_a_handshake_would_let_in_may_stay() -> None:
    trusted = material(OTHER, ROOT, crls=FINE)
    assert faults(trusted, acl=Acl(allow=Rules(cn=("web",))), crl_check="chain") == ()
    assert Judge(trusted, None).judge(Peer(identity_of(LEAF.certificate), CHAIN), NOW) is None


# --- trust -------------------------------------------------------------------------------------------------


def again(authority: Authority, *, days: float = 9999) -> Authority:
    """The same CA with the same key, issued again."""
    subject, key = authority.certificate.subject, authority.credential.key
    extensions = [(extension.value, extension.critical) for extension in authority.certificate.extensions]
    issuer = ROOT.credential if authority is MIDDLE else authority.credential
    return Authority(now=NOW, credential=sign(issuer, subject, key, authority.validity(days), extensions))


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param((ROOT,), id="the same root"),
        pytest.param((OTHER, ROOT), id="the root beside a new one"),
        pytest.param((again(ROOT),), id="the root issued again"),
        pytest.param((MIDDLE,), id="the intermediate as an anchor"),
        pytest.param((again(MIDDLE),), id="the intermediate issued again, as an anchor"),
    ],
)
def test_a_chain_that_still_ends_at_a_trusted_authority_is_good(bundle: tuple[Authority, ...]) -> None:
    assert faults(material(*bundle)) == ()


def test_a_chain_that_ended_at_an_intermediate_is_good_under_its_root() -> None:
    assert faults(material(ROOT), chain=CHAIN[:2]) == ()


def test_a_ca_that_left_the_bundle_takes_its_peers_with_it() -> None:
    assert faults(material(OTHER)) == (GONE,)


def test_a_ca_of_the_same_name_with_another_key_is_another_ca() -> None:
    assert faults(material(Authority(now=NOW))) == (GONE,)


def test_a_resumed_session_of_which_only_the_leaf_is_known_is_judged_by_its_issuer() -> None:
    direct = ROOT.client("direct")
    chain = (direct.certificate,)
    assert faults(material(ROOT, crls=(ROOT.crl_pem(),)), chain=chain) == ()
    assert faults(material(ROOT, crls=(ROOT.crl_pem(direct),)), chain=chain) == (REVOKED,)
    assert faults(material(OTHER), chain=chain) == (GONE,)


def test_a_peer_that_is_its_own_anchor_stays_while_it_is_in_the_bundle() -> None:
    chain = (ROOT.certificate,)
    assert faults(material(ROOT, crls=(ROOT.crl_pem(),)), chain=chain) == ()
    assert faults(material(OTHER, crls=(OTHER.crl_pem(),)), chain=chain) == (GONE,)


def test_an_empty_chain_vouches_for_nobody() -> None:
    judge = Judge(material(ROOT, crls=FINE), None)
    assert judge.faults(Peer(identity_of(LEAF.certificate)), NOW) == (GONE,)


# --- revocation --------------------------------------------------------------------------------------------


def test_a_revoked_leaf_goes() -> None:
    assert faults(material(ROOT, crls=(ROOT.crl_pem(), MIDDLE.crl_pem(LEAF)))) == (REVOKED,)


def test_a_revoked_intermediate_takes_its_leaves_only_if_the_chain_is_checked() -> None:
    trusted = material(ROOT, crls=(ROOT.crl_pem(MIDDLE.credential), MIDDLE.crl_pem()))
    assert (faults(trusted), faults(trusted, crl_check="chain")) == ((), (REVOKED,))


@pytest.mark.parametrize(
    "crls",
    [
        pytest.param((ROOT.crl_pem(),), id="none of the issuing CA"),
        pytest.param((MIDDLE.crl_pem(hours=-0.1),), id="an expired one"),
        pytest.param((), id="none at all"),
    ],
)
def test_not_knowing_counts_as_revoked(crls: tuple[bytes, ...]) -> None:
    assert faults(material(ROOT, crls=crls)) == (UNKNOWN,)


def test_a_crl_that_went_with_its_ca_is_no_second_fault() -> None:
    assert faults(material(OTHER, crls=(OTHER.crl_pem(),))) == (GONE,)


def test_without_crls_nothing_is_revoked() -> None:
    assert faults(material(ROOT)) == ()


def test_a_warm_judge_says_the_same() -> None:
    judge = Judge(material(ROOT, crls=(ROOT.crl_pem(), MIDDLE.crl_pem(LEAF))), None)
    judge.warm()
    assert judge.judge(Peer(identity_of(LEAF.certificate), CHAIN), NOW) == REVOKED


# --- rules and dates ---------------------------------------------------------------------------------------


def test_a_peer_that_the_rules_no_longer_let_in_is_denied_by_the_key() -> None:
    assert [fault.rule for fault in faults(material(ROOT), acl=Acl(deny=Rules(cn=("web",))))] == ["deny_cn"]


def test_audit_mode_denies_nobody() -> None:
    assert faults(material(ROOT), acl=Acl(deny=Rules(cn=("web",)), mode="audit")) == ()


def test_a_peer_without_a_certificate_is_judged_by_the_rules_alone() -> None:
    trusted = material(ROOT, crls=())
    assert Judge(trusted, Policy.of(Acl())).faults(Peer(None), NOW) == ()
    [fault] = Judge(trusted, Policy.of(Acl(allow=Rules(cn=("a",))))).faults(Peer(None), NOW)
    assert (fault.reason, fault.rule) == ("denied", "default")


@pytest.mark.parametrize(("late", "expired"), [(0, False), (1, True)])
def test_a_leaf_expires_after_its_last_second(late: float, expired: bool) -> None:
    found = faults(material(ROOT), now=NOW + 90 * DAY + late)
    assert [fault.detail for fault in found] == ["its certificate has expired"] * expired


def test_an_intermediate_that_expires_before_its_leaf_counts() -> None:
    brief = ROOT.intermediate(days=10)
    leaf = brief.client()
    chain = (leaf.certificate, brief.certificate, ROOT.certificate)
    found = faults(material(ROOT), chain=chain, now=NOW + 20 * DAY)
    assert found == (Fault("expired", detail="a CA certificate above it has expired"),)


def test_an_anchor_that_was_renewed_in_time_keeps_its_peers() -> None:
    brief = Authority("Brief", now=NOW, days=10)
    leaf = brief.client()
    chain = (leaf.certificate, brief.certificate)
    renewed = Authority(
        now=NOW,
        credential=make_root(Names(cn="Brief", orgs=("Test",)), validity=brief.validity(99), key=brief.credential.key),
    )
    assert [fault.reason for fault in faults(material(brief), chain=chain, now=NOW + 20 * DAY)] == ["expired"]
    assert faults(material(brief, renewed), chain=chain, now=NOW + 20 * DAY) == ()


def test_faults_come_in_the_order_in_which_they_weigh() -> None:
    trusted = material(OTHER, crls=(MIDDLE.crl_pem(LEAF),))
    found = faults(trusted, acl=Acl(default="deny"), now=NOW + 99 * DAY)
    assert [fault.reason for fault in found] == ["revoked", "denied", "ca_removed", "expired"]


# --- trust domains -----------------------------------------------------------------------------------------

DOMAIN = Authority("Example CA", now=NOW)


def vouched(authority: Authority, **names: Any) -> bool:
    leaf = authority.leaf("x", **names)
    trusted = material(ROOT, trust=(("example.org", DOMAIN),))
    chain = (leaf.certificate, authority.certificate)
    identity = identity_of(leaf.certificate)
    allowed = anchor_allowed(trusted, identity, authority.certificate)
    assert allowed == chain_allowed(trusted, identity, chain)
    assert allowed == (faults(trusted, chain=chain) == ())
    return allowed


@pytest.mark.parametrize(
    ("authority", "uris", "expected"),
    [
        pytest.param(DOMAIN, (SPIFFE_ID,), True, id="the domain's CA for its domain"),
        pytest.param(ROOT, (SPIFFE_ID,), False, id="tls.ca for a listed domain"),
        pytest.param(DOMAIN, ("spiffe://example.net/x",), False, id="the domain's CA for another domain"),
        pytest.param(ROOT, ("spiffe://example.net/x",), True, id="tls.ca for a domain that is not listed"),
        pytest.param(DOMAIN, (), False, id="the domain's CA for no SPIFFE ID"),
        pytest.param(ROOT, (), True, id="tls.ca for no SPIFFE ID"),
        pytest.param(DOMAIN, (SPIFFE_ID, SPIFFE_ID + "/2"), False, id="the domain's CA for two URIs"),
        pytest.param(DOMAIN, ("spiffe://Example.org/x",), False, id="the domain's CA for another spelling"),
        pytest.param(OTHER, (SPIFFE_ID,), False, id="nobody's CA"),
    ],
)
def test_a_trust_domain_is_vouched_for_by_its_own_ca_and_no_other(
    authority: Authority, uris: tuple[str, ...], expected: bool
) -> None:
    assert vouched(authority, uri=uris) == expected


def test_a_domains_ca_below_a_root_that_others_trust_still_vouches_for_its_domain_alone() -> None:
    trusted = material(ROOT, trust=(("example.org", MIDDLE),))
    inside, outside = MIDDLE.leaf("x", uri=(SPIFFE_ID,)), MIDDLE.leaf("x", uri=("spiffe://example.net/x",))
    above = (MIDDLE.certificate, ROOT.certificate)
    allowed = [
        chain_allowed(trusted, identity_of(leaf.certificate), (leaf.certificate, *above)) for leaf in (inside, outside)
    ]
    assert allowed == [True, True]  # the second by ROOT, which tls.ca trusts for whoever is not listed
    direct = ROOT.leaf("x", uri=(SPIFFE_ID,)).certificate
    assert not chain_allowed(trusted, identity_of(direct), (direct, ROOT.certificate))


def test_an_anchor_that_was_issued_again_may_vouch_and_its_namesake_may_not() -> None:
    identity = identity_of(LEAF.certificate)
    assert anchor_allowed(material(again(ROOT)), identity, ROOT.certificate)
    assert not anchor_allowed(material(Authority(now=NOW)), identity, ROOT.certificate)


def test_a_peer_without_identity_is_vouched_for_by_tls_ca() -> None:
    trusted = material(ROOT, trust=(("example.org", DOMAIN),))
    assert anchors_for(trusted, None) == (ROOT.certificate,)


def test_an_anchor_needs_no_crl_unless_one_lists_it() -> None:
    """Codes 3, 12 and 23: no CRL, an expired one, revoked."""
    trusted = material(MIDDLE, crls=(MIDDLE.crl_pem(),))
    assert [needs_no_crl(trusted, MIDDLE.certificate, code) for code in (3, 12, 23)] == [True, True, False]
    assert not needs_no_crl(trusted, LEAF.certificate, 3)
    assert not needs_no_crl(material(MIDDLE, crls=(ROOT.crl_pem(MIDDLE.credential),)), MIDDLE.certificate, 3)


# --- what follows ------------------------------------------------------------------------------------------

FAULTS = (REVOKED, Fault("denied", "deny_cn"), GONE, Fault("expired"))


@pytest.mark.parametrize(
    ("acl", "fault", "action"),
    [
        (Acl(), FAULTS[0], "close"),
        (Acl(), FAULTS[1], "close"),
        (Acl(), FAULTS[2], "close"),
        (Acl(), FAULTS[3], "log"),
        (Acl(on_ca_removed="log"), FAULTS[2], "log"),
        (Acl(on_expiry="close"), FAULTS[3], "close"),
        (Acl(reauthorize="log"), FAULTS[0], "log"),
        (Acl(reauthorize="log", on_ca_removed="close"), FAULTS[2], "log"),
        (Acl(reauthorize="off"), FAULTS[0], None),
        (Acl(reauthorize="off"), FAULTS[2], None),
        (Acl(reauthorize="off"), FAULTS[3], "log"),
    ],
)
def test_the_acl_says_what_follows_from_a_fault(acl: Acl, fault: Fault, action: Literal["close", "log"] | None) -> None:
    assert sentence((fault,), acl) == (None if action is None else Sentence(action, fault))


def test_no_fault_no_sentence() -> None:
    assert sentence((), Acl()) is None


@given(
    st.lists(st.sampled_from(FAULTS), unique=True),
    st.builds(
        Acl,
        reauthorize=st.sampled_from(["close", "log", "off"]),
        on_expiry=st.sampled_from(["close", "log"]),
        on_ca_removed=st.sampled_from(["close", "log"]),
    ),
)
def test_a_fault_that_closes_is_never_hidden_by_one_that_is_only_logged(found: list[Fault], acl: Acl) -> None:
    alone = [sentence((fault,), acl) for fault in found]
    together = sentence(found, acl)
    assert (together is not None and together.action == "close") == any(
        one is not None and one.action == "close" for one in alone
    )


# --- many --------------------------------------------------------------------------------------------------


def test_exactly_the_peers_concerned_are_cut() -> None:
    peers: list[Credential] = [MIDDLE.client(f"peer-{n}") for n in range(20)]
    out = {peers[3].certificate.serial_number, peers[11].certificate.serial_number}
    judge = Judge(material(ROOT, crls=(MIDDLE.crl_pem(*out),)), Policy.of(Acl(deny=Rules(cn=("peer-7",)))))
    cut = {
        index: fault.reason
        for index, peer in enumerate(peers)
        if (fault := judge.judge(Peer(identity_of(peer.certificate), (peer.certificate, *CHAIN[1:])), NOW))
    }
    assert cut == {3: "revoked", 7: "denied", 11: "revoked"}
