"""What the health and metrics listeners serve, and on which addresses they do it.

The pages ask for the state of the process when they are read.  `serve` moves the listeners to what a
configuration wants: new addresses are bound before old ones close, and a failure leaves all as it was.
"""

import logging
from collections.abc import Callable, Mapping

from mtls_tunnel.config.schema import Address, Config
from mtls_tunnel.errors import ListenError
from mtls_tunnel.observe import health
from mtls_tunnel.observe.admin import Admin
from mtls_tunnel.observe.exchange import Request, Response, Route, local_only, refusal
from mtls_tunnel.observe.health import Answer, Snapshot
from mtls_tunnel.observe.logs import emit
from mtls_tunnel.observe.metrics import Meters

HEALTH_PATHS = ("/healthz", "/readyz", "/certz", "/statusz")
METRICS_PATHS = ("/metrics",)


class Pages:
    """Owns the admin listeners.  `snapshot`, `status` and `meters` are asked at each request."""

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        status: Callable[[], bytes],
        meters: Callable[[], Meters],
        now: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        self._status = status
        self._meters = meters
        self._now = now
        self._listeners: dict[Address, Admin] = {}
        self._served: dict[Address, frozenset[str]] = {}

    async def serve(self, config: Config) -> None:
        """Listen where *config* wants it, and say so for what is new.

        Raises:
            ListenError: an address cannot be bound; the listeners are as they were.
        """
        wanted = _wanted(config)
        started: dict[Address, Admin] = {}
        closed: list[Admin] = []
        try:
            for address in wanted.keys() - self._listeners.keys():
                setting = "health.listen" if "/healthz" in wanted[address] else "metrics.listen"
                started[address] = Admin(address, self._routes(address), setting=setting)
                # Another address on a port that is ours already: only one of them can have it.
                for leaving in self._listeners.keys() - wanted.keys():
                    if leaving.port == address.port:
                        closed.append(self._listeners[leaving])
                        await closed[-1].stop()
                await started[address].start()
        except ListenError:
            for admin in started.values():
                await admin.stop()
            for admin in closed:
                await admin.start()
            raise
        if METRICS_PATHS[0] in frozenset().union(*wanted.values()):
            self._meters().warm()
        old = self._listeners
        self._listeners = {address: started.get(address) or old[address] for address in wanted}
        before, self._served = self._served, wanted
        for address, admin in old.items():
            if address not in wanted:
                await admin.stop()
        self._announce(config, before)

    def _announce(self, config: Config, before: Mapping[Address, frozenset[str]]) -> None:
        for name, section, path in (
            ("health", config.health, HEALTH_PATHS[0]),
            ("metrics", config.metrics, METRICS_PATHS[0]),
        ):
            if section.enabled and path not in before.get(section.listen, frozenset()):
                emit(logging.INFO, f"{name} server listening", addr=self._listeners[section.listen].listen)

    async def stop(self) -> None:
        """Close every listener and its connections."""
        for admin in self._listeners.values():
            await admin.stop()
        self._listeners.clear()

    def _routes(self, address: Address) -> dict[str, Route]:
        pages: dict[str, Route] = {
            "/healthz": lambda _: _json(health.healthz()),
            "/readyz": lambda _: _json(health.readyz(self._snapshot(), self._now())),
            "/certz": lambda _: _json(health.certz(self._snapshot(), self._now())),
            "/statusz": local_only(lambda _: Response(200, self._status())),
            "/metrics": self._metrics,
        }
        return {path: self._if_served(address, path, page) for path, page in pages.items()}

    def _if_served(self, address: Address, path: str, page: Route) -> Route:
        # A reload may enable or disable either set of pages on an address that stays bound.
        def asked(request: Request) -> Response:
            if path in self._served.get(address, ()):
                return page(request)
            return refusal(404, "no such page")

        return asked

    def _metrics(self, request: Request) -> Response:
        content_type, body = self._meters().render(request.accept)
        return Response(200, body, content_type)


def _wanted(config: Config) -> dict[Address, frozenset[str]]:
    wanted: dict[Address, frozenset[str]] = {}
    for section, paths in ((config.health, HEALTH_PATHS), (config.metrics, METRICS_PATHS)):
        if section.enabled:
            wanted[section.listen] = wanted.get(section.listen, frozenset()) | frozenset(paths)
    return wanted


def _json(answer: Answer) -> Response:
    status, body = answer
    return Response(status, body)
