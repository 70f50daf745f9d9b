"""May a peer that is already connected stay: it, new material and new policy become a list of faults.

What is asked is what a new handshake would ask: does its chain still end at a trusted CA, is it revoked, do
the rules let it in, is it within its dates.  Faults come in the order in which they weigh; what follows from
them (close or log) is `sentence`, from the ACL's own settings.  Nothing is closed here.

Everything that hangs on the chain above the leaf is worked out once for each such chain, so that ten thousand
peers of a few CAs cost little more than their policy decisions.  Not checked again: signatures, purposes and
name constraints, which no reload can change.  Pure; the clock is an argument.

Sources: RFC 5280 §6.1 (an anchor is a name and a key); SPIFFE Trust Domain and Bundle §4 (one bundle per domain).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from mtls_tunnel.config.schema import Acl
from mtls_tunnel.trust.chain import Authorities, Authority, issued
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.policy import Policy
from mtls_tunnel.trust.reasons import reason_of
from mtls_tunnel.trust.revocation import Revocation

FaultReason = Literal["revoked", "denied", "ca_removed", "expired"]
Action = Literal["close", "log"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A live peer, as its handshake left it: who it is and the chain that was verified, leaf first, anchor last.

    Neither is there for a peer without a certificate (`client_auth` optional or none).  Of a resumed session only
    the leaf may be known: then a CA that signed it directly is looked for.  An empty chain is one that nothing
    vouches for.
    """

    identity: Identity | None
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that would refuse the peer today.  `rule` names the key of the ACL for ``denied``."""

    reason: FaultReason
    rule: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is to happen to a live connection, for which of its faults."""

    action: Action
    fault: Fault


def anchors_for(material: Material, identity: Identity | None) -> tuple[x509.Certificate, ...]:
    """Return the CAs that may vouch for *identity*: those of its SPIFFE trust domain if listed, else tls.ca."""
    domain = None if identity is None else identity.trust_domain
    return next((anchors for name, anchors in material.trust if name == domain), material.bundle)


def anchor_allowed(material: Material, identity: Identity | None, anchor: x509.Certificate) -> bool:
    """Say whether *anchor*, the last of a verified chain, may vouch for *identity*.

    An anchor that was issued again with the same name and key is the same authority.  For the verify callback,
    after the chain itself was found good; a name without an entry in ``tls.trust`` needs a CA of tls.ca.
    """
    allowed = anchors_for(material, identity)
    return anchor in allowed or Authority.of(anchor).key in {Authority.of(one).key for one in allowed}


def chain_allowed(material: Material, identity: Identity | None, chain: Sequence[x509.Certificate]) -> bool:
    """As `anchor_allowed`, where the authority may also stand further down the verified *chain*, leaf first.

    This is the one to use with tls.trust: where a domain's CA is itself signed by a root that is trusted for
    others, the chain that OpenSSL found may lead on to that root.
    """
    return any(anchor_allowed(material, identity, one) for one in _vouching(chain))


def needs_no_crl(material: Material, certificate: x509.Certificate, code: int) -> bool:
    """Say whether a verify callback may overlook *code* because *certificate* is an anchor.

    OpenSSL's CRL_CHECK_ALL asks for a CRL of the anchor too.  For a root that is its own; for an intermediate that
    is trusted as an anchor its issuer is not in the chain, and every peer below it would be refused.  Not
    overlooked if a CRL of that issuer lists it.
    """
    if reason_of(code) != "crl_unavailable" or certificate not in material.anchors():
        return False
    lists = (crl for crl in material.crls or () if crl.issuer == certificate.issuer)
    return all(crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None for crl in lists)


