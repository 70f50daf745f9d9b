"""The active operator, wired: the only place where its parts are made and know each other.

watches (kopf, ours) -> view -> queue -> reconcilers -> API server
"""

import argparse
import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

from mtls_tunnel_operator import __version__, names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.credentials import Connection
from mtls_tunnel_operator.cluster.events import Events
from mtls_tunnel_operator.control.concerns import is_urgent
from mtls_tunnel_operator.control.domains.reconcile import Domains
from mtls_tunnel_operator.control.health import Health
from mtls_tunnel_operator.control.meters import Meters
from mtls_tunnel_operator.control.queue import Item, Queue
from mtls_tunnel_operator.control.tunnels.reconcile import Reconciler
from mtls_tunnel_operator.control.view import Change, View
from mtls_tunnel_operator.control.watching.handlers import Sight, follow_optional, registry_of, session, settings_of
from mtls_tunnel_operator.control.watching.installation import Installation
from mtls_tunnel_operator.control.watching.lean_kopf import kopf
from mtls_tunnel_operator.control.watching.resync import OPTIONAL, Resync, Selection
from mtls_tunnel_operator.control.webhook.reconcile import Webhook
from mtls_tunnel_operator.errors import ApiError, OperatorError
from mtls_tunnel_operator.model.resources import Key

LOG = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
SPREAD_SECONDS = 300.0  # over which the tunnels are looked at after a comparison
RETRY_SECONDS = 2.0
WORKERS = 8
DEFAULT_DOMAIN = Item("domain")  # the chore of making it, if it is not there


