"""kopf's part: it watches, these handlers take what it brings into the view and ask the queue for work.

Only low-level event handlers are registered: they leave no annotation, no finalizer and no status of kopf's
on anybody's objects.  Nothing is returned from them (kopf would store it in the status).  Kinds that the API
server does not serve are not registered; those of others' CRDs are followed by `cluster.watch` instead,
because kopf ends the whole process when a watched kind disappears.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp

from mtls_tunnel_operator.cluster.api import PAGE, Api
from mtls_tunnel_operator.cluster.credentials import Connection
from mtls_tunnel_operator.cluster.watch import Watch
from mtls_tunnel_operator.control.concerns import concerned
from mtls_tunnel_operator.control.queue import Item, Queue
from mtls_tunnel_operator.control.view import Change, View
from mtls_tunnel_operator.control.watching.lean_kopf import kopf
from mtls_tunnel_operator.control.watching.resync import OPTIONAL, Selection
from mtls_tunnel_operator.model.kinds import KINDS, Ref

LOG = logging.getLogger(__name__)

IDLE_SECONDS = 0.1  # how long kopf keeps the task and the last body of an object that was silent


class Sight:
    """Takes events into the view and turns changes into work."""

    def __init__(self, view: View, queue: Queue[Item], now: Callable[[], float]) -> None:
        self._view = view
        self._queue = queue
        self._now = now

    def event(self, plural: str, type_: str | None, raw: dict[str, Any]) -> None:
        """An object as a watch told it; the type None is kopf's word for an initial list."""
        metadata = raw["metadata"]
        if type_ == "DELETED":
            ref = Ref(plural, metadata.get("namespace", ""), metadata["name"])
            change = self._view.drop(ref, metadata.get("uid", ""))
        else:
            change = self._view.put(plural, raw)
        if change is not None:
            self.changed(change)

    def changed(self, change: Change) -> None:
        """Ask for what the change concerns."""
        for item, delay in concerned(change, self._view):
            self._queue.add(item, self._now() + delay if delay else None)


def registry_of(selection: Selection, sight: Sight, login: Callable[[], Any]) -> kopf.OperatorRegistry:
    """The handlers: one for each kind; a registry of our own, because kopf's default one imports heavy clients."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, id="login")
    async def log_in(**_: Any) -> Any:
        return login()

    for plural in selection.plurals:
        if plural not in OPTIONAL:
            _register(registry, plural, sight)
    return registry


def _register(registry: kopf.OperatorRegistry, plural: str, sight: Sight) -> None:
    group, _, version = KINDS[plural].api_version.rpartition("/")

    @kopf.on.event(group, version, plural, registry=registry, id=f"see-{plural}")
    async def see(event: Any, **_: Any) -> None:
        sight.event(plural, event["type"], event["object"])


def session(connection: Connection) -> kopf.AiohttpSession:
    """kopf's way to the API server: ours, so that a token is read anew as it changes."""

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(connection.headers())
        return await handler(request)

    context = connection.ssl_context
    connector = aiohttp.TCPConnector(limit=0, ssl=True if context is None else context)
    return kopf.AiohttpSession(
        server=connection.server, aiohttp_session=aiohttp.ClientSession(connector=connector, middlewares=(authorize,))
    )


def settings_of(selection: Selection) -> kopf.OperatorSettings:
    """How kopf watches: paged lists, server-side selectors, no scan for new kinds, little kept for each object."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.persistence.diffbase_storage = _NoDiff()
    settings.persistence.progress_storage = kopf.StatusProgressStorage(name="unused")
    for plural in selection.plurals:
        group, _, version = KINDS[plural].api_version.rpartition("/")
        if labels := selection.labels(plural):
            settings.watching.label_selectors[group, version, plural] = labels
        if fields := selection.fields(plural):
            settings.watching.field_selectors[group, version, plural] = fields
    return settings


class _NoDiff(kopf.DiffBaseStorage):
    """kopf compares each object with its last state, a deep copy for each event, even if no handler asks for it."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        raise NotImplementedError("only high-level handlers store, and there are none")


async def follow_optional(api: Api, selection: Selection, sight: Sight) -> None:
    """Watch the kinds of others' CRDs, whether they exist yet or not, until cancelled."""

    async def follow(plural: str, namespace: str) -> None:
        watch = Watch(api, plural, namespace, selection.labels(plural))
        async for event in watch:
            if event.type != "SYNCED":
                sight.event(plural, event.type, event.raw)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait())  # also where there is nothing to watch
        for plural in OPTIONAL:
            for namespace in selection.namespaces(plural) if plural in selection.plurals else ():
                group.create_task(follow(plural, namespace))
