"""The API server knows a CA before the injector serves under it, and the old one until nobody does."""

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.control.webhook import trust
from support.tunnel_resources import NOON

NAMES = ("mtls-tunnel-injector.mtls-tunnel-system.svc", "mtls-tunnel-injector.mtls-tunnel-system.svc.cluster.local")
LATER = NOON + trust.PROPAGATION_SECONDS


def settled(now: float = NOON) -> tuple[trust.Authority, trust.Serving]:
    authority = trust.make_authority(NAMES, now)
    return authority, trust.make_serving(authority, NAMES, now)


def accepts(bundle: bytes, serving: trust.Serving, now: float) -> bool:
    """Whether an API server with *bundle* takes what the injector serves."""
    store = verification.Store(x509.load_pem_x509_certificates(bundle))
    when = datetime.fromtimestamp(now, UTC)
    verifier = verification.PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(NAMES[0]))
    try:
        verifier.verify(serving.certificate, [])
    except verification.VerificationError:
        return False
    return True


def test_at_first_the_ca_the_bundle_and_the_certificate_are_made_at_once() -> None:
    decision = trust.decide(None, None, b"", NAMES, NOON, NOON)
    assert (decision.store_authority, decision.store_bundle, decision.new_serving) == (True, True, True)
    assert accepts(decision.authority.bundle, trust.make_serving(decision.authority, NAMES, NOON), NOON)


def test_a_settled_webhook_needs_nothing() -> None:
    authority, serving = settled()
    decision = trust.decide(authority, serving, authority.bundle, NAMES, LATER, NOON)
    assert (decision.store_authority, decision.store_bundle, decision.new_serving) == (False, False, False)
    assert decision.again <= LATER + 3600


def test_a_bundle_that_was_edited_by_hand_is_restored() -> None:
    authority, serving = settled()
    foreign, _ = settled()
    decision = trust.decide(authority, serving, foreign.bundle, NAMES, LATER, LATER)
    assert decision.store_bundle
    assert decision.authority.bundle == authority.bundle
    assert not decision.new_serving


def test_pain_08_the_serving_certificate_is_renewed_when_two_thirds_are_over() -> None:
    authority, serving = settled()
    due = serving.not_after - trust.SERVING_SECONDS / 3
    early = trust.decide(authority, serving, authority.bundle, NAMES, due - 60, NOON)
    late = trust.decide(authority, serving, authority.bundle, NAMES, due + 1, NOON)
    assert (early.new_serving, late.new_serving) == (False, True)
    assert early.again <= due


def test_pain_09_a_new_ca_stands_in_the_bundle_before_anything_is_served_under_it() -> None:
    authority, _ = settled()
    now = authority.certificate.not_valid_after_utc.timestamp() - 30 * trust.DAY
    serving = trust.make_serving(authority, NAMES, now - 10 * trust.DAY)
    first = trust.decide(authority, serving, authority.bundle, NAMES, now, now - 1000)
    assert first.store_authority
    assert first.authority.certificate != authority.certificate
    assert first.authority.previous == authority.certificate
    assert first.store_bundle
    assert not first.new_serving, "the API server may not have the new CA yet"
    second = trust.decide(first.authority, serving, first.authority.bundle, NAMES, now + 1, now)
    assert not second.new_serving, "it has been told, but it needs time"
    third = trust.decide(first.authority, serving, first.authority.bundle, NAMES, now + 61, now)
    assert third.new_serving


def test_pain_09_the_old_ca_stays_until_every_injector_serves_the_new_certificate() -> None:
    old, _ = settled()
    new = trust.make_authority(NAMES, NOON, old.certificate)
    serving = trust.make_serving(new, NAMES, NOON)
    during = trust.decide(new, serving, new.bundle, NAMES, NOON + 100, NOON - 1000)
    assert during.authority.previous is not None
    after = trust.decide(new, serving, new.bundle, NAMES, NOON + 121, NOON - 1000)
    assert after.authority.previous is None
    assert after.store_authority
    assert after.store_bundle


def test_at_no_step_of_a_change_does_the_api_server_refuse_what_is_served() -> None:
    """The whole change, a step a second, with the worst of both: an old bundle and a new certificate."""
    authority, _ = settled()
    now = authority.certificate.not_valid_after_utc.timestamp() - 30 * trust.DAY
    serving = trust.make_serving(authority, NAMES, now - 10 * trust.DAY)
    bundle, confirmed, changes = authority.bundle, now - 1000, 0
    seen: list[tuple[float, bytes]] = [(now - 1000, bundle)]
    for second in range(0, 400, 7):
        moment = now + second
        decision = trust.decide(authority, serving, bundle, NAMES, moment, confirmed)
        authority = decision.authority
        if decision.store_bundle:
            bundle, confirmed = authority.bundle, moment
            seen.append((moment, bundle))
        if decision.new_serving:
            serving, changes = trust.make_serving(authority, NAMES, moment), changes + 1
        # An API server that is 50 s behind still has the bundle of then.
        lagging = [held for since, held in seen if since <= moment - 50] or [seen[0][1]]
        assert accepts(bundle, serving, moment)
        assert accepts(lagging[-1], serving, moment)
    assert changes == 1
    assert authority.previous is None
    assert bundle == authority.bundle


def test_a_lost_ca_is_replaced_without_an_outage() -> None:
    old, serving = settled()
    first = trust.decide(None, serving, old.bundle, NAMES, LATER, LATER)
    assert first.authority.previous == old.certificate
    assert not first.new_serving
    assert accepts(first.authority.bundle, serving, LATER)


def test_a_ca_of_somebody_else_in_the_bundle_is_not_taken_over() -> None:
    foreign, _ = settled()
    decision = trust.decide(None, None, foreign.bundle, NAMES, NOON, NOON)
    assert decision.authority.previous is None


def test_the_webhooks_ca_may_not_name_other_hosts() -> None:
    authority, _ = settled()
    other = trust.make_serving(authority, ("vault.vault.svc",), NOON)
    store = verification.Store([authority.certificate])
    when = datetime.fromtimestamp(NOON, UTC)
    limits = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.DNSName(name) for name in NAMES]
    verifier = (
        verification.PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName("vault.vault.svc"))
    )
    try:
        verifier.verify(other.certificate, [])
    except verification.VerificationError:
        return
    raise AssertionError("accepted")


def test_what_is_stored_is_read_back() -> None:
    old, _ = settled()
    authority = trust.make_authority(NAMES, NOON, old.certificate)
    entries = {
        "tls.crt": ca.pem_of((authority.certificate,)),
        "tls.key": ca.key_pem(authority.key),
        "previous.crt": ca.pem_of((old.certificate,)),
    }
    found = trust.read_authority(secret(entries))
    assert found is not None
    assert (found.certificate, found.previous) == (authority.certificate, old.certificate)


def test_a_secret_that_makes_no_sense_counts_as_missing() -> None:
    authority, serving = settled()
    other = ca.key_pem(ec.generate_private_key(ec.SECP256R1()))
    for broken in (
        {},
        {"tls.crt": b"x", "tls.key": b"y"},
        {"tls.crt": serving.cert_pem, "tls.key": other},
        {"tls.crt": ca.pem_of((authority.certificate,)), "tls.key": ca.key_pem(authority.key), "previous.crt": b"?"},
    ):
        assert trust.read_authority(secret(broken)) is None
    assert trust.read_serving(None) is None
    assert trust.read_serving({"data": {"tls.crt": "no base64!", "tls.key": 7}}) is None


def secret(entries: dict[str, bytes]) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value).decode() for key, value in entries.items()}}