class Operator:
    """`await start()`, then `watch()` until kopf ends; `stop()` and `close()` whatever happened."""

    def __init__(
        self,
        args: argparse.Namespace,
        connection: Connection,
        may_write: Callable[[], bool],
        meters: Meters,
        health: Health,
        pod: str,
    ) -> None:
        self._connection = connection
        self._identity = pod
        self._meters = meters
        self._health = health
        self._now: Callable[[], float] = time.time
        unwatched = tuple(plural for plural in OPTIONAL if plural not in args.optional_kinds)
        unwatched += ("secrets",) if args.secrets == "GetOnly" else ()
        self._selection = Selection(webhook=args.webhook_name, namespaces=args.watch_namespaces, unwatched=unwatched)
        self._namespaces = args.watch_namespaces
        self.view = View(namespaces=args.watch_namespaces, unwatched=unwatched)
        self.api = Api(
            connection,
            may_write=may_write,
            observe=self.view.observe,
            forget=self.view.forget,
            answered=meters.answered,
            user_agent=f"mtls-tunnel-operator/{__version__} ({pod})",
        )
        self.queue = self._make_queue()
        self._sight = Sight(self.view, self.queue, self._now)
        self._resync = Resync(self.api, self.view, self._selection, self._missed)
        self._events = Events(self.api, pod, now=self._now)
        self._installation = Installation(self.api, args.namespace, args.name, self._everything_again)
        self._domains = self._make_domains(args)
        self._reconciler = self._make_reconciler()
        self._webhook = self._make_webhook(args)
        self._stop_flag = asyncio.Event()
        self._filled = False
        self.tasks: list[asyncio.Task[Any]] = []

    def _make_queue(self) -> Queue[Item]:
        queue = Queue(
            self._work,
            workers=WORKERS,
            urgent=lambda item: is_urgent(item, self.view),
            now=self._now,
            counts=self._meters,
        )
        self._meters.watch_queue(lambda: queue.depth, lambda: queue.waiting)
        return queue

    def _make_domains(self, args: argparse.Namespace) -> Domains:
        return Domains(
            self.api,
            self.view,
            self._events,
            defaults=self._installation.defaults,
            namespace=args.namespace,
            now=self._now,
            meters=self._meters,
            changed=self._signer_changed,
        )

    def _make_reconciler(self) -> Reconciler:
        return Reconciler(
            self.api,
            self.view,
            self._domains,
            events=self._events,
            meters=self._meters,
            defaults=self._installation.defaults,
            now=self._now,
        )

    def _make_webhook(self, args: argparse.Namespace) -> Webhook:
        return Webhook(
            self.api,
            namespace=args.namespace,
            name=args.webhook_name,
            service=args.webhook_service,
            cluster_domain=lambda: self._installation.defaults().cluster_domain,
            mode=args.webhook_certificate,
            now=self._now,
            expires=self._meters.webhook_certificate,
        )

    # From nothing to work.

    async def start(self) -> None:
        """Wait for the CRDs and the defaults, read the cluster, make the trust domains ready, begin to work."""
        await self._until(self._is_served, f"the CRDs of {names.GROUP}: install the chart, or crds/")
        self._health.begins()
        self._begin(self._installation.follow(), self._events.run())
        await self._installation.ready()
        await self._until(self._compare, "a whole view of the cluster")
        self._filled = True
        await self._until(self._prepare_domains, "the trust domains")
        for item in (Item("webhook"), Item("copies")):
            self.queue.add(item)
        for key in (*self.view.tunnels, *self.view.broken):
            self.queue.add(Item("tunnel", *key))
        self.queue.add(Item("resync"), self._now() + RESYNC_SECONDS)
        self._begin(self.queue.run(), follow_optional(self.api, self._selection, self._sight))
        LOG.info("operator: working", extra={"tunnels": len(self.view.tunnels), "namespaces": len(self.view.spaces)})

    async def watch(self, started: Callable[[], None]) -> None:
        """Run kopf until it is stopped or fails; *started* is called when it has taken the signals."""
        ready = asyncio.Event()
        self._begin(_afterwards(ready, started))
        where: dict[str, Any] = {"namespaces": list(self._namespaces)} if self._namespaces else {"clusterwide": True}
        await kopf.operator(
            registry=registry_of(self._selection, self._sight, lambda: session(self._connection)),
            settings=settings_of(self._selection),
            standalone=True,
            # kopf would make one up from the user's name, which a container does not have.
            identity=cast(Any, self._identity),
            stop_flag=self._stop_flag,
            ready_flag=ready,
            memo=(),  # kopf keeps a copy for each object that it has ever seen
            **where,
        )

    async def stop(self, seconds: float) -> bool:
        """No new work; whether what was under way ended.  kopf is told to end too."""
        ended = await self.queue.stop(seconds)
        await self._events.drain()
        self._stop_flag.set()
        return ended

    async def close(self) -> None:
        """End what is still there."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.api.close()

    def _begin(self, *work: Any) -> None:
        self.tasks += [asyncio.create_task(each) for each in work]

    async def _until(self, attempt: Callable[[], Any], what: str) -> None:
        """Try until it works; the reason is said when it changes."""
        told = ""
        while True:
            try:
                if await attempt() is not False:
                    return
                why = "not there yet"
            except OperatorError as error:
                why = str(error)
            if why != told:
                LOG.warning("operator: waiting for %s: %s", what, why)
                told = why
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_served(self) -> bool:
        return await self.api.serves(names.TUNNELS) and await self.api.serves(names.DOMAINS)

    async def _compare(self) -> None:
        found = await self._resync.everything()
        self._health.resynced()
        self._meters.resynced(self._now())
        LOG.debug("operator: compared with the cluster", extra={"changes": found})

    async def _prepare_domains(self) -> None:
        """Before the first tunnel asks for a signer: it would be told that there is none, and say so in its status."""
        try:
            await self._domains.ensure_default()
        except ApiError as error:  # others may work all the same
            LOG.warning("domain: the default one cannot be made: %s", error)
            self.queue.add(DEFAULT_DOMAIN, self._now() + RETRY_SECONDS)
        for name in (*self.view.domains, *self.view.broken_domains):
            try:
                again = await self._domains.reconcile(name)
            except ApiError as error:
                LOG.warning("domain %s: %s", name, error)
                again = None
                self.queue.add(Item("domain", "", name))
            if again is not None:
                self.queue.add(Item("domain", "", name), again)

    # Work.

    async def _work(self, item: Item) -> float | None:
        match item.kind:
            case "tunnel":
                return await self._reconciler.tunnel(Key(item.namespace, item.name))
            case "domain" if item == DEFAULT_DOMAIN:
                await self._domains.ensure_default()
            case "domain":
                return await self._domains.reconcile(item.name)
            case "space":
                await self._resync.space(item.name)
            case "webhook":
                return await self._webhook.reconcile()
            case "copies":
                await self._reconciler.sweep()
            case "resync":
                return await self._compare_again()
        return None

    async def _compare_again(self) -> float:
        await self._compare()
        self.queue.add(DEFAULT_DOMAIN)
        self._everything_again()
        return self._now() + RESYNC_SECONDS

    def _everything_again(self) -> None:
        """Look at all there is, spread over some minutes: this finds what nothing tells of."""
        self.queue.add(Item("webhook"))
        self.queue.add(Item("copies"))
        for name in (*self.view.domains, *self.view.broken_domains):
            self.queue.add(Item("domain", "", name))
        keys = (*self.view.tunnels, *self.view.broken)
        for number, key in enumerate(keys):
            self.queue.add(Item("tunnel", *key), self._now() + SPREAD_SECONDS * number / len(keys))

    def _missed(self, change: Change) -> None:
        """A comparison found what no watch had told; the first one finds everything, and everything is queued then."""
        if self._filled:
            self._meters.corrected(change.ref.plural)
            self._sight.changed(change)

    def _signer_changed(self, name: str) -> None:
        """A trust domain signs otherwise: its tunnels look at their leaves and bundles."""
        default = self._installation.defaults().trust_domain_name
        for key, tunnel in self.view.tunnels.items():
            issuer = tunnel.certificate.issuer
            if issuer.kind == "MtlsTrustDomain" and (issuer.name or default) == name:
                self.queue.add(Item("tunnel", *key))


async def _afterwards(flag: asyncio.Event, action: Callable[[], None]) -> None:
    await flag.wait()
    action()
