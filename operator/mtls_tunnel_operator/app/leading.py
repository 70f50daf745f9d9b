"""The Lease, kept by a thread with an event loop of its own.

Reading ten thousand objects, or a machine that has little time for us, can keep the main loop from turning
for seconds; the Lease must not be lost to that, or the next replica would begin the same reading.  A main
loop that hangs for good must not keep it either: after a minute without a turn it is given up.

`held()` may be asked from any thread: it compares two numbers.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.credentials import Connection
from mtls_tunnel_operator.cluster.lease import RETRY_SECONDS, Lease

T = TypeVar("T")

HANGING_SECONDS = 60.0


class Leading:
    """`with Leading(...) as leading:`, then `acquire`, `keep` and `release` in that order."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        identity: str,
        *,
        silence: Callable[[], float],
        answered: Callable[[str, str, int], None] = lambda *_: None,
    ) -> None:
        self._api = Api(connection, answered=answered)
        self._lease = Lease(self._api, namespace, name, identity)
        self._silence = silence  # seconds since the main loop has turned
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lease", daemon=True)
        self._keeping: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._begin(self._close()).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def held(self) -> bool:
        """Whether writing is allowed now."""
        return self._lease.held()

    async def acquire(self) -> None:
        """Return when the Lease is ours; cancelling this gives up waiting."""
        await asyncio.wrap_future(self._begin(self._lease.acquire()))

    def keep(self, lost: Callable[[str], None]) -> None:
        """Renew from now on; *lost* is called, in the other thread, with the reason for which that ended."""
        self._keeping = self._begin(self._keep(lost))

    async def release(self) -> None:
        """Stop renewing and let the next one begin; nothing may be written from here on."""
        if self._keeping is not None:
            self._keeping.cancel()
        await asyncio.wrap_future(self._begin(self._lease.release()))

    async def _keep(self, lost: Callable[[str], None]) -> None:
        renewing = asyncio.create_task(self._lease.keep())
        hanging = asyncio.create_task(self._hangs())
        try:
            await asyncio.wait({renewing, hanging}, return_when=asyncio.FIRST_COMPLETED)
            lost(renewing.result() if renewing.done() else hanging.result())
        finally:
            renewing.cancel()
            hanging.cancel()

    async def _hangs(self) -> str:
        while (seconds := self._silence()) < HANGING_SECONDS:  # noqa: ASYNC110 - a loop that hangs tells nobody
            await asyncio.sleep(RETRY_SECONDS)
        return f"the main loop has not turned for {seconds:.0f} s"

    async def _close(self) -> None:
        mine = asyncio.all_tasks() - {asyncio.current_task()}
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        await self._api.close()

    def _begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
