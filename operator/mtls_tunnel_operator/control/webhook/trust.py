"""The webhook's own CA, the injector's serving certificate, and the caBundle that the API server checks it with.

The order is what matters: the API server must know a CA before the injector serves a certificate of it, and must
know the old one until no injector serves it any more.  So a new CA first stands in the bundle beside the old
one; once that is confirmed and has had time to spread, the serving certificate is made anew; and the old CA
leaves the bundle later still.  What somebody else writes into the bundle is not kept, but for one case: where
our CA Secret is gone, the CA of the certificate that is being served stays until that one is replaced.

PURE: the clock is passed in.  Sources: pains 8 and 9 of other injectors (serving certificate expired, or newer
than the bundle); RFC 5280 §4.2.1.10 (this CA may only name the injector's Service).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_tunnel.trust import chain, decode, pki
from mtls_tunnel.trust.decode import File, Unusable
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.state import entry

DAY = 86400.0
CA_SECONDS = 365 * DAY
SERVING_SECONDS = 90 * DAY
# API servers take a changed configuration from a watch, kubelet is not involved: a minute is plenty.
PROPAGATION_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA that signs now and the one before it, as long as it must stay in the bundle."""

    certificate: x509.Certificate
    key: decode.PrivateKey
    previous: x509.Certificate | None = None

    @property
    def bundle(self) -> bytes:
        """What the API server must know, the CA that signs first."""
        return ca.pem_of((self.certificate, *((self.previous,) if self.previous else ())))


@dataclass(frozen=True, slots=True)
class Serving:
    """A serving certificate as it is stored."""

    certificate: x509.Certificate
    cert_pem: bytes
    key_pem: bytes

    @property
    def issued(self) -> float:
        """When it was made."""
        return self.certificate.not_valid_before_utc.timestamp() + pki.SKEW_SECONDS

    @property
    def not_after(self) -> float:
        """The last second of its validity."""
        return self.certificate.not_valid_after_utc.timestamp()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write now, in this order: the CA, the bundle, the serving certificate; and when to look again."""

    authority: Authority
    store_authority: bool
    store_bundle: bool
    new_serving: bool
    again: float


def decide(
    stored: Authority | None,
    serving: Serving | None,
    bundle: bytes,
    names: tuple[str, ...],
    now: float,
    confirmed: float,
) -> Decision:
    """What must be written; *bundle* is what the API server has, *confirmed* since when it has what we want."""
    authority = _authority(stored, serving, bundle, names, now)
    is_written = bundle == authority.bundle
    known = is_written and now >= confirmed + PROPAGATION_SECONDS
    again = now + PROPAGATION_SECONDS if is_written and not known else now + 3600.0
    new = _is_needed(authority, serving, names, now)
    if new and serving is not None and _may_wait(authority, serving, now) and not known:
        return Decision(authority, authority != stored, not is_written, False, min(again, now + PROPAGATION_SECONDS))
    if serving is not None and not new:
        again = min(again, _due(serving), _ca_due(authority))
        if authority.previous is not None:
            again = min(again, max(now + 1.0, serving.issued + 2 * PROPAGATION_SECONDS))
    return Decision(authority, authority != stored, not is_written, new, again)


def _authority(
    stored: Authority | None, serving: Serving | None, bundle: bytes, names: tuple[str, ...], now: float
) -> Authority:
    """The CA to use from now on."""
    if stored is None:
        return make_authority(names, now, _issuer_in(bundle, serving, now))
    if now >= _ca_due(stored) and stored.previous is None:
        return make_authority(names, now, stored.certificate)
    if stored.previous is None or serving is None or not chain.issued(stored.certificate, serving.certificate):
        return stored
    if now < serving.issued + 2 * PROPAGATION_SECONDS:
        return stored
    return Authority(stored.certificate, stored.key)


def _issuer_in(bundle: bytes, serving: Serving | None, now: float) -> x509.Certificate | None:
    """The CA of the certificate that is being served, if the API server knows it."""
    if serving is None or serving.not_after <= now:
        return None
    try:
        known = decode.authorities("caBundle", File("caBundle", bundle))
    except Unusable:
        return None
    return next((one for one in known if chain.issued(one, serving.certificate)), None)


def _is_needed(authority: Authority, serving: Serving | None, names: tuple[str, ...], now: float) -> bool:
    if serving is None or now >= _due(serving):
        return True
    return not chain.issued(authority.certificate, serving.certificate) or dns_names(serving.certificate) != set(names)


def _may_wait(authority: Authority, serving: Serving, now: float) -> bool:
    """Whether what is served now works as long as the bundle needs to spread."""
    if serving.not_after <= now:
        return False
    known = (authority.certificate, *((authority.previous,) if authority.previous else ()))
    return any(chain.issued(one, serving.certificate) for one in known)


def _due(serving: Serving) -> float:
    return serving.not_after - (serving.not_after - serving.issued) / 3


def _ca_due(authority: Authority) -> float:
    end = authority.certificate.not_valid_after_utc.timestamp()
    start = authority.certificate.not_valid_before_utc.timestamp() + pki.SKEW_SECONDS
    # A serving certificate of full length must fit into what is left.
    return end - max((end - start) / 3, min(SERVING_SECONDS, (end - start) / 2))


def make_authority(names: tuple[str, ...], now: float, previous: x509.Certificate | None = None) -> Authority:
    """A new CA that may name the injector's Service and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    # A subject that no other CA of this webhook has: of two CAs of one name some verifiers try the wrong one.
    issuer = pki.Names(cn=f"mtls-tunnel webhook CA {x509.random_serial_number():x}"[:40])
    limits = x509.NameConstraints([x509.DNSName(name) for name in names], None)
    root = pki.make_root(issuer, validity=pki.Validity.starting(now, CA_SECONDS), key=key)
    extensions = (*pki.authority_extensions(public, public, path_length=0), (limits, True))
    made = pki.sign(root, issuer.subject(), key, pki.Validity.starting(now, CA_SECONDS), extensions)
    return Authority(made.certificate, key, previous)


