"""Whose leaf a Secret really holds: the signature on its certificate says so, and no annotation.

Whoever may write Secrets in any namespace may write our label and annotations too; what they cannot write is a leaf
of a CA whose key they have not.  Each certificate is verified once and remembered by its text, which the view keeps
once for all that is equal: a look at thousands of Secrets compares pointers.  No I/O.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography import x509

from mtls_tunnel.trust import chain, decode, pki
from mtls_tunnel.trust.decode import File, Unusable
from mtls_tunnel_operator.authority import state
from mtls_tunnel_operator.model.kinds import Ref

Raw = Mapping[str, Any]
Authorities = Mapping[str, x509.Certificate]  # by fingerprint


class Proof(NamedTuple):
    """`issuer` is the fingerprint of the CA whose signature was found, "" for none; `not_after` 0.0: unreadable."""

    issuer: str = ""
    not_after: float = 0.0

    def lives(self, now: float) -> bool:
        """Whether some pod may still take it for valid: clocks differ."""
        return now <= self.not_after + pki.SKEW_SECONDS


@dataclass(frozen=True, slots=True)
class _Known:
    text: str
    proof: Proof
    tried: tuple[str, ...]  # the CAs that it was compared with


class Proofs:
    """What was verified, by domain and Secret.  What a CA once proved stays proved when that CA is gone."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Ref, _Known]] = {}

    def of(self, domain: str, ref: Ref, raw: Raw, authorities: Authorities) -> Proof:
        """The issuer and the end of the leaf in a Secret."""
        known = self._found(domain, ref, raw, authorities)
        if known is None:
            text = _text(raw)
            proof = prove(leaf_of(raw), authorities)
            known = _Known(text, proof, tuple(authorities))
            self._known.setdefault(domain, {})[ref] = known
        return known.proof

    def has(self, domain: str, ref: Ref, raw: Raw, authorities: Authorities) -> bool:
        """Whether `of` answers without any work."""
        return self._found(domain, ref, raw, authorities) is not None

    def retain(self, domain: str, refs: Collection[Ref]) -> None:
        """Forget all other Secrets of the domain."""
        known = self._known.get(domain, {})
        for ref in [one for one in known if one not in refs]:
            del known[ref]

    def forget(self, domain: str) -> None:
        """The domain is gone."""
        self._known.pop(domain, None)

    def _found(self, domain: str, ref: Ref, raw: Raw, authorities: Authorities) -> _Known | None:
        known = self._known.get(domain, {}).get(ref)
        if known is None or known.text != _text(raw):
            return None
        # What was of no CA, and can be read, may be of one that was not known then.
        settled = known.proof.issuer or not known.proof.not_after or set(authorities) <= set(known.tried)
        return known if settled else None


def prove(leaf: x509.Certificate | None, authorities: Authorities) -> Proof:
    """Which of *authorities* signed *leaf*."""
    if leaf is None:
        return Proof()
    issuer = next((mark for mark, one in authorities.items() if chain.issued(one, leaf)), "")
    return Proof(sys.intern(issuer), leaf.not_valid_after_utc.timestamp())


def leaf_of(raw: Raw) -> x509.Certificate | None:
    """The first certificate of tls.crt; None if it does not parse, whatever else is there."""
    try:
        found: Sequence[x509.Certificate] = decode.certificates("tls.crt", File("tls.crt", state.entry(raw, "tls.crt")))
    except Unusable:
        return None
    return found[0]


def _text(raw: Raw) -> str:
    return str((raw.get("data") or {}).get("tls.crt") or "")
