"""One active operator: a Lease, taken before any work and lost by not being renewed.

A holder renews every 2 s; after 10 s without a confirmed renewal it must not write any more (`held`) and ends
(`keep` returns).  Another takes the Lease when its record has not changed for 15 s *by the other's own
clock*: the times in the record are for people and are never compared.  The clock runs through a stop of the
process and a sleep of the machine, and not backwards (CLOCK_BOOTTIME).

Source: client-go, tools/leaderelection (15 s, 10 s, 2 s are its customary values).
"""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from mtls_tunnel_operator.cluster.api import APPLY, Api
from mtls_tunnel_operator.errors import ApiError, Conflict, NotFound
from mtls_tunnel_operator.model.kinds import Ref, path

LOG = logging.getLogger(__name__)

DURATION_SECONDS = 15.0
DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0


def boot_clock() -> float:
    """Seconds since the machine started, sleeps included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """`await acquire()`, then `await keep()` beside the work that asks `held()`; `await release()` at the end.

    *api* must be one that may write without holding the Lease: taking it is a write.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._ref = Ref("leases", namespace, name)
        self.identity = identity
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._trouble = ""  # what the last request failed on: said once
        self._record: dict[str, Any] | None = None  # the Lease as last read or written
        self._seen = float("-inf")  # when the record last changed, by our clock
        self._missed = float("-inf")  # when a Lease that another held was found to be gone
        self._renewed = float("-inf")  # when the last confirmed renewal was sent

    def held(self) -> bool:
        """Whether nobody else can have taken the Lease yet: the gate before every write."""
        return self._clock() - self._renewed < DEADLINE_SECONDS

    @property
    def holder(self) -> str:
        """Who holds it, as far as is known; "" for nobody."""
        return str((self._record or {}).get("spec", {}).get("holderIdentity") or "")

    async def acquire(self) -> None:
        """Return when the Lease is ours; whatever the API server answers is tried again."""
        told = ""
        while not await self._round(self._try_to_take):
            if self.holder != told:
                told = self.holder
                LOG.info("lease: held by another, waiting", extra={"lease": str(self._ref), "holder": told})
            pause = RETRY_SECONDS * random.uniform(1.0, 1.2)  # noqa: S311 - replicas should not march in step
            await self._sleep(min(pause, self._left() or pause))
        LOG.info("lease: taken", extra={"lease": str(self._ref), "identity": self.identity})

    async def keep(self) -> str:
        """Renew until that is not possible any more; the reason.  Then the process has to end."""
        while True:
            await self._sleep(RETRY_SECONDS)
            if not self.held():
                return f"not renewed for {DEADLINE_SECONDS:.0f} s"
            if not await self._round(self._try_to_renew) and self._record is None:
                await self._round(self._try_to_renew)  # not as we thought: read it, now rather than in 2 s
            if self.holder != self.identity and self._record is not None:
                self._renewed = float("-inf")
                return f"taken by {self.holder or 'nobody'}"

    async def release(self) -> None:
        """Let the other replica begin at once, rather than after 15 s; nothing if it is not ours."""
        if not self.held() or self.holder != self.identity or self._record is None:
            return
        self._renewed = float("-inf")  # no write from here on
        try:
            await self._write(self._manifest("", 1))
        except ApiError as error:
            LOG.info("lease: not released, it will run out: %s", error)

    async def _round(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        try:
            done = await attempt()
        except ApiError as error:
            known = isinstance(error, Conflict) or error.reason == self._trouble
            LOG.log(logging.DEBUG if known else logging.WARNING, "lease: %s", error)
            self._trouble = error.reason
            if 400 <= error.status < 500:  # not as we thought it is: read it again
                self._note(None)
            return False
        self._trouble = ""
        return done

    async def _try_to_take(self) -> bool:
        await self._read()
        if self._left():
            return False
        if self._record is None and self._clock() - self._missed < DURATION_SECONDS:
            return False  # deleted by hand: its holder may still write, and will make it anew
        await self._claim()
        return True

    async def _try_to_renew(self) -> bool:
        if self._record is None:
            await self._read()
        if self._record is not None and self.holder != self.identity:
            return False
        await self._claim()  # a Lease deleted by hand is as good as expired: whoever is first makes it anew
        return True

    async def _read(self) -> None:
        try:
            self._note(await self._api.request("GET", path(*self._ref), plural="leases", tries=1))
        except NotFound:
            if self.holder not in ("", self.identity):
                self._missed = self._clock()
            self._note(None)

    async def _claim(self) -> None:
        """Write our name; the renewal counts from before the request, as others count from after it."""
        began = self._clock()
        self._note(await self._write(self._manifest(self.identity, int(DURATION_SECONDS))))
        self._renewed = began

    async def _write(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply, because only so may the right to create be limited to one name.

        The resource version makes it fail when somebody else was faster; where there is no Lease yet, the
        manager of our own name and no force do.
        """
        manager = f"lease-{hashlib.sha256(self.identity.encode()).hexdigest()[:16]}"
        query = {"fieldManager": manager, "force": "true" if self._record else "false"}
        return await self._api.request(
            "PATCH", path(*self._ref), query=query, body=manifest, content=APPLY, plural="leases", verb="apply", tries=1
        )

    def _manifest(self, holder: str, seconds: int) -> dict[str, Any]:
        old = self._record or {}
        spec = old.get("spec") or {}
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changes = holder != (spec.get("holderIdentity") or "")
        metadata = {"namespace": self._ref.namespace, "name": self._ref.name}
        if old:
            metadata["resourceVersion"] = _version(old)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": seconds,
                "acquireTime": stamp if changes else spec.get("acquireTime") or stamp,
                "renewTime": stamp,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (1 if changes and old and holder else 0),
            },
        }

    def _note(self, record: dict[str, Any] | None) -> None:
        if _version(record) != _version(self._record):
            self._seen = self._clock()
        self._record = record

    def _left(self) -> float:
        """Seconds for which the Lease of another still runs; 0.0 if it may be taken."""
        if self.holder in ("", self.identity):
            return 0.0
        return max(0.0, self._seen + self._duration() - self._clock())

    def _duration(self) -> float:
        """What the holder promised, but never less than our own: a released Lease says 1 s."""
        said = (self._record or {}).get("spec", {}).get("leaseDurationSeconds") or 0
        return max(DURATION_SECONDS, float(said))


def _version(record: dict[str, Any] | None) -> str:
    return str(record["metadata"].get("resourceVersion", "")) if record else ""
