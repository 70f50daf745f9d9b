"""Events on the objects of users: one for each transition, never waited for.

`post` returns at once; `run` sends.  The same event again within ten minutes is counted on the first one
instead of making another (kubectl shows "x3 over 5m"), and one object can cause no flood.  What cannot be
sent is dropped: events are for people, no decision depends on them.

Source: client-go, tools/record (aggregation and its token bucket: 25 at once, then one in 5 minutes).
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from mtls_tunnel_operator.cluster.api import MERGE, Api
from mtls_tunnel_operator.errors import ApiError, NotFound, NotLeader
from mtls_tunnel_operator.model.kinds import KINDS, Ref

LOG = logging.getLogger(__name__)

COMPONENT = "mtls-tunnel-operator"
LONGEST_MESSAGE = 1024  # the API server refuses more
REMEMBERED = 1000
SAME_SECONDS = 600.0
BURST, REFILL_SECONDS = 25, 300.0
WAITING = 500


class _Post(NamedTuple):
    regarding: Ref
    uid: str
    type: str
    reason: str
    message: str
    at: float


@dataclass(slots=True)
class _Known:
    name: str
    count: int
    first: float
    last: float


class Events:
    """Posts events in the name of this process."""

    def __init__(self, api: Api, instance: str, *, now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._instance = instance
        self._now = now
        self._queue: asyncio.Queue[_Post] = asyncio.Queue(WAITING)
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.dropped = 0

    def post(
        self, regarding: Ref, type: Literal["Normal", "Warning"], reason: str, message: str, *, uid: str = ""
    ) -> None:
        """Say *message* about an object; *uid* ties the event to this one and not to a successor of its name."""
        if len(message) > LONGEST_MESSAGE:
            message = message[: LONGEST_MESSAGE - 1] + "…"
        now = self._now()
        if not self._may_speak(f"{regarding}", now):
            self.dropped += 1
            return
        try:
            self._queue.put_nowait(_Post(regarding, uid, type, reason, message, now))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Send what is posted, until cancelled."""
        while True:
            post = await self._queue.get()
            await self.send(post)

    async def drain(self) -> None:
        """Send what waits now: at the end of a process, and in tests."""
        while not self._queue.empty():
            await self.send(self._queue.get_nowait())

    async def send(self, post: _Post) -> None:
        """Make the event, or count it on the one that says the same."""
        key = (str(post.regarding), post.uid, post.type, post.reason, post.message)
        known = self._known.get(key)
        try:
            if known is not None and post.at - known.last < SAME_SECONDS:
                known.count, known.last = known.count + 1, post.at
                await self._count(post, known)
            else:
                known = _Known(_name(post), 1, post.at, post.at)
                await self._api.create(self._manifest(post, known))
        except NotFound:  # the event expired, or its namespace is gone
            self._known.pop(key, None)
            return
        except (ApiError, NotLeader) as error:
            self.dropped += 1
            LOG.debug("event %s on %s not posted: %s", post.reason, post.regarding, error)
            return
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _count(self, post: _Post, known: _Known) -> None:
        where = Ref("events", _namespace(post.regarding), known.name)
        await self._api.patch(where, {"count": known.count, "lastTimestamp": _time(known.last)}, content=MERGE)

    def _manifest(self, post: _Post, known: _Known) -> dict[str, Any]:
        kind = KINDS[post.regarding.plural]
        involved = {"apiVersion": kind.api_version, "kind": kind.kind, "name": post.regarding.name, "uid": post.uid}
        if post.regarding.namespace:
            involved["namespace"] = post.regarding.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": _namespace(post.regarding), "name": known.name},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": post.type,
            "reason": post.reason,
            "message": post.message,
            "count": known.count,
            "firstTimestamp": _time(known.first),
            "lastTimestamp": _time(known.last),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }

    def _may_speak(self, who: str, now: float) -> bool:
        left, since = self._tokens.pop(who, (float(BURST), now))
        left = min(float(BURST), left + max(0.0, now - since) / REFILL_SECONDS)
        self._tokens[who] = (max(0.0, left - 1), now)
        if len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return left >= 1


def _namespace(regarding: Ref) -> str:
    """Events about cluster-scoped objects stand in `default`: the API server takes them nowhere else."""
    return regarding.namespace or "default"


def _name(post: _Post) -> str:
    digest = hashlib.sha256(repr(post).encode()).hexdigest()[:16]
    return f"{post.regarding.name[:230]}.{digest}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
