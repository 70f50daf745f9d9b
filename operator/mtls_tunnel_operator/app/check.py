"""`tunnel-operator check`: looks at a cluster and says in a line each what is well and what is not, with the remedy.

Nothing is written; the webhook is tried with a pod that the API server does not keep (dry run).  What the
caller's rights do not allow to look at is a warning, never a pass.  Exit code 1 when something failed, 2 when the
cluster could not be asked at all.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mtls_tunnel_operator.app.check_cluster import installation
from mtls_tunnel_operator.app.check_finding import Finding
from mtls_tunnel_operator.app.check_tunnels import tunnels
from mtls_tunnel_operator.app.check_webhook import webhook
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.credentials import connection
from mtls_tunnel_operator.errors import ApiError

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser("check", help="look at a cluster", description=__doc__, allow_abbrev=False)
    parser.add_argument("--namespace", default="mtls-tunnel-system", help="the release's (default %(default)s)")
    parser.add_argument("--name", default="mtls-tunnel", help="full name of the release (default %(default)s)")
    parser.add_argument("--only", default="", metavar="NAMESPACE", help="look at the tunnels of this namespace only")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    parser.add_argument("--quiet", action="store_true", help="leave out what is well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line for each finding."""
    try:
        findings = asyncio.run(_look(args))
    except (ApiError, OSError) as error:
        print(f"fail  API server: {error}", file=sys.stderr)
        return 2
    show(findings, args.output, args.quiet)
    return 1 if any(finding.level == "fail" for finding in findings) else 0


async def _look(args: argparse.Namespace) -> list[Finding]:
    async with Api(connection()) as api:
        return await look(api, args.namespace, args.name, args.only, time.time())


async def look(api: Api, namespace: str, name: str, only: str, now: float) -> list[Finding]:
    """Every check, in the order in which causes come before effects."""
    findings = await installation(api, namespace, name, now)
    if any(finding.level == "fail" and finding.subject == "CRDs" for finding in findings):
        return findings
    return [
        *findings,
        *await webhook(api, namespace, name, only, now),
        *await tunnels(api, namespace, name, only, now),
    ]


def show(findings: Iterable[Finding], output: str, quiet: bool) -> None:
    """Print *findings*."""
    shown = [finding for finding in findings if not quiet or finding.level != "ok"]
    if output == "json":
        print(json.dumps([finding._asdict() for finding in shown], indent=1))
        return
    for finding in shown:
        print(finding)
