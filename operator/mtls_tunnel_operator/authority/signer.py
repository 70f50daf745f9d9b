"""Who signs the leaves of a tunnel, and what its pods trust: one frozen value for each signer and moment.

A Signer is read late: whoever makes a leaf asks for it then, since a rotation replaces it.  It holds a private
key: it is never logged and its repr shows fingerprints only.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cryptography import x509

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.ca import Pair

Phase = Literal["Stable", "Distributing", "Issuing", "Retiring"]


class Refusal(NamedTuple):
    """Why nothing may be signed at the moment; what was signed before goes on being verified."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Signer:
    """`pair` signs now and is the first of `bundle`; `federated` are the bundles of other trust domains.

    `retired` are the fingerprints of CAs whose leaves must be replaced: over `issuing_seconds` from
    `phase_since` on, at once with `emergency` or when the CA is not in the bundle any more.
    """

    name: str  # the MtlsTrustDomain's, or a reference as text
    trust_domain: str
    pair: Pair = field(repr=False)
    bundle: tuple[x509.Certificate, ...]
    federated: tuple[tuple[str, tuple[x509.Certificate, ...]], ...] = ()
    phase: Phase = "Stable"
    phase_since: float = 0.0
    issuing_seconds: int = 3600
    propagation_seconds: int = 180
    max_leaf_seconds: int = 2592000
    emergency: bool = False
    retired: frozenset[str] = frozenset()
    refusal: Refusal | None = None

    @property
    def bundle_pem(self) -> bytes:
        """What stands in ca.crt."""
        return ca.pem_of(self.bundle)

    @property
    def bundle_fingerprint(self) -> str:
        """What stands in the annotation beside it; federated bundles live elsewhere and do not count."""
        return ca.bundle_fingerprint(self.bundle)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The CAs of the bundle, the one that signs first."""
        return tuple(ca.fingerprint(one) for one in self.bundle)
