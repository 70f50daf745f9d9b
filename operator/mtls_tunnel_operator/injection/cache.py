"""What the injector knows is kept current by four watches, and how current it is can be asked.

The watches: tunnels of all namespaces, namespaces that have opted in, the ConfigMap with the defaults, the
Secret with the serving certificate.  Nothing is written, ever.  An API server that cannot be reached leaves
the last good state; pods go on being injected from it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.watch import Watch
from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.world import World

LOG = logging.getLogger(__name__)

STALE_SECONDS = 300.0

Raw = dict[str, Any]


class Cache:
    """`run` follows the watches until it is cancelled; `serve` is given the serving Secret."""

    def __init__(
        self,
        api: Api,
        world: World,
        meters: Meters,
        clock: Callable[[], float],
        *,
        namespace: str,
        defaults: str,
        secret: str,
        serve: Callable[[Raw], None],
    ) -> None:
        self._world = world
        self._meters = meters
        self._clock = clock
        opted_in = f"{names.INJECTION_LABEL}={names.ENABLED}"
        self._tunnels = Watch(api, names.TUNNELS, clock=clock)
        self._spaces = Watch(api, "namespaces", label_selector=opted_in, clock=clock)
        self._defaults = Watch(api, "configmaps", namespace, field_selector=f"metadata.name={defaults}", clock=clock)
        self._secret = Watch(api, "secrets", namespace, field_selector=f"metadata.name={secret}", clock=clock)
        self._serve = serve

    async def run(self) -> None:
        """Follow all four; never returns."""
        world = self._world
        async with asyncio.TaskGroup() as group:
            group.create_task(_follow(self._tunnels, world.put_tunnel, world.drop_tunnel))
            group.create_task(_follow(self._spaces, world.put_space, world.drop_space))
            # Deleted, they have no successor: what they said last stays.
            group.create_task(_follow(self._defaults, world.put_defaults, _keep("defaults ConfigMap")))
            group.create_task(_follow(self._secret, self._serve, _keep("serving Secret")))

    @property
    def synced(self) -> bool:
        """Whether pods can be decided on: everything was listed once, and there are defaults."""
        lists = self._tunnels.synced and self._spaces.synced and self._defaults.synced
        return lists and self._world.defaults is not None

    @property
    def age(self) -> float:
        """Seconds since the API server was last heard by the watch that has been silent longest."""
        return self._clock() - min(watch.last_seen for watch in self._watches)

    def trouble(self) -> str:
        """Why answers might be wrong, "" if they are not."""
        if not self.synced:
            told = next((watch.trouble for watch in self._watches if watch.trouble), "")
            return f"the cache is not complete yet{': ' if told else ''}{told}"
        return "" if self.age <= STALE_SECONDS else f"the API server has not been heard for {self.age:.0f} s"

    def measure(self) -> None:
        """Bring the gauges up to date."""
        self._meters.objects.labels("tunnels").set(self._world.tunnels)
        self._meters.objects.labels("tunnels_unread").set(len(self._world.broken))
        self._meters.objects.labels("namespaces").set(len(self._world.spaces))
        self._meters.age.set(self.age)

    @property
    def _watches(self) -> tuple[Watch, ...]:
        return self._tunnels, self._spaces, self._defaults, self._secret


async def _follow(watch: Watch, put: Callable[[Raw], None], drop: Callable[[Raw], None]) -> None:
    async for event in watch:
        if event.type == "DELETED":
            drop(event.raw)
        elif event.type != "SYNCED":
            put(event.raw)


def _keep(what: str) -> Callable[[Raw], None]:
    def said(raw: Raw) -> None:
        LOG.warning(f"{what} is gone: what it said last stays", extra={"object": raw["metadata"]["name"]})

    return said