class Judge:
    """Judges live peers by one `Material` and one `Policy`; make a new one for each reload.

    Without a policy (the outbound leg of a bridge) nobody is denied.
    """

    def __init__(
        self, material: Material, policy: Policy | None, *, crl_check: Literal["leaf", "chain"] = "leaf"
    ) -> None:
        self._policy = policy
        self._known = Authorities()
        self._revocation = (
            None if material.crls is None else Revocation(material.crls, whole_chain=crl_check == "chain")
        )
        self._anchors: dict[str | None, tuple[Authority, ...]] = {
            domain: tuple(self._known.of(one) for one in anchors) for domain, anchors in material.trust
        }
        self._anchors[None] = tuple(self._known.of(one) for one in material.bundle)
        self._paths: dict[tuple[str | None, tuple[Authority, ...]], _Path | None] = {}

    def warm(self) -> None:
        """Index the CRLs of the trusted CAs now; with large ones, in a thread before the first peer is judged."""
        if self._revocation is not None:
            for anchor in {one for anchors in self._anchors.values() for one in anchors}:
                self._revocation.index(anchor)

    def judge(self, peer: Peer, now: float) -> Fault | None:
        """Return what weighs most against *peer*, or None if a handshake would let it in.  See `faults`."""
        return next(iter(self.faults(peer, now)), None)

    def faults(self, peer: Peer, now: float) -> tuple[Fault, ...]:
        """Return all that speaks against *peer*: revoked, denied, ca_removed, expired, in this order.

        A missing or outdated CRL counts as revoked, as a handshake fails closed; not so where the CA itself has
        gone, since its CRL goes with it.
        """
        identity, chain = peer.identity, peer.chain
        denied = self._denied(identity)
        if identity is None:
            return denied
        path = self._path(identity, chain)
        found = [*self._revoked(chain, path, now), *denied]
        if not path.trusted:
            found.append(Fault("ca_removed", detail="its CA is no longer trusted"))
        if now > identity.not_after:
            found.append(Fault("expired", detail="its certificate has expired"))
        elif now > path.until:
            found.append(Fault("expired", detail="a CA certificate above it has expired"))
        return tuple(found)

    def _denied(self, identity: Identity | None) -> tuple[Fault, ...]:
        if self._policy is None:
            return ()
        decision = self._policy.decide(identity)
        return () if decision.allowed else (Fault("denied", decision.rule, "the ACL no longer lets it in"),)

    def _revoked(self, chain: Sequence[x509.Certificate], path: "_Path", now: float) -> tuple[Fault, ...]:
        if self._revocation is None or not path.above or chain[0] == path.above[0].certificate:
            return ()
        status = self._revocation.status(chain[0], path.above, now, anchor=path.anchor)
        if status == "revoked":
            return (Fault("revoked", detail="its CA has revoked it"),)
        if status == "crl_unavailable" and path.trusted:
            return (Fault("revoked", detail="no CRL that is valid now covers it"),)
        return ()

    def _path(self, identity: Identity, chain: Sequence[x509.Certificate]) -> "_Path":
        domain = identity.trust_domain if identity.trust_domain in self._anchors else None
        anchors = self._anchors[domain]
        above = tuple(self._known.of(one) for one in chain[1:]) or _issuer(chain, anchors, self._known)
        found = self._paths.get((domain, above))
        if found is None:
            # The one that holds longest, and of equals the shortest.
            found = max(_paths(above, anchors), key=lambda path: path.until, default=_Path(above))
            self._paths[domain, above] = found
        return found


@dataclass(frozen=True, slots=True)
class _Path:
    """A way from a leaf up to an authority that is trusted now: `above[anchor]`; without one, it is not trusted."""

    above: tuple[Authority, ...]
    anchor: int | None = None
    until: float = float("inf")  # when the first of its CAs expires

    @property
    def trusted(self) -> bool:
        return self.anchor is not None


def _issuer(
    chain: Sequence[x509.Certificate], anchors: Sequence[Authority], known: Authorities
) -> tuple[Authority, ...]:
    """What stands above a lone leaf: the anchor that signed it, else itself, which may be an anchor of its own."""
    if not chain:
        return ()
    return next(((one,) for one in anchors if issued(one.certificate, chain[0])), (known.of(chain[0]),))


def _paths(above: tuple[Authority, ...], anchors: Sequence[Authority]) -> Iterator[_Path]:
    end = float("inf")
    for place, authority in enumerate(above):
        for anchor in anchors:
            if anchor.key == authority.key:
                yield _Path(above, place, min(end, anchor.not_after))
        end = min(end, authority.not_after)
        for anchor in anchors:
            if issued(anchor.certificate, authority.certificate):
                yield _Path((*above[: place + 1], anchor), place + 1, min(end, anchor.not_after))


def sentence(faults: Sequence[Fault], acl: Acl) -> Sentence | None:
    """Turn *faults* into what the ACL says about them; None if the connection is to be left alone unmentioned.

    A fault that closes outweighs one that is only logged, whatever their order.
    """
    verdicts = [Sentence(action, fault) for fault in faults if (action := _action(fault, acl)) is not None]
    return next((verdict for verdict in verdicts if verdict.action == "close"), verdicts[0] if verdicts else None)


def _action(fault: Fault, acl: Acl) -> Action | None:
    if fault.reason == "expired":
        return acl.on_expiry
    if acl.reauthorize == "off":
        return None
    if acl.reauthorize == "log":
        return "log"
    return acl.on_ca_removed if fault.reason == "ca_removed" else "close"


def _vouching(chain: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """The certificates that may vouch for the leaf: those above it, or itself where it was trusted directly."""
    return chain[1:] or chain
