"""A picture of a tunnel becomes its status as the CRD declares it, and the events that its changes deserve.

Counts only, no names of pods: a status is read and stored as one.  `status_of` of an unchanged picture is
equal to what is stored, so that a steady state writes nothing.  PURE.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mtls_tunnel_operator.control.pods.census import Side
from mtls_tunnel_operator.control.telling.picture import Held, Picture
from mtls_tunnel_operator.control.telling.verdicts import conditions
from mtls_tunnel_operator.model.conditions import Condition, Notice, merge, summary
from mtls_tunnel_operator.model.moments import rfc3339

LONGEST_EVENT = 1024  # core/v1


def status_of(picture: Picture, now: float) -> dict[str, Any]:
    """The whole status of the tunnel in *picture*."""
    tunnel, census = picture.tunnel, picture.census
    judged = conditions(picture, now)
    status: dict[str, Any] = {
        "observedGeneration": tunnel.generation,
        "conditions": merge(_stored(tunnel.status), (ready(judged), *judged), tunnel.generation, now),
        "trustBundle": _bundle(picture),
    }
    # An empty list that is applied may or may not be stored: then it would be written again and again.
    if certificates := _certificates(picture):
        status["certificates"] = certificates
    if census.clients:
        status["clientsSummary"] = _summary(*census.clients)
        status["clients"] = [
            {"name": side.name, **_counts(side), "refusedNamespaces": len(picture.refused.get(side.name, ()))}
            for side in census.clients
        ]
    if picture.revision:
        status["revision"] = picture.revision
    if census.server is not None:
        status["server"] = {**_counts(census.server), "summary": _summary(census.server)}
        if tunnel.service_name:
            status["server"]["serviceName"] = tunnel.service_name
    renewals = [held.renew_at for held in picture.held if held.renew_at]
    if renewals:
        status["nextRenewalTime"] = rfc3339(min(renewals))
    return status


def broken(status: Mapping[str, Any], reason: str, message: str, generation: int, now: float) -> dict[str, Any]:
    """The status of a resource that cannot be read: the conditions say so, everything else stays as it was."""
    refused = Condition("Accepted", "False", reason, message)
    return {
        **_kept(status),
        "observedGeneration": generation,
        "conditions": merge(_stored(status), (ready((refused,)), refused), generation, now),
    }


def failed(status: Mapping[str, Any], reason: str, message: str, generation: int, now: float) -> dict[str, Any]:
    """The status after a look that did not come to its end: Accepted is Unknown, everything else stays."""
    unknown = Condition("Accepted", "Unknown", reason, message)
    others = [_condition(item) for item in _stored(status) if item.get("type") not in ("Ready", "Accepted")]
    return {
        **_kept(status),
        "observedGeneration": generation,
        "conditions": merge(_stored(status), (ready((unknown, *others)), unknown), generation, now),
    }


def ready(judged: Sequence[Condition]) -> Condition:
    """The summary; a suspended resource says so even where all is well."""
    found = summary(judged)
    suspended = next((one for one in judged if one.reason == "Suspended"), None)
    if found.status == "True" and suspended is not None:
        return Condition("Ready", "True", suspended.reason, suspended.message)
    return found


def notices(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Notice]:
    """An event for each condition whose status or reason has changed; a first good look is one event, `Ready`'s.

    Ready itself only sums up, so that it is posted when it turns True and not otherwise.
    """
    before = {item.get("type"): (item.get("status"), item.get("reason")) for item in _stored(old)}
    found = []
    for item in new.get("conditions", ()):
        name, now = item["type"], (item["status"], item["reason"])
        if before.get(name) == now or (name == "Ready" and item["status"] != "True"):
            continue
        if name not in before and not _is_bad(item) and name != "Ready":
            continue
        if item["status"] == "Unknown" and item["reason"] in ("NoPodsSelected", "NotAccepted", "Unverified"):
            continue
        kind: Literal["Normal", "Warning"] = "Warning" if _is_bad(item) else "Normal"
        found.append(Notice(kind, item["reason"], f"{name}: {item['message']}"[:LONGEST_EVENT]))
    return found


# Bad whatever the status: it works for now, or nobody knows.
_BAD_REASONS = (
    *("RenewalFailing", "RenewalTooLate", "ForeignPolicy"),
    *("ApiUnavailable", "InternalError", "WriteRefused"),
)
_INFORMS = ("PlaintextBlocked", "RotationInProgress")  # False is no fault there


def _is_bad(item: Mapping[str, Any]) -> bool:
    if item["reason"] in _BAD_REASONS:
        return True
    return item["type"] not in _INFORMS and item["status"] == "False" and item["reason"] != "Pending"


def _stored(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = status.get("conditions")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, Sequence) else []


def _condition(item: Mapping[str, Any]) -> Condition:
    return Condition(item["type"], item["status"], item.get("reason", ""), item.get("message", ""))


def _kept(status: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in status.items() if key not in ("conditions", "observedGeneration")}


def _counts(side: Side) -> dict[str, int]:
    return {"selectedPods": side.selected, "injectedPods": side.injected, "updatedPods": side.updated}


def _summary(*sides: Side) -> str:
    return f"{sum(side.updated for side in sides)}/{sum(side.selected for side in sides)}"


def _certificates(picture: Picture) -> list[dict[str, Any]]:
    """One entry for each role and account: of a client's copies the one that expires first speaks for all."""
    found: dict[tuple[str, str], Held] = {}
    for held in sorted(picture.held, key=lambda one: (one.not_after, one.namespace)):
        found.setdefault((held.role, held.account), held)
    order = {side.name: number for number, side in enumerate(picture.census.sides)}
    return [_certificate(found[key]) for key in sorted(found, key=lambda key: (order.get(key[0], len(order)), key[1]))]


def _certificate(held: Held) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": held.role, "serviceAccount": held.account, "secretName": held.secret}
    if held.not_after:
        entry |= {
            "serialNumber": held.serial,
            "notBefore": rfc3339(held.not_before),
            "notAfter": rfc3339(held.not_after),
        }
    if held.renew_at:
        entry["renewalTime"] = rfc3339(held.renew_at)
    return entry


def _bundle(picture: Picture) -> dict[str, Any]:
    rotating = picture.rotating
    fingerprints = list(rotating.fingerprints[:10])
    return {**({"caFingerprints": fingerprints} if fingerprints else {}), "rotation": rotating.phase}
