"""One look at a trust domain becomes its status as the CRD declares it, and the events that its changes deserve.

Every exit of a look ends here: what stands in the way has a condition with a remedy.  A status that says what is
already stored is equal to it, so that a steady state writes nothing.  PURE.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.rotation import Finding
from mtls_tunnel_operator.authority.signer import Refusal
from mtls_tunnel_operator.authority.state import State
from mtls_tunnel_operator.control.domains.sources import Bundles
from mtls_tunnel_operator.model.conditions import Condition, Notice, merge, summary
from mtls_tunnel_operator.model.moments import rfc3339
from mtls_tunnel_operator.model.resources import TrustDomain

NEEDED = ("CAReady", "BundlesReady")
MOST_FINGERPRINTS = 10  # of the CRD
SHOWN = 10  # names in a message

_DOING = {
    "Distributing": "CA {next} is being made known to all pods; CA {current} signs until they have it.",
    "Issuing": "CA {current} signs and replaces the certificates of the old CA.",
    "Retiring": "No certificate of the old CA is in use; it leaves the bundles when every pod has read its new one.",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was found.  `refusal`: why nothing is signed; `fault`: what is wrong with the place of the CA.

    `unverified` are Secrets whose leaf nobody accepts any more.
    """

    state: State
    findings: tuple[Finding, ...] = ()
    refusal: Refusal | None = None
    fault: Refusal | None = None
    bundle_faults: tuple[Refusal, ...] = ()
    federated: Bundles = ()
    unverified: tuple[str, ...] = ()
    wait_until: float | None = None


def status_of(domain: TrustDomain, look: Look, now: float) -> dict[str, Any]:
    """The whole status."""
    judged = (_ca_ready(look), _bundles_ready(look), _rotation(look))
    ready = summary(judged, NEEDED)
    if ready.status == "True":
        ready = replace(ready, message=judged[0].message)
    status: dict[str, Any] = {
        "observedGeneration": domain.generation,
        "conditions": merge(_stored(domain.status), (ready, *judged), domain.generation, now),
    }
    current = look.state.current
    if current is not None:
        progress = current.progress
        federated = [ca.fingerprint(one) for _, bundle in look.federated for one in bundle]
        known = dict.fromkeys((*look.state.fingerprints, *federated))
        status["caFingerprints"] = list(known)[:MOST_FINGERPRINTS]
        status["notAfter"] = rfc3339(current.pair.not_after)
        status["rotation"] = {
            "phase": progress.phase,
            "observedRequest": progress.request,
            "since": rfc3339(progress.since),
        }
    return status


def broken(status: Mapping[str, Any], reason: str, message: str, generation: int, now: float) -> dict[str, Any]:
    """The status of a resource that cannot be read: the last good one goes on signing."""
    condition = Condition("Ready", "False", reason, message)
    return {
        **status,
        "observedGeneration": generation,
        "conditions": merge(_stored(status), (condition,), generation, now),
    }


def notices(old: Mapping[str, Any], new: Mapping[str, Any], orphans: tuple[str, ...] = ()) -> tuple[Notice, ...]:
    """Events for what has changed between two statuses; *orphans* have a leaf of a CA that none of them names."""
    before = {one.get("type"): one for one in _stored(old)}
    said: list[Notice] = []
    for one in new["conditions"]:
        was = before.get(one["type"], {})
        changed = (was.get("status"), was.get("reason")) != (one["status"], one["reason"])
        news = bool(was) or one["status"] == "False"  # a first "all is well" is none
        if one["type"] in NEEDED and changed and news:
            fine = one["status"] == "True" and one["reason"] in ("Available", "Loaded", "NoneFederated")
            said.append(Notice("Normal" if fine else "Warning", one["reason"], one["message"]))
        if one["type"] == "RotationInProgress" and changed and (was or one["status"] == "True"):
            urgent = one["reason"] in ("Emergency", "NewCANeeded")
            reason = one["reason"] if urgent else f"Rotation{one['reason']}"
            said.append(Notice("Warning" if urgent else "Normal", reason, one["message"]))
    if _lost(old, new):
        text = "Nothing is left of the CA before: a new one was made, and pods refuse each other until they have it."
        said.append(Notice("Warning", "CALost", text))
    elif orphans and not old.get("caFingerprints"):
        text = (
            "A new CA was made although certificates of another are in use, which no status names and nobody vouches"
            f" for: {_shown(orphans)}. Pods refuse each other until they have the new one."
        )
        said.append(Notice("Warning", "CALost", text))
    return tuple(said)


