"""Whose an object is, and what to say when it may not, or cannot, be written.  PURE."""

from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names as words
from mtls_tunnel_operator.control.telling.picture import Problem
from mtls_tunnel_operator.errors import ApiError, SpecError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Tunnel


def check_owner(raw: Mapping[str, Any] | None, tunnel: Tunnel, ref: Ref) -> None:
    """Refuse to write an object that is somebody else's.

    Raises:
        SpecError: NameConflict.
    """
    if raw is None:
        return
    labels = raw["metadata"].get("labels") or {}
    if labels.get(words.MANAGED_BY_LABEL) != words.MANAGED_BY:
        raise SpecError(
            "NameConflict",
            f"{ref} is there already and is not the operator's, so it is left alone. Delete it "
            f"(`{_delete(ref)}`), or give this tunnel or its Service "
            "another name.",
        )
    if labels.get(words.OWNER_LABEL) != tunnel.uid:
        raise SpecError(
            "NameConflict",
            f"{ref} belongs to another MtlsTunnel, or to one of this name that was deleted and is being cleaned up. "
            f"If it stays: `{_delete(ref)}`.",
        )


def refused(ref: Ref, error: ApiError) -> Problem:
    """What a refusal of the API server means for whoever reads the condition."""
    if error.status == 403 and "quota" in error.message:
        remedy = f"raise the quota: `kubectl -n {ref.namespace} describe resourcequota`."
    elif error.status == 403:
        remedy = (
            f"give the operator the right (chart value rbac), or see which policy refused: `kubectl auth can-i patch "
            f"{ref.plural} -n {ref.namespace} --as system:serviceaccount:NAMESPACE:NAME`."
        )
    elif error.status == 422:
        remedy = f"it was changed beyond repair; delete it and it is made anew: `{_delete(ref)}`."
    elif error.status == 404 and ref.namespace:
        remedy = f"is namespace {ref.namespace} there, and the kind served? `kubectl get namespace {ref.namespace}`."
    else:
        remedy = "it is tried again; what was there before stays in use."
    return Problem("WriteRefused", f"{ref} could not be written ({error}): {remedy}")


def _delete(ref: Ref) -> str:
    return f"kubectl -n {ref.namespace} delete {ref.plural} {ref.name}"
