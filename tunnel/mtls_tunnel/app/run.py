"""`tunnel run -c FILE`: read, judge, then serve until a signal ends it."""

import argparse
import os
import resource
import sys
from typing import TYPE_CHECKING

from mtls_tunnel.app import sources
from mtls_tunnel.config.load import Loaded

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

EXAMPLES = """\
examples:
  tunnel run -c server.yaml
  tunnel -config server.yaml                            the same, as mtlsd spells it
  tunnel run -c /etc/tunnel.d --process /etc/tunnel.yaml  every *.yaml and */tunnel.yaml of a directory

signals:
  HUP          read everything again: certificates, CRLs, ACL, limits, tunnels
  TERM, INT    stop accepting, let connections finish, exit 0; a second one ends at once with 1
"""


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "run",
        help="run the tunnels of a configuration",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sources.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; the exit code says how it ended.  Errors before the first listener are raised."""
    return serve(args.config, args.process, sources.read(args.config, args.process))


def serve(config: str, process: str, loaded: Loaded) -> int:
    """Serve what was *loaded* from *config*; "" if no file says it, so that only certificates can change."""
    _raise_descriptor_limit()
    from mtls_tunnel.app import server

    code = server.run(config, process, loaded)
    sys.stdout.flush()
    if code:
        # A second signal must end at once: no joining of threads, no draining of the event loop.
        os._exit(code)
    return code


def _raise_descriptor_limit() -> None:
    """Two descriptors a connection: the soft limit of 1,024 is there for select(), not for us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