def make_serving(authority: Authority, names: tuple[str, ...], now: float) -> Serving:
    """A serving certificate for the injector."""
    made = pki.make_leaf(
        pki.Credential(authority.certificate, authority.key),
        pki.Names(dns=names),
        validity=pki.Validity.starting(now, SERVING_SECONDS).within(authority.certificate),
        key=ec.generate_private_key(ec.SECP256R1()),
        client=False,
    )
    return Serving(made.certificate, made.cert_pem, made.key_pem)


def dns_names(certificate: x509.Certificate) -> set[str]:
    """The DNS names that it may be called by."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return set(found.get_values_for_type(x509.DNSName))


def read_authority(secret: Mapping[str, Any] | None) -> Authority | None:
    """The CA in its Secret; None for what cannot be used, which is then replaced."""
    found = read_serving(secret)
    if found is None or secret is None:
        return None
    previous = entry(secret, "previous.crt")
    try:
        key = decode.private_key("tls.key", File("tls.key", found.key_pem))
        others = decode.certificates("previous.crt", File("previous.crt", previous)) if previous else ()
    except Unusable:
        return None
    return Authority(found.certificate, key, others[0] if others else None)


def read_serving(secret: Mapping[str, Any] | None) -> Serving | None:
    """The certificate and key of a Secret; None where they do not parse or do not fit each other."""
    if secret is None:
        return None
    cert_pem, key_pem = entry(secret, "tls.crt"), entry(secret, "tls.key")
    try:
        certificate = decode.certificates("tls.crt", File("tls.crt", cert_pem))[0]
        key = decode.private_key("tls.key", File("tls.key", key_pem))
    except Unusable:
        return None
    if certificate.public_key() != key.public_key():
        return None
    return Serving(certificate, cert_pem, key_pem)
