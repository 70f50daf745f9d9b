"""The defaults of the installation, followed: ConfigMap `<fullname>-defaults` in the operator's namespace.

The injector follows the same ConfigMap, so that an upgrade cannot make the two disagree.  What cannot be read
keeps its last good value and is said once; without any good value there is nothing to start with.
"""

import asyncio
import logging
from collections.abc import Callable

from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.watch import Watch
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.settings import Defaults, defaults_of

LOG = logging.getLogger(__name__)


class Installation:
    """`follow()` beside everything else; `await ready()` before anything asks for `defaults()`."""

    def __init__(self, api: Api, namespace: str, name: str, changed: Callable[[], None] = lambda: None) -> None:
        self._namespace = namespace
        self._name = f"{name}-defaults"
        self._watch = Watch(api, "configmaps", namespace, field_selector=f"metadata.name={self._name}")
        self._changed = changed
        self._last: Defaults | None = None
        self._known = asyncio.Event()

    def defaults(self) -> Defaults:
        """What resources leave open."""
        assert self._last is not None, "asked before ready()"
        return self._last

    async def ready(self) -> None:
        """Return once there are defaults."""
        await self._known.wait()

    async def follow(self) -> None:
        """Read the ConfigMap and its changes, until cancelled."""
        async for event in self._watch:
            if event.type in ("ADDED", "MODIFIED"):
                self.read(event.raw.get("data") or {})
            elif event.type == "DELETED" and event.raw["metadata"]["name"] == self._name:
                LOG.warning("defaults: ConfigMap %s/%s is gone, the last ones stay", self._namespace, self._name)
            elif event.type == "SYNCED" and self._last is None:
                LOG.warning("defaults: waiting for ConfigMap %s/%s: install the chart", self._namespace, self._name)

    def read(self, entries: dict[str, str]) -> None:
        """Take in what the ConfigMap says."""
        try:
            read, problems = defaults_of(entries, operator_namespace=self._namespace, last=self._last)
        except SpecError as error:
            LOG.error("defaults: %s", error)
            return
        for problem in problems:
            LOG.warning("defaults: %s", problem)
        if read == self._last:
            return
        first, self._last = self._last is None, read
        self._known.set()
        if not first:
            LOG.info("defaults: changed, looking at everything again")
            self._changed()
