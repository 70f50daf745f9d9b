"""The HTTPS endpoint that the API server calls, and the plain ones for kubelet and Prometheus.

`/mutate` answers AdmissionReviews.  Whatever is odd about a request ends here with a status and a sentence:
a body above 3 MiB 413, one that does not arrive in time 408, one that is no AdmissionReview 400, a cache that
is not complete 503.  Responses are never compressed and bodies never unpacked.

On the way out connections are asked to go elsewhere (Connection: close) while new ones are still taken:
kube-proxy needs some seconds to take an endpoint out.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import choose_encoder

from mtls_tunnel_operator.injection.admission import Admission, NotReady
from mtls_tunnel_operator.injection.guard import MOST_CONNECTIONS, Guard
from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.review import BadReview

LOG = logging.getLogger(__name__)

BODY_BYTES = 3 * 1024 * 1024  # the API server's own limit for a request
BODY_SECONDS = 5.0
HANDSHAKE_SECONDS = 5.0
GOODBYE_SECONDS = 2.0
FINISH_SECONDS = 5.0  # for requests under way at the end: as long as the API server waits for one
# Above the 90 s after which the API server closes an idle connection: whoever closes first loses no request.
KEEPALIVE_SECONDS = 120.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Listening:
    """An open port; `guard` knows its connections."""

    port: int
    guard: Guard
    server: asyncio.Server
    runner: web.AppRunner

    async def close(self) -> None:
        """Take no new connections, answer what is under way, end the rest."""
        self.server.close()
        await self.runner.cleanup()


async def listen(
    app: web.Application,
    address: tuple[str | None, int],
    meters: Meters,
    context: ssl.SSLContext | None = None,
    *,
    most: int = MOST_CONNECTIONS,
) -> Listening:
    """Serve *app* to *most* connections at once; no host means all addresses, port 0 any.

    Raises:
        OSError: the port is in use, or not ours to open.
    """
    runner = _runner(app)

    def make() -> asyncio.BaseProtocol:
        assert runner.server is not None
        return runner.server()

    guard = app[GUARD] = Guard(make, most=most, counted=lambda reason: meters.cut.labels(reason).inc())
    await runner.setup()
    host, port = address
    server = await asyncio.get_running_loop().create_server(
        guard,
        host,
        port,
        ssl=context,
        backlog=512,
        ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
        ssl_shutdown_timeout=GOODBYE_SECONDS if context else None,
    )
    return Listening(server.sockets[0].getsockname()[1], guard, server, runner)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        logger=_http_log(),
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=GOODBYE_SECONDS,
        shutdown_timeout=FINISH_SECONDS,
        auto_decompress=False,
        handle_signals=False,
    )


def _http_log() -> logging.Logger:
    log = logging.getLogger(f"{__name__}.http")
    log.addFilter(_one_line)
    return log


def _one_line(record: logging.LogRecord) -> bool:
    """aiohttp reports what strangers send as errors of ours, with a trace."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        record.msg, record.args = "admission: request is no HTTP", ()
        record.error = error.message.partition("\n")[0]
    return True


GUARD: web.AppKey[Guard] = web.AppKey("guard", Guard)


@web.middleware
async def _framed(request: web.Request, handler: Handler) -> web.StreamResponse:
    guard = request.app[GUARD]
    guard.begun(request.protocol)
    try:
        return await handler(request)
    finally:
        guard.ended(request.protocol)


class Endpoint:
    """`draining` turns connections away, one answer each."""

    def __init__(self, admission: Admission, meters: Meters, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._admission = admission
        self._meters = meters
        self._clock = clock
        self.draining = False

    def app(self) -> web.Application:
        """The application behind TLS."""
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[_framed])
        app.router.add_post("/mutate", self._mutate)
        return app

    async def _mutate(self, request: web.Request) -> web.Response:
        begun = self._clock()
        response = await self._response(request)
        if self.draining or response.status >= 400:
            response.force_close()
        self._meters.seconds.observe(self._clock() - begun)
        return response

    async def _response(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
            return web.Response(body=await self._admission.respond(body), content_type="application/json")
        except web.HTTPRequestEntityTooLarge:
            return self._refused(413, f"the body has more than {BODY_BYTES} bytes")
        except TimeoutError:
            return self._refused(408, f"the body did not arrive within {BODY_SECONDS:g} s")
        except BadReview as error:
            return self._refused(400, str(error))
        except NotReady as error:
            return self._refused(503, str(error))

    def _refused(self, status: int, message: str) -> web.Response:
        self._meters.injections.labels("refused").inc()
        LOG.warning("admission: request refused", extra={"status": status, "error": message})
        return web.Response(status=status, text=f"{message}\n")


def health_app(trouble: Callable[[], str]) -> web.Application:
    """/healthz: the loop turns; /readyz: 503 with *trouble*, if there is any."""

    async def alive(_: web.Request) -> web.Response:
        return _json(200, {"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        reason = trouble()
        return _json(503, {"status": "not ready", "reason": reason}) if reason else _json(200, {"status": "ready"})

    app = web.Application(middlewares=[_framed])
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    return app


def metrics_app(meters: Meters, measure: Callable[[], None]) -> web.Application:
    """/metrics, in the format that is asked for; *measure* brings gauges up to date first."""

    async def metrics(request: web.Request) -> web.Response:
        measure()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(meters.registry), headers={"Content-Type": content_type})

    app = web.Application(middlewares=[_framed])
    app.router.add_get("/metrics", metrics)
    return app


def _json(status: int, content: dict[str, Any]) -> web.Response:
    return web.Response(status=status, text=json.dumps(content), content_type="application/json")
