"""The verify callback: a chain that OpenSSL found good becomes a `Known` peer, or the handshake is refused.

OpenSSL has checked signatures, dates, purposes, path lengths, name constraints and CRLs before the leaf is shown here
with success.  What is added: the identity must parse, a SPIFFE ID of a listed trust domain must chain to that
domain's CA, and whatever the context demands (`accept`: the server's name, the ACL).  What OpenSSL refused stays
refused, with one exception: no CRL is asked for about a trust anchor, which nobody above it could revoke.

Parsed peers are remembered per context, by the bytes of their leaf and bounded: parsing costs a tenth of a handshake,
and a resumed session brings only the leaf along (TLS rule 3).  The cache is keyed by bytes and not by a digest of
them because a digest costs more here than all the rest of the look-up.

Sources: RFC 5280 §6; X509_STORE_CTX_set_verify_cb(3); SPIFFE Trust Domain and Bundle §4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from OpenSSL import SSL, crypto

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.trust import judge, reasons
from mtls_tunnel.trust.identity import Identity, certificate_of, identity_of
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.policy import Decision

Value = TypeVar("Value")

MOST_KNOWN = 4096  # peers remembered per context; each costs some 5 KB
MOST_INTERMEDIATES = 256
_CODE_NAMES = {
    value: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, value in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_") and isinstance(value, int)
}


@dataclass(frozen=True, slots=True)
class Known:
    """A peer whose chain was verified.  `valid_until` is when the first certificate or CRL of the proof runs out."""

    identity: Identity
    chain: tuple[x509.Certificate, ...]  # leaf first, anchor last
    above: tuple[bytes, ...]  # DER of the rest of the chain: the same leaf may have several
    valid_until: float


class Evidence:
    """What one handshake showed.  It hangs on the pyOpenSSL Connection as its application data."""

    __slots__ = (
        "certificate",
        "close_notify",
        "code",
        "decision",
        "depth",
        "flooded",
        "known",
        "offered",
        "path",
        "refusal",
        "wordless",
    )

    def __init__(self) -> None:
        self.path: dict[int, crypto.X509] = {}  # by depth, as far as OpenSSL found it good
        self.code = 0  # X509_V_ERR of what was refused first
        self.depth = 0
        self.certificate: crypto.X509 | None = None  # the one that was refused
        self.known: Known | None = None
        self.offered: Known | None = None  # client: the peer of the session that resumption was offered with
        self.refusal: PeerRejected | None = None
        self.decision: Decision | None = None
        self.close_notify = False
        self.wordless = 0  # what OpenSSL did since the last read began, without payload coming of it
        self.flooded = False


class Verifier:
    """One per context: judges the peers of its connections against one `Material`."""

    def __init__(
        self,
        material: Material,
        *,
        whole_chain: bool,
        now: Callable[[], float],
        accept: Callable[[Known, Evidence], None] | None = None,
    ) -> None:
        self._material = material
        self._whole_chain = whole_chain
        self._now = now
        self._accept = accept
        self._anchors = {_der(crypto.X509.from_cryptography(one)) for one in material.anchors()}
        self._known: dict[bytes, Known] = {}
        self._intermediates: dict[bytes, crypto.X509] = {}
        self._store = store_of(material, whole_chain=whole_chain)

    def callback(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
        """Called by OpenSSL for each certificate, the anchor first, and for each fault."""
        evidence: Evidence = connection.get_app_data()
        if not ok:
            if self._needs_no_crl(certificate, code):
                return True
            evidence.code, evidence.depth, evidence.certificate = code, depth, certificate
            return False
        evidence.path[depth] = certificate
        if depth:
            return True
        try:
            self._leaf(evidence)
        except PeerRejected as refusal:
            evidence.refusal = refusal
        except Exception as error:  # what OpenSSL reads and nobody else does is refused
            evidence.refusal = PeerRejected("bad_certificate", f"the certificate cannot be read: {error}")
        return evidence.refusal is None

    def recognise(self, leaf: crypto.X509) -> Known:
        """The peer of a resumed session, of which only the leaf is there; verified again if it is not remembered.

        Raises:
            PeerRejected: it would not be let in by a full handshake today.
        """
        known = self._known.get(_der(leaf)) or self._verify_again(leaf, list(self._intermediates.values()))
        self.still_valid(known)
        return known

    def confirm(self, chain: Sequence[x509.Certificate]) -> Known:
        """Say whether a *chain* that another context verified a moment ago would verify here.

        Raises:
            PeerRejected: it would not.
        """
        path = [crypto.X509.from_cryptography(certificate) for certificate in chain]
        return self._verify_again(path[0], path[1:])

    def still_valid(self, known: Known) -> None:
        """Raise PeerRejected if a proof that was good once has run out."""
        now = self._now()
        if now > known.identity.not_after:
            raise PeerRejected("expired", reasons.hint("expired", not_after=known.identity.not_after, now=now))
        if now > known.valid_until:
            # Whether it was the CRL or a CA is told by the next full handshake.
            raise PeerRejected("expired", "a certificate or a CRL above the peer's certificate has run out")

    def presented(self, connection: SSL.Connection) -> x509.Certificate | None:
        """The leaf that a failed handshake showed, whatever else was wrong with it."""
        evidence: Evidence = connection.get_app_data()
        shown = evidence.path.get(0)
        if shown is None:
            # OpenSSL keeps the chain that it tried to build also when it refused it; its first is the leaf.
            tried = connection.get_verified_chain()
            shown = tried[0] if tried else evidence.certificate
        try:
            return None if shown is None else certificate_of(_der(shown))
        except PeerRejected:
            return None

    def explain(self, evidence: Evidence) -> PeerRejected | None:
        """What this callback refused, as an error with a hint; None if it refused nothing."""
        if evidence.refusal is not None or evidence.code == 0:
            return evidence.refusal
        reason = reasons.reason_of(evidence.code)
        words = _CODE_NAMES.get(evidence.code, f"verification error {evidence.code}")
        hint = self._hint(reason, evidence)
        return PeerRejected(reason, f"{words}: {hint}" if hint else words)

    def _leaf(self, evidence: Evidence) -> None:
        path = [evidence.path[depth] for depth in range(len(evidence.path))]
        leaf, *above = (_der(certificate) for certificate in path)
        known = self._known.get(leaf)
        if known is None or known.above != tuple(above):
            known = self._learn([leaf, *above], path)
        evidence.known = known
        if self._accept is not None:
            self._accept(known, evidence)

    def _learn(self, ders: Sequence[bytes], path: Sequence[crypto.X509]) -> Known:
        chain = tuple(certificate_of(der) for der in ders)
        identity = identity_of(chain[0])
        if self._material.trust and not judge.chain_allowed(self._material, identity, chain):
            domain = identity.trust_domain
            raise PeerRejected("unknown_ca", f"its CA is not one that may vouch for the trust domain {domain}")
        above = tuple(ders[1:])
        known = Known(identity, chain, above, self._runs_out(chain))
        _put(self._known, ders[0], known, MOST_KNOWN)
        for der, certificate in zip(ders[1:-1], path[1:-1], strict=True):
            _put(self._intermediates, der, certificate, MOST_INTERMEDIATES)
        return known

    def _runs_out(self, chain: Sequence[x509.Certificate]) -> float:
        ends = [certificate.not_valid_after_utc.timestamp() for certificate in chain]
        issuers = chain[1:] if self._whole_chain else chain[1:2]
        for subject in {certificate.subject for certificate in issuers}:
            updates = [crl.next_update_utc for crl in self._material.crls or () if crl.issuer == subject]
            ends += [max(one.timestamp() for one in updates if one is not None)] if any(updates) else []
        return min(ends)

    def _verify_again(self, leaf: crypto.X509, above: Sequence[crypto.X509]) -> Known:
        # Purposes are not looked at here: the certificate passed them in the handshake that this one follows.
        again = crypto.X509StoreContext(self._store, leaf, above)
        try:
            path = again.get_verified_chain()
        except crypto.X509StoreContextError as error:
            code = error.errors[0] if error.errors and isinstance(error.errors[0], int) else 0
            reason = reasons.reason_of(code)
            raise PeerRejected(reason, f"the certificate no longer verifies: {error}") from error
        return self._learn([_der(certificate) for certificate in path], path)

    def _needs_no_crl(self, certificate: crypto.X509, code: int) -> bool:
        return reasons.reason_of(code) == "crl_unavailable" and _der(certificate) in self._anchors

    def _hint(self, reason: str, evidence: Evidence) -> str:
        try:
            certificate = None if evidence.certificate is None else certificate_of(_der(evidence.certificate))
            if certificate is None:
                return reasons.hint(reason)
            return reasons.hint(
                reason,
                issuer=certificate.issuer.rfc4514_string(),
                trusted=[one.subject.rfc4514_string() for one in self._material.anchors()],
                not_before=certificate.not_valid_before_utc.timestamp(),
                not_after=certificate.not_valid_after_utc.timestamp(),
                now=self._now(),
            )
        except (PeerRejected, ValueError, TypeError):  # its names or dates cannot be read
            return reasons.hint(reason)


def store_of(material: Material, *, whole_chain: bool) -> crypto.X509Store:
    """A store of its own with the anchors and CRLs of *material*; see `fill` for what it trusts."""
    store = crypto.X509Store()
    fill(store, material, whole_chain=whole_chain)
    return store


def fill(store: crypto.X509Store, material: Material, *, whole_chain: bool) -> None:
    """Put anchors, CRLs and flags into *store*.

    A CA of the bundle is an anchor whether or not it is self-signed, as in Go, HAProxy and every mtlsd file: a bundle
    may name an intermediate and nothing above it (PARTIAL_CHAIN).  X509_STRICT is off: it refuses CAs that older
    tools made without key identifiers, and adds nothing that protects.
    """
    for certificate in material.anchors():
        store.add_cert(crypto.X509.from_cryptography(certificate))
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    if material.crls is not None:
        for crl in material.crls:
            store.add_crl(crl)
        flags |= crypto.X509StoreFlags.CRL_CHECK
        flags |= crypto.X509StoreFlags.CRL_CHECK_ALL if whole_chain else 0
    store.set_flags(flags)


def _put(table: dict[bytes, Value], key: bytes, value: Value, most: int) -> None:
    if key not in table and len(table) >= most:
        del table[next(iter(table))]
    table[key] = value


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
