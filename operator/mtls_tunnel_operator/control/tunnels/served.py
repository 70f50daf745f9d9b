"""Which kinds of others' CRDs the cluster has: asked now and then, because they come and go with their charts."""

from collections.abc import Callable

from mtls_tunnel_operator.cluster.api import Api

SERVED_SECONDS = 600.0
ABSENT_SECONDS = 30.0


class Served:
    """Remembers the answers for a while."""

    def __init__(self, api: Api, *, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._known: dict[str, tuple[float, bool]] = {}

    async def has(self, plural: str) -> bool:
        """Whether the API server has that kind."""
        until, answer = self._known.get(plural, (0.0, False))
        now = self._now()
        if until <= now:
            answer = await self._api.serves(plural)
            self._known[plural] = (now + (SERVED_SECONDS if answer else ABSENT_SECONDS), answer)
        return answer
