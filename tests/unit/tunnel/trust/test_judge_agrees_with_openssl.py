"""A live peer is judged as OpenSSL would judge its next handshake, for every mix of bundle, CRLs and dates."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from mtls_tunnel.trust.identity import identity_of
from mtls_tunnel.trust.judge import Judge, Peer, needs_no_crl
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.pki import Names, make_root
from mtls_tunnel.trust.reasons import reason_of
from support.clock import NOW
from support.leaves import DAY, material
from support.pki import Authority

ROOT = Authority(now=NOW)
MIDDLE = ROOT.intermediate()
OTHER = Authority("Other", now=NOW)
LEAF = MIDDLE.client("web")
CHAIN = (LEAF.certificate, MIDDLE.certificate, ROOT.certificate)
AGAIN = Authority(
    now=NOW,
    credential=make_root(Names(cn="Test Root", orgs=("Test",)), validity=ROOT.validity(99), key=ROOT.credential.key),
)

BUNDLES: Mapping[str, Sequence[Authority]] = {
    "root": (ROOT,),
    "root issued again": (AGAIN,),
    "intermediate": (MIDDLE,),
    "both": (MIDDLE, ROOT),
    "another": (OTHER,),
}
LISTS: Mapping[str, Sequence[x509.CertificateRevocationList] | None] = {
    "none configured": None,
    "none there": (),
    "fine": (ROOT.crl(), MIDDLE.crl()),
    "of the root only": (ROOT.crl(),),
    "of the intermediate only": (MIDDLE.crl(),),
    "of another": (OTHER.crl(), ROOT.crl()),
    "leaf revoked": (ROOT.crl(), MIDDLE.crl(LEAF)),
    "intermediate revoked": (ROOT.crl(MIDDLE.credential), MIDDLE.crl()),
    "expired": (ROOT.crl(), MIDDLE.crl(hours=-0.1)),
    "of tomorrow": (ROOT.crl(), MIDDLE.crl(since_hours=1)),
    "delta": (ROOT.crl(), MIDDLE.crl(extensions=((x509.DeltaCRLIndicator(1), True),))),
    "lifted since": (ROOT.crl(), MIDDLE.crl(LEAF, since_hours=-2), MIDDLE.crl(since_hours=-1)),
    "revoked since": (ROOT.crl(), MIDDLE.crl(since_hours=-2), MIDDLE.crl(LEAF, since_hours=-1)),
}
SAME_WORD = {"unknown_ca": "ca_removed", "crl_unavailable": "revoked"}


def openssl(trusted: Material, whole_chain: bool, now: float) -> str | None:
    """The reason word of a handshake's verification, None for a good one."""
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    store = crypto.X509Store()
    for anchor in trusted.bundle:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    if trusted.crls is not None:
        flags |= crypto.X509StoreFlags.CRL_CHECK | (crypto.X509StoreFlags.CRL_CHECK_ALL if whole_chain else 0)
        for crl in trusted.crls:
            store.add_crl(crl)
    store.set_flags(flags)
    store.set_time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
    leaf, sent = (crypto.X509.from_cryptography(one) for one in CHAIN[:2])
    try:
        crypto.X509StoreContext(store, leaf, [sent]).verify_certificate()
    except crypto.X509StoreContextError as error:
        code = error.errors[0]
        if needs_no_crl(trusted, error.certificate.to_cryptography(), code):
            return None  # the only thing left to say: the anchor is the last to be looked at
        word = reason_of(code)
        return SAME_WORD.get(word, word)
    return None


@pytest.mark.parametrize("now", [NOW, NOW + 95 * DAY], ids=["today", "after the leaf has expired"])
@pytest.mark.parametrize("whole_chain", [False, True], ids=["leaf", "chain"])
@pytest.mark.parametrize("lists", LISTS)
@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_live_peer_is_judged_as_its_next_handshake_would_be(
    bundle: str, lists: str, whole_chain: bool, now: float
) -> None:
    crls = LISTS[lists]
    encoded = None if crls is None else [crl.public_bytes(Encoding.PEM) for crl in crls]
    trusted = material(*BUNDLES[bundle], own=LEAF, crls=encoded)
    judge = Judge(trusted, None, crl_check="chain" if whole_chain else "leaf")
    reasons = [fault.reason for fault in judge.faults(Peer(identity_of(CHAIN[0]), CHAIN), now)]
    expected = openssl(trusted, whole_chain, now)
    if expected is None:
        assert reasons == []
    else:
        assert expected in reasons
