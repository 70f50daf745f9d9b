"""argv becomes one command: `tunnel run | router | check | certs | demo | status | version`.

mtlsd's own form (`tunnel -config FILE`, one or two dashes, a space or `=`) is translated to `run -c`.
Only the chosen command is imported, so that a sidecar does not carry the code of the others.

Exit codes: 0 fine; 1 a failure at run time (a port in use); 2 configuration, unknown command or flag.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from mtls_tunnel.errors import ConfigError, MaterialError, TunnelError

Commands: TypeAlias = "argparse._SubParsersAction[Any]"

COMMANDS = {
    "run": "mtls_tunnel.app.run",
    "check": "mtls_tunnel.app.check",
    "certs": "mtls_tunnel.app.certs",
    "demo": "mtls_tunnel.app.demo",
    "router": "mtls_tunnel.app.router",
    "status": "mtls_tunnel.app.status",
    "version": "mtls_tunnel.app.version",
}

EXAMPLES = """\
examples:
  tunnel certs quickstart certs          a CA, a server and a client certificate
  tunnel check -c server.yaml            judge a configuration without opening a port
  tunnel run -c server.yaml              run it (also: tunnel -config server.yaml)
  tunnel router --help                   one port, many backends, by server name and SPIFFE ID
  tunnel status                          what a running tunnel is doing
  tunnel demo                            the whole story in a minute, on this machine

exit codes: 0 fine, 1 a failure at run time, 2 configuration or usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names (default: the process's own) and return its exit code."""
    words = mtlsd_form(list(sys.argv[1:] if argv is None else argv))
    args = _parser(words).parse_args(words)
    try:
        return int(args.run(args))
    except (ConfigError, MaterialError) as error:
        named = getattr(args, "config", "")  # certificates are read without knowing which file asked for them
        for problem in error.problems:
            print(replace(problem, file=problem.file or named), file=sys.stderr)
        return 2
    except TunnelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output is gone (`tunnel status | head`); the interpreter's own flush at
        # exit must not fail on the same pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def mtlsd_form(words: list[str]) -> list[str]:
    """Translate `-config FILE`, `-config=FILE` and their two-dash forms to `run -c FILE`."""
    if not words:
        return words
    flag, equals, value = words[0].partition("=")
    if flag not in ("-config", "--config"):
        return words
    return ["run", "-c", value, *words[1:]] if equals else ["run", "-c", *words[1:]]


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tunnel",
        description="Mutual TLS for any TCP service, without a change to the application.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if word in COMMANDS), None)
    for name in [chosen] if chosen else COMMANDS:
        importlib.import_module(COMMANDS[name]).add(commands)
    return parser
