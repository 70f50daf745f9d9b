"""`tunnel-operator COMMAND`: what each command is and which module runs it.

A module is imported only when its command was asked for: the injector must not carry kopf, and `version` needs
nothing.  Each has `add(commands)`, which registers its parser, and `run(args) -> exit code`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = {
    "run": "the operator: certificates, configuration, rollouts (needs a cluster)",
    "injector": "the admission endpoint that puts sidecars into pods (needs a cluster)",
    "inject": "print pods with their sidecars, without a cluster",
    "render": "print what would be applied for a resource, without a cluster",
    "check": "look at a cluster and say what is wrong, one line each",
    "hook": "what the chart's Jobs run",
    "version": "print versions",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the process's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser_of(words).parse_args(words)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has had enough, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit's flush would complain again
        return 0


def parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for *words*: only the command among them is read from its module."""
    parser = argparse.ArgumentParser(
        prog="tunnel-operator", description="mTLS between pods, without a change to applications.", allow_abbrev=False
    )
    commands: Commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, about in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"mtls_tunnel_operator.app.{name}").add(commands)
        else:
            commands.add_parser(name, help=about)
    return parser


def process_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that both long-running commands have."""
    home = os.environ.get("POD_NAMESPACE", "")
    parser.add_argument("--namespace", default=home, required=not home, help="the release's (default $POD_NAMESPACE)")
    parser.add_argument("--name", required=True, help="full name of the release: objects of the chart begin with it")
    parser.add_argument(
        "--health-listen", type=address, default=":8080", metavar="ADDRESS", help="/healthz, /readyz (default :8080)"
    )
    parser.add_argument(
        "--metrics-listen", type=address, default=":8081", metavar="ADDRESS", help="/metrics (default :8081)"
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default %(default)s"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="default %(default)s")


def address(text: str) -> tuple[str | None, int]:
    """Host and port of ":8080", "127.0.0.1:8080" or "[::1]:8080"; no host means every address."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write :8080 or 127.0.0.1:8080")
    return host.strip("[]") or None, int(port)
