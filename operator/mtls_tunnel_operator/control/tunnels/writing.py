"""A plan is carried out: written in its order up to the first write at home that fails, then cleaned up.

An object is made only where there is none, and changed only if it is this tunnel's own; the API server is asked
for a name that the view does not have.  What fails in a client's namespace is reported and holds up nobody else:
else whoever may write there could keep a tunnel from being changed.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.telling.picture import Problem
from mtls_tunnel_operator.control.tunnels.copies import Copies
from mtls_tunnel_operator.control.tunnels.ownership import check_owner, refused
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.desired.plan import Plan
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.errors import ApiError, NotFound, SpecError
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.resources import Tunnel


@dataclass(slots=True)
class Outcome:
    """What kept the plan from being carried out as a whole; empty: it was."""

    conflicts: list[Problem] = field(default_factory=list)
    refusal: Problem | None = None
    error: ApiError | None = None


async def carry_out(api: Api, view: View, copies: Copies, tunnel: Tunnel, todo: Plan) -> Outcome:
    """Apply and delete what *todo* says."""
    outcome = Outcome()
    for manifest in todo.apply:
        ref = ref_of(manifest)
        done = await _attempt(outcome, ref, _apply(api, view, tunnel, ref, manifest))
        if not done and ref.namespace == tunnel.key.namespace:
            return outcome
    for ref in todo.delete:
        await _attempt(outcome, ref, copies.delete((ref,)))
    return outcome


async def _apply(api: Api, view: View, tunnel: Tunnel, ref: Ref, manifest: dict[str, Any]) -> None:
    there = await observed(api, view, ref)
    check_owner(there, tunnel, ref)
    if not same(manifest, there):  # of a kind that is not watched, the view may not have known
        await api.apply(manifest)


async def _attempt(outcome: Outcome, ref: Ref, action: Awaitable[object]) -> bool:
    """Whether *action* worked; if not, *outcome* says why."""
    try:
        await action
    except SpecError as error:
        outcome.conflicts.append(Problem(error.reason, error.message))
    except ApiError as error:
        if outcome.error is None:
            outcome.refusal, outcome.error = refused(ref, error), error
    else:
        return True
    return False


async def observed(api: Api, view: View, ref: Ref) -> Mapping[str, Any] | None:
    """The object as the view has it, else as the API server has it."""
    known = view.objects.get(ref)
    if known is not None:
        return known
    try:
        found = await api.get(ref)
    except NotFound:
        return None
    view.observe(found)
    return found
