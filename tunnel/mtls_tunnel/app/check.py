"""`tunnel check`: judge a configuration and everything it names, without opening a port.

What would be served goes to stdout, warnings and errors to stderr.  Nothing is resolved or dialled.
Exit code 0, or 2 for a fault.  A certificate of its own that has expired is one, although `tunnel run` would start with
it and say on /readyz that it is not ready.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from mtls_tunnel.app import generation, sources
from mtls_tunnel.app.generation import Prepared
from mtls_tunnel.app.routing import leads_to, open_store
from mtls_tunnel.config.durations import text as duration
from mtls_tunnel.errors import ConfigError, Problem
from mtls_tunnel.trust.material import Material

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

EXAMPLES = """\
examples:
  tunnel check -c server.yaml
  tunnel check -c /etc/tunnel.d --process /etc/tunnel.yaml
"""


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "check",
        help="parse, load and judge everything, open no port",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sources.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Report on the configuration; the caller prints what is raised."""
    loaded = sources.read(args.config, args.process)
    for problem in loaded.warnings:
        print(f"warning: {problem}", file=sys.stderr)
    now = time.time()
    made = generation.prepare(loaded.config, now=time.time)
    expired = []
    for prepared in made.prepared.values():
        if prepared.tunnel.router is not None:
            open_store(prepared.tunnel.router)
        for material in prepared.materials():
            for warning in material.warnings:
                print(f"warning: {warning.file}: {warning.msg.removeprefix('certstore: ')}", file=sys.stderr)
            if material.expired(now):
                remedy = "renew it; the peers refuse it as it is"
                expired.append(
                    Problem(material.cert_path, "", f"the certificate expired at {_utc(material.leaf)}", remedy)
                )
        print("\n".join(_lines(prepared, now)))
    if expired:
        raise ConfigError(*expired)
    return 0


def _lines(prepared: Prepared, now: float) -> list[str]:
    tunnel = prepared.tunnel
    proxy = tunnel.proxy
    lines = [
        f"{tunnel.name or 'tunnel'}: {tunnel.mode}, listens on {tunnel.listen}, leads to {leads_to(tunnel)}",
        f"  at most {proxy.max_connections} connections, dial {duration(proxy.dial_timeout_seconds)},"
        f" idle {duration(proxy.idle_timeout_seconds) if proxy.idle_timeout_seconds else 'never'}",
    ]
    for side, material in (("accepts with", prepared.inbound), ("dials with", prepared.outbound)):
        if material is not None:
            lines += _describe(side, material, now)
    return lines


def _describe(side: str, material: Material, now: float) -> list[str]:
    leaf = material.leaf
    days = int((leaf.not_valid_after_utc.timestamp() - now) // 86400)
    subject = leaf.subject.rfc4514_string() or "(no subject)"
    lines = [f"  {side} {subject}: until {_utc(leaf)} ({days} days), {len(material.chain)} intermediate(s)"]
    lines += [f"  trusts {anchor.subject.rfc4514_string()}" for anchor in material.bundle]
    lines += [
        f"  trusts {anchor.subject.rfc4514_string()} for spiffe://{domain} only"
        for domain, anchors in material.trust
        for anchor in anchors
    ]
    if material.crls is not None:
        lines.append(f"  checks {len(material.crls)} revocation list(s)")
    return lines


def _utc(leaf: x509.Certificate) -> str:
    return datetime.fromtimestamp(leaf.not_valid_after_utc.timestamp(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
