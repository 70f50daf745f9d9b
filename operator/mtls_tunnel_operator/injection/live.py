"""A look at the API server for a pod that the cache knows no tunnel for.

Resource and pod may come in one `kubectl apply`, and then the pod is faster than the watch.  One look lists
the tunnels of the pod's namespace and is shared by all that ask for it within a second; whoever asks waits
for `BUDGET_SECONDS` at most and then goes on with what the cache has.  What it finds is not put into the
cache: a tunnel that is deleted meanwhile would stay there for ever.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api, Ref
from mtls_tunnel_operator.errors import ApiError, SpecError
from mtls_tunnel_operator.injection.world import read_tunnel
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import space_of
from mtls_tunnel_operator.model.resources import Tunnel

LOG = logging.getLogger(__name__)

BUDGET_SECONDS = 1.0
EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """`space` is None where the namespace was not asked for or did not come in time."""

    tunnels: tuple[Tunnel, ...] = ()
    space: Space | None = None


NOTHING = Found()


class Looks:
    """At most one look for each namespace and second."""

    def __init__(
        self, api: Api, clock: Callable[[], float], *, counted: Callable[[str], None] = lambda _: None
    ) -> None:
        self._api = api
        self._clock = clock
        self._counted = counted  # ok, failed or late: for metrics
        self._looks: dict[str, tuple[float, asyncio.Task[Found]]] = {}

    async def look(self, namespace: str, *, with_space: bool) -> Found:
        """What the API server has in *namespace* now, or nothing if it does not say so in time."""
        task = self._current(namespace, with_space)
        done, _ = await asyncio.wait({task}, timeout=BUDGET_SECONDS)
        if not done:
            self._counted("late")
            return NOTHING
        return task.result()

    async def close(self) -> None:
        """End what still runs."""
        tasks = [task for _, task in self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _current(self, namespace: str, with_space: bool) -> asyncio.Task[Found]:
        now = self._clock()
        self._looks = {
            name: (begun, task)
            for name, (begun, task) in self._looks.items()
            if now - begun < EVERY_SECONDS or not task.done()
        }
        if namespace not in self._looks:
            self._looks[namespace] = now, asyncio.create_task(self._ask(namespace, with_space))
        return self._looks[namespace][1]

    async def _ask(self, namespace: str, with_space: bool) -> Found:
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                tunnels = await self._tunnels(namespace)
                space = await self._space(namespace) if with_space else None
        except (ApiError, TimeoutError) as error:
            self._counted("failed")
            LOG.warning("live look failed: going on with the cache", extra={"namespace": namespace, "error": error})
            return NOTHING
        self._counted("ok")
        return Found(tunnels, space)

    async def _tunnels(self, namespace: str) -> tuple[Tunnel, ...]:
        found = []
        async for page in self._api.list(names.TUNNELS, namespace):
            for raw in page.items:
                try:
                    found.append(read_tunnel(raw))
                except SpecError as error:  # the watch brings it too, and says it in full
                    LOG.debug("live look: tunnel cannot be read", extra={"namespace": namespace, "error": error})
        return tuple(found)

    async def _space(self, namespace: str) -> Space:
        return space_of(await self._api.get(Ref("namespaces", "", namespace)))
