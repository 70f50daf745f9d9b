"""`tunnel-operator version`: of the operator, of Python and OpenSSL, and of the libraries that matter for security."""

import argparse
import platform
import ssl
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mtls_tunnel_operator import __version__

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

LIBRARIES = ("cryptography", "aiohttp", "kopf")


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser("version", help="print versions", description=__doc__)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print a line for each."""
    print(f"tunnel-operator {__version__}")
    print(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    for name in LIBRARIES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    return 0
