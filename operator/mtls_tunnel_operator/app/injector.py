"""`tunnel-operator injector`: the admission endpoint as a process of its own.

It reads, decides and answers; it writes nothing and holds no Lease, so that any number of replicas may run.
SIGTERM: /readyz turns 503, connections are asked to go elsewhere for `--drain-seconds`, requests under way
are finished, exit 0.  A second signal ends at once.
"""

# Never imported from here: kopf and kubernetes.

import argparse
import asyncio
import logging
import signal
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from mtls_tunnel_operator import __version__
from mtls_tunnel_operator.app import logs
from mtls_tunnel_operator.app.cli import address, process_flags
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.credentials import connection
from mtls_tunnel_operator.errors import ApiError, AuthorityError
from mtls_tunnel_operator.injection.admission import Admission
from mtls_tunnel_operator.injection.cache import Cache
from mtls_tunnel_operator.injection.live import Looks
from mtls_tunnel_operator.injection.meters import Meters
from mtls_tunnel_operator.injection.server import Endpoint, Listening, health_app, listen, metrics_app
from mtls_tunnel_operator.injection.serving import Serving
from mtls_tunnel_operator.injection.world import World

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

LOG = logging.getLogger(__name__)


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser("injector", help="the admission endpoint", description=__doc__, allow_abbrev=False)
    process_flags(parser)
    parser.add_argument("--listen", type=address, default=":9443", metavar="ADDRESS", help="HTTPS (default :9443)")
    parser.add_argument("--serving-secret", default="", help="with tls.crt and tls.key (default NAME-webhook-tls)")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="go on answering for so long after SIGTERM (default 5)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until a signal; 0 after it, 1 if it could not start."""
    logs.configure(args.log_level, args.log_format)
    try:
        return asyncio.run(Injector(args).run())
    except (ApiError, OSError) as error:
        LOG.error("injector cannot run", extra={"error": error})
        return 1


class Injector:
    """Everything of one process, wired."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._api = Api(connection(), may_write=lambda: False, user_agent=f"mtls-tunnel-injector/{__version__}")
        self._meters = Meters()
        self._world = World(args.namespace)
        self._serving = Serving()
        self._cache = Cache(
            self._api,
            self._world,
            self._meters,
            time.monotonic,
            namespace=args.namespace,
            defaults=f"{args.name}-defaults",
            secret=args.serving_secret or f"{args.name}-webhook-tls",
            serve=self._serve,
        )
        looks = Looks(self._api, time.monotonic, counted=lambda result: self._meters.looks.labels(result).inc())
        self._looks = looks
        self._admission = Admission(self._world, looks, self._meters, lambda: self._cache.synced)
        self._endpoint = Endpoint(self._admission, self._meters)
        self._draining = False
        self._listening: Listening | None = None  # the admission port

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT."""
        stop = _stop_signal()
        args, meters = self._args, self._meters
        async with self._api:
            health = await listen(health_app(self.trouble), args.health_listen, meters)
            metrics = await listen(metrics_app(meters, self.measure), args.metrics_listen, meters)
            admission = await listen(self._endpoint.app(), args.listen, meters, self._serving.context)
            self._listening = admission
            where = {"admission": admission.port, "health": health.port, "metrics": metrics.port}
            LOG.info("injector listening", extra={**where, "version": __version__})
            following = asyncio.create_task(self._cache.run())
            try:
                await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():  # a mistake of ours: be started again rather than go stale
                    LOG.error("injector ended by an error", exc_info=following.exception())
                    return 1
                await self._drain(admission)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await self._looks.close()
                for one in (metrics, health):
                    await one.close()
        LOG.info("injector stopped")
        return 0

    def trouble(self) -> str:
        """Why /readyz is 503, "" if it is not."""
        if self._draining:
            return "draining"
        return self._cache.trouble() or self._serving.trouble(time.time())

    def measure(self) -> None:
        """Bring the gauges up to date."""
        self._cache.measure()
        self._meters.not_after.set(self._serving.not_after or 0)
        self._meters.open.set(len(self._listening.guard.open) if self._listening else 0)

    async def _drain(self, admission: Listening) -> None:
        LOG.info("injector draining", extra={"seconds": self._args.drain_seconds})
        self._draining = self._endpoint.draining = True
        await asyncio.sleep(self._args.drain_seconds)
        await admission.close()

    def _serve(self, secret: dict[str, Any]) -> None:
        """The serving Secret as it is now."""
        name = secret["metadata"]["name"]
        try:
            chain, key = (b64decode((secret.get("data") or {}).get(item, "")) for item in ("tls.crt", "tls.key"))
            changed = self._serving.publish(chain, key, time.time())
        except (AuthorityError, ValueError) as error:
            self._meters.swaps.labels("failed").inc()
            LOG.error("serving certificate not taken: the last good one stays", extra={"object": name, "error": error})
            return
        if changed:
            self._meters.swaps.labels("ok").inc()
            said = {"object": name, "not_after": logs.moment(self._serving.not_after or 0)}
            LOG.info("serving certificate loaded", extra={**said, "sha256": self._serving.fingerprint})


def _stop_signal() -> asyncio.Future[None]:
    """Done with the first SIGTERM or SIGINT; the second one then ends the process as usual."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def stopped() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped)
    return stop
