"""One request, decided: what is known of the world, a live look where it knows no tunnel, the answer.

Nothing is asked of the API server while a pod waits, but for that look.  Defaults or tunnels that have not
arrived yet are no reason to let pods through without their sidecar: until then the answer is `NotReady`.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import OperatorError, SpecError
from mtls_tunnel_operator.injection import review, shape
from mtls_tunnel_operator.injection.live import NOTHING, Found, Looks
from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.injection.world import World, assumed_space, other_account
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import pod_of
from mtls_tunnel_operator.model.resources import Tunnel

LOG = logging.getLogger(__name__)


class NotReady(OperatorError):
    """The cache has never been complete: another replica, or a second try, will answer."""


class Admission:
    """`synced` says whether the world was complete once."""

    def __init__(self, world: World, looks: Looks, meters: Meters, synced: Callable[[], bool]) -> None:
        self._world = world
        self._looks = looks
        self._meters = meters
        self._synced = synced

    async def respond(self, body: bytes) -> bytes:
        """The AdmissionReview that answers *body*.

        Raises:
            BadReview: *body* is no AdmissionReview.
            NotReady: nothing can be decided yet.
        """
        request = review.read(body)
        if request.ignored:
            self._meters.injections.labels("ignored").inc()
            return review.allow(request.uid, request.ignored)
        try:
            injection = await self._decide(request)
        except SpecError as error:
            self._meters.injections.labels("refused").inc()
            LOG.warning("admission: refused", extra={"namespace": request.namespace, "error": error})
            return review.refuse(request.uid, review.MALFORMED, str(error))
        self._account(request, injection)
        return review.answer(request.uid, injection)

    async def _decide(self, request: review.Request) -> Injection:
        defaults = self._world.defaults
        if defaults is None or not self._synced():
            raise NotReady("the cache of MtlsTunnels is not complete yet")
        labels, account = shape.labels_of(request.pod), pod_of(request.pod).account
        space, tunnels = self._known(request.namespace)
        parts = parts_of(space, labels, account, tunnels)
        unknown = request.namespace not in self._world.spaces
        if (unknown or not parts) and labels.get(names.INJECT_LABEL) != "false":
            found = await self._looks.look(request.namespace, with_space=unknown)
            space, tunnels = self._known(request.namespace, found)
            parts = parts_of(space, labels, account, tunnels)
        injection = inject(request.pod, parts, space, defaults)
        told = other_account(space, labels, parts, tunnels)
        if injection.skipped == "NotSelected":
            told += self._world.unread(space.name)
        return replace(injection, warnings=(*injection.warnings, *told)) if told else injection

    def _known(self, namespace: str, found: Found = NOTHING) -> tuple[Space, list[Tunnel]]:
        # The watch may have brought the namespace while the look was under way.
        space = self._world.spaces.get(namespace) or found.space or assumed_space(namespace)
        return space, list(self._world.concerning(space, found.tunnels))

    def _account(self, request: review.Request, injection: Injection) -> None:
        result = _result(injection)
        self._meters.injections.labels(result).inc()
        if injection.skipped and result != "not_selected":
            self._meters.skips.labels(injection.skipped).inc()
        level = logging.DEBUG if result == "not_selected" and not injection.warnings else logging.INFO
        if LOG.isEnabledFor(level):
            LOG.log(level, f"admission: {result.replace('_', ' ')}", extra=_said(request, injection, result))


def _said(request: review.Request, injection: Injection, result: str) -> dict[str, object]:
    metadata = request.pod["metadata"]
    annotations = injection.pod["metadata"].get("annotations") or {}
    return {
        "namespace": request.namespace,
        "pod": metadata.get("name") or metadata.get("generateName"),
        "tunnels": annotations.get(names.TUNNELS_ANNOTATION) if result == "injected" else None,
        "reason": injection.skipped or None,
        "warnings": injection.warnings or None,
        "error": injection.denied or None,
    }


def _result(injection: Injection) -> str:
    if injection.denied:
        return "denied"
    if not injection.skipped:
        return "injected"
    return "not_selected" if injection.skipped == "NotSelected" else "skipped"
