"""Conditions of a resource: what is true of it, since when, and what to do.

The shape is metav1.Condition's (api-conventions): a transition time changes with the status and with
nothing else, so that "since" keeps its meaning while messages come and go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mtls_tunnel_operator.model.moments import rfc3339

Status = Literal["True", "False", "Unknown"]

LONGEST_MESSAGE = 32768  # metav1.Condition
NEEDED = ("Accepted", "CertificatesReady", "PodsReady")


@dataclass(frozen=True, slots=True)
class Condition:
    """`reason` is one CamelCase word, `message` says what to do."""

    type: str
    status: Status
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to be posted because a condition has changed."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def merge(
    old: Sequence[Mapping[str, Any]], new: Iterable[Condition], generation: int, now: float
) -> list[dict[str, Any]]:
    """The conditions to store: those of *new* in their order, then the old ones that *new* does not speak of.

    The last of two conditions of one type wins.
    """
    before = {item["type"]: item for item in old if isinstance(item.get("type"), str)}
    current = {condition.type: condition for condition in new}
    stored = [_raw(condition, before.get(condition.type, {}), generation, now) for condition in current.values()]
    return stored + [dict(item) for name, item in before.items() if name not in current]


def summary(conditions: Iterable[Condition], needed: Sequence[str] = NEEDED) -> Condition:
    """`Ready`: the first of *needed* that is False, else the first that is Unknown or missing, else True.

    What is not in *needed* (PlaintextBlocked: nobody can know whether the network plugin enforces it;
    RotationInProgress: everything works meanwhile) does not count.
    """
    given = {condition.type: condition for condition in conditions}
    missing = [Condition(name, "Unknown", "Pending", f"{name} has not been looked at yet.") for name in needed]
    judged = [given.get(condition.type, condition) for condition in missing]
    for status in ("False", "Unknown"):
        for condition in judged:
            if condition.status == status:
                return Condition("Ready", condition.status, condition.reason, condition.message)
    return Condition("Ready", "True", "Ready", judged[-1].message if judged else "")


def _raw(condition: Condition, before: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    since = before.get("lastTransitionTime")
    kept = before.get("status") == condition.status and isinstance(since, str) and since
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "lastTransitionTime": since if kept else rfc3339(now),
        "reason": condition.reason,
        "message": condition.message[:LONGEST_MESSAGE],
    }
