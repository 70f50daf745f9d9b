"""`tunnel-operator run`: the operator as a process.

Replicas wait for the Lease; the one that has it reads the cluster, works, and ends when the Lease is lost.
SIGTERM: what can be finished within 5 s is, the Lease is given back, exit 0.
"""

# Everything of ours is started before kopf, which cancels what was started after it and takes the signals.

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mtls_tunnel_operator.app import logs
from mtls_tunnel_operator.app.cli import process_flags
from mtls_tunnel_operator.app.leading import Leading
from mtls_tunnel_operator.app.operator import Operator
from mtls_tunnel_operator.cluster.credentials import connection
from mtls_tunnel_operator.control.health import Health, health_app, metrics_app, serving
from mtls_tunnel_operator.control.meters import Meters
from mtls_tunnel_operator.control.watching.resync import OPTIONAL
from mtls_tunnel_operator.errors import ApiError

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

LOG = logging.getLogger(__name__)

STOP_SECONDS = 5.0
KOPF_SECONDS = 10.0


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser("run", help="the operator", description=__doc__, allow_abbrev=False)
    process_flags(parser)
    parser.add_argument(
        "--scope", choices=("Cluster", "Namespaces"), default="Cluster", help="where tunnels are (default %(default)s)"
    )
    parser.add_argument("--watch-namespaces", default="", metavar="A,B", help="which, with --scope Namespaces")
    parser.add_argument(
        "--secrets",
        choices=("Watch", "GetOnly"),
        default="Watch",
        help="GetOnly: read by name, neither listed nor watched (default %(default)s)",
    )
    parser.add_argument(
        "--optional-kinds",
        default="",
        metavar="A,B",
        help="of certificates, podmonitors: those that there are rights for",
    )
    parser.add_argument(
        "--lease-name", default="", help="the Lease that replicas take turns by (default NAME-operator)"
    )
    parser.add_argument("--webhook-name", default="", help="the MutatingWebhookConfiguration (default NAME)")
    parser.add_argument("--webhook-service", default="", help="the injector's Service (default NAME-injector)")
    parser.add_argument(
        "--webhook-certificate",
        choices=("Operator", "CertManager", "Existing"),
        default="Operator",
        help="who makes the injector's certificate (default %(default)s)",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """Run until a signal (0), or until it cannot go on (1)."""
    _complete(args)
    logs.configure(args.log_level, args.log_format)
    try:
        return asyncio.run(Process(args).run())
    except (ApiError, OSError) as error:
        LOG.error("operator: cannot run", extra={"error": error})
        return 1


def _complete(args: argparse.Namespace) -> None:
    """Fill in the names that follow from the release's."""
    args.watch_namespaces = tuple(filter(None, map(str.strip, args.watch_namespaces.split(","))))
    if (args.scope == "Namespaces") != bool(args.watch_namespaces):
        args.refuse("--watch-namespaces is needed with --scope Namespaces, and only then")
    args.optional_kinds = tuple(filter(None, map(str.strip, args.optional_kinds.split(","))))
    if unknown := set(args.optional_kinds) - set(OPTIONAL):
        args.refuse(f"--optional-kinds: {', '.join(sorted(unknown))}: only {' and '.join(OPTIONAL)} are optional")
    args.lease_name = args.lease_name or f"{args.name}-operator"
    args.webhook_name = args.webhook_name or args.name
    args.webhook_service = args.webhook_service or f"{args.name}-injector"


class Process:
    """A replica: waiting first, then the one that works."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._connection = connection()
        self._pod = os.environ.get("POD_NAME") or socket.gethostname()
        self._meters = Meters()
        self._health = Health()
        self._meters.leads(False)
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """The exit code."""
        self._take_signals()
        ports = (
            (health_app(self._health), self._args.health_listen),
            (metrics_app(self._meters.registry), self._args.metrics_listen),
        )
        identity = f"{self._pod}_{uuid.uuid4().hex[:12]}"
        where = self._args.namespace, self._args.lease_name
        leading = Leading(
            self._connection, *where, identity, silence=self._health.silence, answered=self._meters.answered
        )
        async with serving(*ports):
            beat = asyncio.create_task(self._health.beat())
            try:
                with leading:
                    return await self._lead(leading)
            finally:
                beat.cancel()

    async def _lead(self, leading: Leading) -> int:
        if not await self._unless_stopped(leading.acquire()):
            return 0
        self._health.leads()
        self._meters.leads(True)
        leading.keep(_end)
        operator = Operator(self._args, self._connection, leading.held, self._meters, self._health, self._pod)
        try:
            if not await self._unless_stopped(operator.start()):
                return 0
            return await self._work(operator, leading)
        finally:
            await leading.release()
            await operator.close()

    async def _work(self, operator: Operator, leading: Leading) -> int:
        """Run kopf, and end in order."""
        watching = asyncio.create_task(operator.watch(self._take_signals))
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({watching, stopped, *operator.tasks}, return_when=asyncio.FIRST_COMPLETED)
        code = 0 if self._stop.is_set() else 1
        self._health.stopping = True
        LOG.info("operator: stopping", extra={"signal": code == 0})
        if not await operator.stop(STOP_SECONDS):
            LOG.warning("operator: work under way is given up", extra={"seconds": STOP_SECONDS})
        await leading.release()
        await asyncio.wait({watching}, timeout=KOPF_SECONDS)
        watching.cancel()
        await asyncio.wait({watching}, timeout=KOPF_SECONDS)
        # kopf leaves streams for the loop to close, which then complains of each at ERROR.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        for task in (watching, *operator.tasks):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                LOG.error("operator: ended by an error", exc_info=error)
        stopped.cancel()
        return code

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether *work* was done before a signal came."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            task.result()
            return not self._stop.is_set()
        task.cancel()
        await asyncio.wait({task})
        return False

    def _take_signals(self) -> None:
        """SIGTERM and SIGINT set a flag; a second one does what it would have done without us."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._stop.set()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)


def _end(reason: str) -> None:
    """End at once: whatever is under way may write no more."""
    LOG.error("lease: lost, ending now: %s", reason)
    sys.stdout.flush()
    os._exit(1)
