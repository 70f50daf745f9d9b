"""`tunnel version`: the versions that matter when something is reported."""

import argparse
import platform
from typing import TYPE_CHECKING

from mtls_tunnel import __version__

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser("version", help="versions of the tunnel, Python and the OpenSSL in use")
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Print three lines: tunnel, Python, OpenSSL."""
    from mtls_tunnel import tls

    print(f"mtls-tunnel {__version__}")
    print(f"Python {platform.python_version()} ({platform.python_implementation()}, {platform.machine()})")
    print(tls.versions())
    return 0
