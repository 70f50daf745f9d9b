"""What the managed Secrets of a trust domain hold, and since when: the facts on which a rotation waits.

When a Secret was written is not asked of the Secret: this process notes when it first saw a content there, which is
never before that, and starts from its own beginning after a restart.  So a wait may last longer than it must, and
never shorter.  A Secret that is made while we look, under a name not seen before, counts as held since ever: no pod
can have read anything older from it, and new tunnels cannot hold up a rotation for ever.  No I/O.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority.rotation import Holder, Holders
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.pods import Space

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    uid: str
    owner: str  # UID of the tunnel
    issuer: str
    bundle: str
    bundle_since: float
    issuer_since: float
    gone: float = 0.0  # when it was missed first; 0.0 while it is there


class Sightings:
    """One for the process.  It begins to look when it is first asked: a standby has seen nothing before."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._seen: dict[str, dict[Ref, _Seen]] = {}  # by domain

    def look(
        self,
        domain: str,
        objects: Iterable[tuple[Ref, Raw]],
        spaces: Mapping[str, Space],
        owners: Collection[str],
        now: float,
        propagation_seconds: float,
    ) -> Holders:
        """What is held now; *owners* are the UIDs of the tunnels that exist.

        Secrets of namespaces that are being deleted do not count.  One that is gone while its tunnel is not counts
        as vanished until it is back, for twice *propagation_seconds* at most: the tunnel may not want it any more.
        """
        leaves = {ref: raw for ref, raw in objects if is_held(ref, raw, domain, spaces)}
        # Where the clock was set back, what it said before is later than now.
        started = self._started = now if self._started is None else min(self._started, now)
        before = self._seen.get(domain, {})
        settled = now > started + propagation_seconds
        current = {ref: _sight(raw, before.get(ref), now, settled) for ref, raw in leaves.items()}
        for ref, seen in before.items():
            if ref in leaves or seen.owner not in owners or _leaving(spaces.get(ref.namespace)):
                continue
            gone = min(seen.gone or now, now)
            if now < gone + 2 * propagation_seconds:
                current[ref] = replace(seen, gone=gone)
        self._seen[domain] = current
        return Holders(
            tuple(
                Holder(_name(ref), seen.issuer, seen.bundle, seen.bundle_since, seen.issuer_since)
                for ref, seen in current.items()
                if not seen.gone
            ),
            tuple(_name(ref) for ref, seen in current.items() if seen.gone),
            started,
        )

    def forget(self, domain: str) -> None:
        """The domain is gone."""
        self._seen.pop(domain, None)


def is_held(ref: Ref, raw: Raw, domain: str, spaces: Mapping[str, Space]) -> bool:
    """Whether an object is a leaf's Secret of *domain* that counts: not in a namespace that is being deleted."""
    return ref.plural == "secrets" and domain_of(raw) == domain and not _leaving(spaces.get(ref.namespace))


def domain_of(raw: Raw) -> str:
    """The trust domain whose leaf a managed Secret holds, "" if it holds none; a CA's own Secret holds none."""
    metadata = raw.get("metadata") or {}
    if names.CA_LABEL in (metadata.get("labels") or {}):
        return ""
    return str((metadata.get("annotations") or {}).get(names.DOMAIN_ANNOTATION, ""))


def _sight(raw: Raw, before: _Seen | None, now: float, settled: bool) -> _Seen:
    metadata = raw["metadata"]
    annotations = metadata.get("annotations") or {}
    uid = metadata.get("uid", "")
    issuer, bundle = annotations.get(names.ISSUER_ANNOTATION, ""), annotations.get(names.BUNDLE_ANNOTATION, "")
    since = 0.0 if before is None and settled else now
    same = before if before is not None and before.uid == uid and not before.gone else None
    return _Seen(
        uid=uid,
        owner=_owner(metadata),
        issuer=issuer,
        bundle=bundle,
        bundle_since=min(same.bundle_since, now) if same is not None and same.bundle == bundle else since,
        issuer_since=min(same.issuer_since, now) if same is not None and same.issuer == issuer else since,
    )


def _owner(metadata: Raw) -> str:
    labelled = (metadata.get("labels") or {}).get(names.OWNER_LABEL, "")
    references = metadata.get("ownerReferences") or []
    return labelled or next((str(one.get("uid", "")) for one in references), "")


def _leaving(space: Space | None) -> bool:
    return space is not None and space.terminating


def _name(ref: Ref) -> str:
    return f"{ref.namespace}/{ref.name}"
