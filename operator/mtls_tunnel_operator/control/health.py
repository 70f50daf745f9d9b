"""What Kubernetes asks a process: alive, ready; and what Prometheus asks it.

/healthz answers 200 while the event loop turns and, in the active replica, the last comparison with the
cluster is younger than twice its period; a loop that hangs does not answer at all, which is the same to a
probe.  /readyz answers 200 in a replica that waits for the Lease, and in the active one once it has seen the
whole cluster.  Two ports, so that metrics can be open to others than probes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

BEAT_SECONDS = 1.0
BEAT_LIMIT = 10.0
RESYNC_LIMIT = 1200.0


class Health:
    """The state that the answers are made from; the program writes it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat = clock()
        self._resynced: float | None = None
        self._due_since: float | None = None  # when a comparison became due
        self.leading = False
        self.stopping = False

    async def beat(self) -> None:
        """Prove that the loop turns, until cancelled."""
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    def beats(self) -> None:
        """One beat, for whoever has no loop."""
        self._beat = self._clock()

    def resynced(self) -> None:
        """The view was compared with the cluster as a whole."""
        self._resynced = self._clock()

    def leads(self) -> None:
        """The Lease is ours."""
        self.leading = True

    def begins(self) -> None:
        """There is something to compare with: from now on it is due."""
        self._due_since = self._clock()

    def silence(self) -> float:
        """Seconds since the loop has turned; may be asked from another thread."""
        return self._clock() - self._beat

    def alive(self) -> str:
        """Why this process should be ended, or ""."""
        silence = self.silence()
        if silence > BEAT_LIMIT:
            return f"the event loop has not turned for {silence:.0f} s"
        since = self._due_since if self._resynced is None else self._resynced
        if self.leading and since is not None:
            age = self._clock() - since
            if age > RESYNC_LIMIT:
                return f"the last comparison with the cluster is {age:.0f} s old"
        return ""

    def ready(self) -> str:
        """Why nobody should count on this process, or ""."""
        if self.stopping:
            return "stopping"
        if self.leading and self._resynced is None:
            return "the cluster has not been read as a whole yet"
        return self.alive()


def health_app(health: Health) -> web.Application:
    """/healthz and /readyz."""

    def answer(ask: Callable[[], str]) -> Callable[[web.Request], object]:
        async def serve(_: web.Request) -> web.Response:
            trouble = ask()
            return web.Response(status=503 if trouble else 200, text=(trouble or "ok") + "\n")

        return serve

    app = web.Application()
    app.router.add_get("/healthz", answer(health.alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(health.ready))  # type: ignore[arg-type]
    return app


def metrics_app(registry: CollectorRegistry) -> web.Application:
    """/metrics."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", serve)
    return app


@asynccontextmanager
async def serving(*apps: tuple[web.Application, tuple[str | None, int]]) -> AsyncIterator[None]:
    """Serve each app on its address; ports are free again afterwards."""
    runners = []
    try:
        for app, (host, port) in apps:
            runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, host, port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()