def own_fingerprints(status: Mapping[str, Any], federated: Bundles) -> tuple[str, ...]:
    """The CAs of the domain itself that its status names, the one that signs first.

    Federated ones stand behind them: a rotation has two of its own, unless one of them has left at once.
    """
    others = {ca.fingerprint(one) for _, bundle in federated for one in bundle}
    named = [one for one in status.get("caFingerprints") or [] if isinstance(one, str)]
    rotation = next((one for one in _stored(status) if one.get("type") == "RotationInProgress"), {})
    under_way = rotation.get("status") == "True" and rotation.get("reason") != "Emergency"
    return tuple(one for one in named[: 2 if under_way else 1] if one not in others)


def _lost(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the CA is another one and there was no rotation."""
    before, now = old.get("caFingerprints") or [], new.get("caFingerprints") or []
    calm = all((one.get("rotation") or {}).get("phase") == "Stable" for one in (old, new))
    return calm and bool(before and now) and before[0] not in now


def _ca_ready(look: Look) -> Condition:
    current = look.state.current
    if current is None:
        fault = look.refusal or look.fault or Refusal("Pending", "The CA is being made.")
        return Condition("CAReady", "False", *fault)
    if look.refusal is not None:
        also = f" {look.fault.message}" if look.fault not in (None, look.refusal) else ""
        return Condition("CAReady", "False", look.refusal.reason, look.refusal.message + also)
    until = rfc3339(current.pair.not_after)
    expiring = next((one for one in look.findings if one.reason == "CAExpiring"), None)
    if expiring is not None:
        return Condition("CAReady", "True", expiring.reason, f"{expiring.message} It ends at {until}.")
    if look.fault is not None:
        return Condition("CAReady", "True", "LastGoodCA", f"The last good CA signs until {until}. {look.fault.message}")
    return Condition("CAReady", "True", "Available", f"CA {current.fingerprint[:16]} signs; it ends at {until}.")


def _bundles_ready(look: Look) -> Condition:
    if look.bundle_faults:
        text = " ".join(fault.message.rstrip(".") + "." for fault in look.bundle_faults)
        return Condition("BundlesReady", "False", look.bundle_faults[0].reason, f"{text} The last good state stays.")
    if not look.federated:
        return Condition("BundlesReady", "True", "NoneFederated", "No other trust domain is trusted.")
    domains = ", ".join(name for name, _ in look.federated)
    return Condition("BundlesReady", "True", "Loaded", f"Trusted besides this domain: {domains}.")


def _rotation(look: Look) -> Condition:
    current = look.state.current
    phase = look.state.progress.phase
    waiting = " ".join(one.message for one in look.findings if one.reason in ("RotationWaiting", "NewCANeeded"))
    if current is None or phase == "Stable":
        needed = any(one.reason == "NewCANeeded" for one in look.findings)
        text = waiting or "No rotation: annotation mtlstunnel.dev/rotate with a new value starts one."
        return Condition("RotationInProgress", "False", "NewCANeeded" if needed else "Stable", text)
    following = look.state.next
    doing = _DOING[phase].format(current=current.fingerprint[:16], next=following.fingerprint[:16] if following else "")
    if current.progress.emergency:
        return Condition("RotationInProgress", "True", "Emergency", f"{_emergency(look)} {doing}")
    until = f" Not before {rfc3339(look.wait_until)}." if look.wait_until is not None and not waiting else ""
    return Condition("RotationInProgress", "True", phase, f"{doing}{until} {waiting}".strip())


def _emergency(look: Look) -> str:
    removed = "A CA was removed from all bundles at once, and connections under it are cut"
    if not look.unverified:
        return f"{removed}; every certificate of it has been replaced."
    return (
        f"{removed}. Pods lose their connections until they have read their new"
        f" certificate: those with the Secrets {_shown(look.unverified)}."
    )


def _shown(secrets: tuple[str, ...]) -> str:
    return ", ".join(sorted(secrets)[:SHOWN]) + (", ..." if len(secrets) > SHOWN else "")


def _stored(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(status.get("conditions") or [])
