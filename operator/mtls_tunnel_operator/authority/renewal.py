"""When a leaf is due: what it says, what is asked for and who signs become a time and a word.

Never after notAfter - renewBefore, up to 10 % earlier by a hash, so that leaves made together are not renewed
together and a restart does not reshuffle them.  During Issuing the leaves of the old CA come due evenly over
issuingSeconds; a leaf that no pod can verify, or that says what is no longer asked for, is due now.  So is one that is
not valid yet: a clock that was ahead made it.

`renewBefore` where nobody says: a third of the lifetime, and at least the time that a changed Secret needs to reach
the pods, short of a whole lifetime less a minute.
"""

import hashlib

from mtls_tunnel_operator.authority.leaf import LeafFacts, Names, Usage, is_early, wanted_kind
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.model.resources import Certificate

JITTER = 0.1
FIRST_BACKOFF_SECONDS = 60
LONGEST_BACKOFF_SECONDS = 3600
_ROUNDING_SECONDS = 2  # X.509 knows whole seconds, and notBefore and notAfter are cut apart


def renew_at(
    facts: LeafFacts,
    certificate: Certificate,
    signer: Signer,
    uid_seed: str,
    now: float,
    *,
    names: Names | None = None,
    usage: Usage | None = None,
) -> tuple[float, str]:
    """When the leaf is due and why; a time that is not after *now* means at once.

    *names* and *usage* are what the leaf ought to say, where the caller wants them compared.  The words: Due,
    Expired, NotYetValid, Rotating, IssuerRemoved, IssuerCompromised, NamesChanged, SpecChanged, IssuerExpires.
    """
    if facts.issuer_fingerprint not in signer.fingerprints:
        return now, "IssuerCompromised" if facts.issuer_fingerprint in signer.retired else "IssuerRemoved"
    if (names is not None and _names(facts.names) != _names(names)) or (usage is not None and usage != facts.usage):
        return now, "NamesChanged"
    if facts.not_after <= now:
        return now, "Expired"
    if is_early(facts.not_before, now):
        return now, "NotYetValid"
    due = _due(facts, certificate, signer, uid_seed)
    if facts.issuer_fingerprint != signer.pair.fingerprint:
        rotating = _rotating(signer, uid_seed, now)
        return (rotating, "Rotating") if rotating <= due else (due, "Due")
    if _kind(facts) != wanted_kind(certificate.private_key) or _other_lifetime(facts, certificate, signer):
        return now, "SpecChanged"
    if facts.not_after >= signer.pair.not_after - _ROUNDING_SECONDS:
        # A leaf made now would end at the same second: nothing is won before the CA has been replaced.
        return facts.not_after, "IssuerExpires"
    return due, "Due"


def renew_before(lifetime: float, certificate: Certificate, signer: Signer) -> float:
    """How long before its end a leaf of *lifetime* seconds is replaced at the latest."""
    longest = max(lifetime - 60, 0.0)
    if certificate.renew_before_seconds is not None:
        return min(float(certificate.renew_before_seconds), longest)
    return max(lifetime / 3, min(float(signer.propagation_seconds), longest))


def too_late(certificate: Certificate, signer: Signer) -> bool:
    """Whether a renewed leaf may reach the pods only after the old one has ended (condition RenewalTooLate)."""
    lifetime = float(min(certificate.duration_seconds, signer.max_leaf_seconds))
    return renew_before(lifetime, certificate, signer) < signer.propagation_seconds


def backoff(failures: int) -> int:
    """Seconds to wait after the *failures*-th failed renewal in a row: a minute, doubled up to an hour."""
    return int(min(FIRST_BACKOFF_SECONDS * 2 ** min(max(failures - 1, 0), 16), LONGEST_BACKOFF_SECONDS))


def share(seed: str) -> float:
    """A number from 0 up to 1 that belongs to *seed* for ever."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") / 2**64


def _due(facts: LeafFacts, certificate: Certificate, signer: Signer, seed: str) -> float:
    before = renew_before(facts.lifetime, certificate, signer)
    jitter = JITTER * share(seed) * max(facts.lifetime - before, 0.0)
    return facts.not_after - before - jitter


def _rotating(signer: Signer, seed: str, now: float) -> float:
    """When a leaf of another CA than the current one is replaced."""
    if signer.phase == "Issuing" and not signer.emergency:
        # Another seed than that of the jitter: else those renewed first would also always rotate first.
        return signer.phase_since + share(f"rotate/{seed}") * signer.issuing_seconds
    # In Stable and Retiring nobody should hold such a leaf any more.  In Distributing it is one that the next CA
    # signed before a rotation began anew: the same holds.
    return now


def _other_lifetime(facts: LeafFacts, certificate: Certificate, signer: Signer) -> bool:
    wanted = min(certificate.duration_seconds, signer.max_leaf_seconds)
    expected = min(facts.issued + wanted, signer.pair.not_after)
    return abs(facts.not_after - expected) > _ROUNDING_SECONDS


def _names(names: Names) -> tuple[str, tuple[str, ...]]:
    return names.uri, tuple(sorted(names.dns))


def _kind(facts: LeafFacts) -> tuple[str, int]:
    return facts.algorithm, facts.size_bits
