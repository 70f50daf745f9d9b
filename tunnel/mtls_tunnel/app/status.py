"""`tunnel status`: ask a running tunnel what it is doing, and print the answer as a table.

Reads /statusz of its health listener, which answers on the tunnel's own machine only.  Exit code 0, or 1
with one sentence when nothing, or nothing that is a tunnel, answers.
"""

import argparse
import http.client
import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from mtls_tunnel.app.status_table import draw
from mtls_tunnel.config.addresses import parse
from mtls_tunnel.config.schema import Address, Health
from mtls_tunnel.errors import TunnelError

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

TIMEOUT_SECONDS = 5.0
WATCH_SECONDS = 2.0
_MAX_BODY_BYTES = 16 * 1024 * 1024

EXAMPLES = """\
examples:
  tunnel status                          the tunnel on this machine
  tunnel status --watch                  redrawn every two seconds, until Ctrl-C
  tunnel status --admin 127.0.0.1:9100   another health.listen
  tunnel status --json | jq .tunnels
"""


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "status",
        help="what a running tunnel is doing",
        description="A table of the tunnels, certificates and live connections of a running tunnel.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Health().listen
    parser.add_argument(
        "--admin", metavar="ADDR", type=_address, default=default, help=f"its health.listen (default {default})"
    )
    parser.add_argument("--json", action="store_true", help="print the answer itself")
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print once, or until interrupted; the caller prints what is raised."""
    show = _show_json if args.json else _show_table
    if not args.watch:
        show(fetch(args.admin), sys.stdout)
        return 0
    return watch(lambda: fetch(args.admin), sys.stdout, redraw=sys.stdout.isatty() and not args.json, show=show)


def watch(
    ask: Callable[[], Any],
    out: TextIO,
    *,
    redraw: bool,
    show: Callable[[Any, TextIO], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show what *ask* returns every two seconds; with *redraw* in the same place.  Ctrl-C ends it with 0."""
    if redraw:
        out.write("\x1b[2J")
    try:
        while True:
            page = ask()
            _redraw(page, out) if redraw else show(page, out)
            out.flush()
            pause(WATCH_SECONDS)
    except KeyboardInterrupt:
        out.write("\n")
        return 0


def fetch(admin: Address) -> Any:
    """The page of the tunnel at *admin*.

    Raises:
        TunnelError: nothing answers there, or it is no tunnel, or it does not talk to this machine.
    """
    connection = http.client.HTTPConnection(admin.host or "127.0.0.1", admin.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/statusz")
        response = connection.getresponse()
        body = response.read(_MAX_BODY_BYTES)
    except TimeoutError as error:
        raise TunnelError(f"no answer from {admin} within {TIMEOUT_SECONDS:.0f} seconds") from error
    except OSError as error:
        why = error.strerror or str(error)
        remedy = "is it running, with health.enabled: true? --admin names another address"
        raise TunnelError(f"no tunnel answers on {admin}: {why} - {remedy}") from error
    except http.client.HTTPException as error:
        raise TunnelError(f"what answers on {admin} does not speak HTTP - --admin wants health.listen") from error
    finally:
        connection.close()
    return _page(admin, response.status, body)


def _page(admin: Address, status: int, body: bytes) -> Any:
    if status == http.client.FORBIDDEN:
        raise TunnelError(f"{admin} shows its status only to clients on its own machine - run this command there")
    try:
        page = json.loads(body) if status == http.client.OK else None
    except ValueError:
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("tunnels"), list):
        raise TunnelError(f"what answers on {admin} has no status page (HTTP {status}) - --admin wants health.listen")
    return page


def _show_json(page: Any, out: TextIO) -> None:
    out.write(json.dumps(page) + "\n")


def _show_table(page: Any, out: TextIO) -> None:
    out.write("\n".join(draw(page)) + "\n")


def _redraw(page: Any, out: TextIO) -> None:
    """Over the last page, cut to the terminal; erasing line by line does not flicker."""
    width, height = shutil.get_terminal_size()
    lines = [line[:width] for line in draw(page)[: height - 1]]
    out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")


def _address(text: str) -> Address:
    try:
        return parse(text, listening=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
