"""Is it alive, is it ready, when do its certificates run out: state -> (status, JSON body).

Keys come in the order that mtlsd has, without spaces.  Pure: the clock is passed in.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

DAY_SECONDS = 86_400

Answer = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class CertificateState:
    """One certificate in use.  Times are epoch seconds; `name` is for people (its file, or its subject)."""

    tunnel: str  # "" for the only tunnel of a file
    name: str
    role: Literal["leaf", "ca"]
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the process at one moment.  `reason`: why it is not ready, where that is known already."""

    listening: bool
    draining: bool = False
    reason: str = ""
    certificates: tuple[CertificateState, ...] = ()


def healthz() -> Answer:
    """The process runs; nothing else is judged."""
    return 200, compact({"status": "alive"})


def readyz(snapshot: Snapshot, now: float) -> Answer:
    """Ready while the listeners are bound and every leaf is loaded and within its validity.

    An expired CA beside valid ones is no fault (that is how a rotation ends); all of a tunnel's expired is.
    """
    reason = unready(snapshot, now)
    if reason:
        return 503, compact({"status": "not ready", "reason": reason})
    return 200, compact({"status": "ready"})


def certz(snapshot: Snapshot, now: float) -> Answer:
    """When the leaf that runs out first does so; each tunnel's, if there is more than one tunnel."""
    leaves = [state for state in snapshot.certificates if state.role == "leaf"]
    if not leaves:
        return 503, compact({"status": "not ready", "reason": "no certificate is loaded"})
    first = min(leaf.not_after for leaf in leaves)
    body: dict[str, object] = {"days_left": days_left(first, now), "not_after": rfc3339(first)}
    if len({leaf.tunnel for leaf in leaves}) > 1:
        body["certificates"] = [certificate(leaf, now) for leaf in leaves]
    return 200, compact(body)


def certificate(state: CertificateState, now: float) -> dict[str, object]:
    """One entry of a list of certificates."""
    return {
        "tunnel": state.tunnel,
        "name": state.name,
        "not_after": rfc3339(state.not_after),
        "days_left": days_left(state.not_after, now),
    }


def unready(snapshot: Snapshot, now: float) -> str:
    """Why the process is not ready, in words; empty if it is."""
    if snapshot.draining:
        return "draining"
    if snapshot.reason:
        return snapshot.reason
    if not snapshot.listening:
        return "not listening yet"
    leaves = [state for state in snapshot.certificates if state.role == "leaf"]
    if not leaves:
        return "no certificate is loaded"
    return next(filter(None, (_fault(leaf, now) for leaf in leaves)), "") or _dead_bundle(snapshot.certificates, now)


def _fault(state: CertificateState, now: float) -> str:
    if now > state.not_after:
        return f"{_called(state)} expired at {rfc3339(state.not_after)}"
    if now < state.not_before:
        return f"{_called(state)} is not valid before {rfc3339(state.not_before)}"
    return ""


def _dead_bundle(states: Iterable[CertificateState], now: float) -> str:
    bundles: dict[str, list[CertificateState]] = {}
    for state in states:
        if state.role == "ca":
            bundles.setdefault(state.tunnel, []).append(state)
    for authorities in bundles.values():
        faults = [_fault(state, now) for state in authorities]
        if all(faults):
            return faults[0]
    return ""


def _called(state: CertificateState) -> str:
    kind = "certificate" if state.role == "leaf" else "CA certificate"
    return f"{kind} {state.name} of tunnel {state.tunnel}" if state.tunnel else f"{kind} {state.name}"


def days_left(not_after: float, now: float) -> int:
    """Whole days until *not_after*, rounded down; negative once it has passed."""
    return int((not_after - now) // DAY_SECONDS)


def rfc3339(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def compact(body: object) -> bytes:
    """JSON without spaces, keys in the order given; what does not print is escaped."""
    return json.dumps(body, separators=(",", ":")).encode()
