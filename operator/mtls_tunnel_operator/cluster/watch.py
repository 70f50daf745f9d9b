"""A list that stays current: list, then watch, for ever; objects arrive as events.

Vanished objects are always said: after a new list (410 Gone, a long break) a DELETED is made up for each
object that had been seen and is not there any more.  `Watch` survives whatever the API server does, a kind
that it does not (yet) serve included; `last_seen` says how fresh it is and `trouble` what is wrong.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp

from mtls_tunnel_operator.cluster.api import PAGE, Api, error_of
from mtls_tunnel_operator.errors import ApiError, Gone, NotFound
from mtls_tunnel_operator.model.kinds import KINDS, path

LOG = logging.getLogger(__name__)

INACTIVE_SECONDS = 70.0  # bookmarks come every minute; a balancer may drop a connection without a word
STREAM_SECONDS = (240, 480)  # how long the server is asked to hold one; spread, so that not all return at once
BACKOFF = (0.5, 30.0)


class Event(NamedTuple):
    """`type` is ADDED (from a list too), MODIFIED, DELETED or SYNCED: a list is complete, `raw` is empty."""

    type: str
    raw: dict[str, Any]


class Watch:
    """Follows the objects of one kind; `async for event in watch`, by one reader."""

    def __init__(
        self,
        api: Api,
        plural: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        *,
        limit: int = PAGE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        inactive_seconds: float = INACTIVE_SECONDS,
    ) -> None:
        self._api = api
        self._plural = plural
        self._namespace = namespace
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._inactive = inactive_seconds
        self._known: dict[tuple[str, str], str] = {}  # namespace, name -> uid
        self._version = ""  # "" = list first
        self.last_seen = float("-inf")  # by `clock`; the last list, event or bookmark
        self.synced = False  # a whole list was read once
        self.trouble = ""  # what the last try failed on

    async def __aiter__(self) -> AsyncIterator[Event]:
        pause = BACKOFF[0]
        while True:
            try:
                if not self._version:
                    async for event in self._list():
                        yield event
                async for event in self._stream():
                    pause = BACKOFF[0]
                    yield event
                pause, wait = BACKOFF[0], 0.0
            except Gone:  # list again: at once, unless that does not help either
                self._version = ""
                pause, wait = min(pause * 2, BACKOFF[1]), pause - BACKOFF[0]
            except ApiError as error:
                self._note(error)
                if isinstance(error, NotFound):  # the kind itself went away: when it is back, list
                    self._version = ""
                wait = error.retry_after or pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
                pause = min(pause * 2, BACKOFF[1])
            await self._sleep(max(wait, 0.05))

    def _note(self, error: ApiError) -> None:
        if str(error) != self.trouble:
            level = logging.INFO if isinstance(error, NotFound) else logging.WARNING
            LOG.log(level, "watch of %s: %s", self._plural, error)
        self.trouble = str(error)

    def _see(self) -> None:
        self.last_seen = self._clock()

    async def _list(self) -> AsyncIterator[Event]:
        """Everything there is, then what has gone, then SYNCED."""
        before, self._known = self._known, {}
        version = ""
        try:
            async for page in self._api.list(
                self._plural,
                self._namespace,
                self._selectors["labelSelector"],
                self._selectors["fieldSelector"],
                limit=self._limit,
            ):
                version, self.trouble = page.resource_version, ""
                for raw in page.items:
                    self._known[_key(raw)] = raw["metadata"].get("uid", "")
                    yield Event("ADDED", raw)
        except ApiError:
            self._known = {**before, **self._known}  # incomplete: nothing may be called gone
            raise
        for key, uid in before.items():
            if self._known.get(key) != uid:
                yield Event("DELETED", self._ghost(*key, uid))
        self._version = version
        self.synced = True
        self._see()
        yield Event("SYNCED", {})

    def _ghost(self, namespace: str, name: str, uid: str) -> dict[str, Any]:
        kind = KINDS[self._plural]
        metadata = {"namespace": namespace, "name": name, "uid": uid}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}

    async def _stream(self) -> AsyncIterator[Event]:
        """Changes until the server ends the stream or falls silent."""
        async for line in self._lines():
            self._see()
            said = json.loads(line)
            raw = said["object"]
            if said["type"] == "ERROR":
                raise error_of(int(raw.get("code") or 500), raw.get("reason", ""), json.dumps(raw).encode(), None)
            self._version = raw["metadata"].get("resourceVersion", self._version)
            if said["type"] == "BOOKMARK":
                continue
            if said["type"] == "DELETED":
                self._known.pop(_key(raw), None)
            else:
                self._known[_key(raw)] = raw["metadata"].get("uid", "")
            yield Event(said["type"], raw)

    async def _lines(self) -> AsyncIterator[bytes]:
        seconds = str(random.randint(*STREAM_SECONDS))  # noqa: S311 - spreads load
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        query |= {key: value for key, value in self._selectors.items() if value}
        query["resourceVersion"] = self._version
        where = self._api.connection.server + path(self._plural, self._namespace)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._inactive)
        headers = self._api.connection.headers()
        buffer = bytearray()
        try:
            async with self._api.session.get(where, params=query, headers=headers, timeout=patience) as response:
                if response.status >= 300:
                    after = response.headers.get("Retry-After")
                    raise error_of(response.status, response.reason or "", await response.read(), after)
                self._see()
                self.trouble = ""
                async for chunk in response.content.iter_any():
                    buffer += chunk
                    while (end := buffer.find(b"\n")) >= 0:
                        line = bytes(buffer[:end])
                        del buffer[: end + 1]
                        if line:
                            yield line
        except TimeoutError:
            return  # silent for too long: a new connection, from where this one stood
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch of {self._plural}: {error}") from error


def _key(raw: dict[str, Any]) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
