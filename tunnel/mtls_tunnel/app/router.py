"""`tunnel router`: one mTLS port for many backends; `tunnel router init-db`: the tables and triggers of its database.

Flags are written with one dash or two, and mean the same as a file with mode: router.  Without --routes the rows
are in PostgreSQL.
"""

# The flags become the text of such a file, so that both are judged alike.

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from mtls_tunnel.app import init_db, sources
from mtls_tunnel.config.load import Loaded, Source, load
from mtls_tunnel.config.routing import ROUTER, STORE

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

EXAMPLES = """\
examples:
  tunnel router --ca-certs=ca.pem --server-cert=s.crt --server-key=s.key --routes=routes.yaml
  tunnel router --listen=:8443 --ca-certs=a.pem,b.pem --server-cert=s.crt --server-key=s.key \\
      --issuer=tinyscale.com --db-host=127.0.0.1 --db-user=tinyscale --db-name=tinyscale-ssh
  tunnel router -c router.yaml               the same as a file, with mode: router
  tunnel router init-db                      print the tables and the NOTIFY triggers
  tunnel router init-db --apply --db-user=postgres

The password of the database: --db-password, else PGPASSWORD, else a pgpass file, else the default.
"""

_FILES = ("ca-certs", "server-cert", "server-key")


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "router",
        help="one mTLS port, many backends: SNI names the host, the certificate the user",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", nargs="?", choices=["init-db"], help="print or --apply the schema of the database")
    parser.add_argument("-c", "--config", metavar="FILE", default="", help="a configuration file, in place of flags")
    _add_serving(parser)
    _add_store(parser)
    parser.add_argument("--apply", action="store_true", help="init-db: run the statements instead of printing them")
    parser.set_defaults(run=run)


def _add_serving(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--listen", "-listen", metavar="ADDR", help="address to accept on (default :8443)")
    flag("--ca-certs", "-ca-certs", metavar="A,B", help="CAs that sign the users' certificates (required)")
    flag("--server-cert", "-server-cert", metavar="FILE", help="certificate of the router (required)")
    flag("--server-key", "-server-key", metavar="FILE", help="its private key (required)")
    flag("--issuer", "-issuer", metavar="DOMAIN", help=f"SPIFFE trust domain of the users (default {ROUTER.issuer})")
    flag("--domain", "-domain", metavar="DOMAIN", help=f"server names are ID.DOMAIN (default {ROUTER.domain})")
    flag("--default-port", "-default-port", metavar="PORT", help="for a host without one (default 22)")
    flag("--min-version", "-min-version", metavar="VERSION", help="TLS1.2 (default) or TLS1.3")
    flag("--health", "-health", metavar="ADDR", help="serve /healthz and /readyz there (off without)")
    flag("--metrics", "-metrics", metavar="ADDR", help="serve /metrics there (off without)")
    flag("--log-level", "-log-level", metavar="LEVEL", help="debug, info (default), warn, error")


def _add_store(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--routes", "-routes", metavar="FILE", help="a YAML file of hosts, teams and users, in place of a database")
    flag("--db-host", "-db-host", metavar="HOST", help=f"default {STORE.db_host}")
    flag("--db-port", "-db-port", metavar="PORT", help=f"default {STORE.db_port}")
    flag("--db-user", "-db-user", metavar="USER", help=f"default {STORE.db_user}")
    flag("--db-password", "-db-password", metavar="WORD", help="visible to others in ps: prefer PGPASSWORD")
    flag("--db-name", "-db-name", metavar="NAME", help=f"default {STORE.db_name}")
    flag("--cache", "-cache", metavar="TIME", help="how long an answer serves (default 5s)")
    flag("--stale", "-stale", metavar="TIME", help="how long beyond that with the database away (default 60s, 0 never)")


def run(args: argparse.Namespace) -> int:
    """Serve, or print or apply the schema; errors of configuration are raised."""
    flags = given(vars(args))
    if args.action == "init-db":
        return init_db.run(args, flags)
    from mtls_tunnel.app.run import serve

    if args.config:
        if flags or args.apply:
            names = ", ".join(f"--{name}" for name in flags) or "--apply"
            print(f"error: {names} beside -c: write it into {args.config}", file=sys.stderr)
            return 2
        loaded = sources.read(args.config)
        other = next((tunnel.mode for tunnel in loaded.config.tunnels if tunnel.mode != "router"), "")
        if other:
            print(f"error: {args.config} has mode {other}: tunnel run -c {args.config}", file=sys.stderr)
            return 2
        return serve(args.config, "", loaded)
    missing = [f"--{name}" for name in _FILES if name not in flags]
    if missing:
        print(f"error: {', '.join(missing)} missing: give all three, or -c FILE", file=sys.stderr)
        return 2
    if args.apply:
        print("error: --apply belongs to: tunnel router init-db", file=sys.stderr)
        return 2
    if "db-password" in flags:
        print("warning: --db-password is visible to others in ps: use PGPASSWORD or a pgpass file", file=sys.stderr)
    return serve("", "", from_flags(flags))


def given(values: Mapping[str, Any]) -> dict[str, str]:
    """The flags that were given, by their names."""
    others = ("action", "config", "apply", "command", "run")
    return {
        name.replace("_", "-"): str(value) for name, value in values.items() if value is not None and name not in others
    }


def from_flags(flags: Mapping[str, str]) -> Loaded:
    """The configuration that *flags* stand for.

    Raises:
        ConfigError: a value cannot be taken; it is named by its place in a file with mode: router.
    """
    return load([Source("command line", text_of(flags))])


def text_of(flags: Mapping[str, str]) -> str:
    """The file that says what *flags* say."""
    whole: dict[str, Any] = {
        "mode": "router",
        "listen": flags.get("listen", ":8443"),
        "tls": {
            "cert": flags["server-cert"],
            "key": flags["server-key"],
            "ca": [name for name in flags["ca-certs"].split(",") if name],
            **({"min_version": flags["min-version"]} if "min-version" in flags else {}),
        },
        "router": _router(flags),
    }
    for section in ("health", "metrics"):
        if section in flags:
            whole[section] = {"enabled": True, "listen": flags[section]}
    if "log-level" in flags:
        whole["logging"] = {"level": flags["log-level"]}
    return yaml.safe_dump(whole)


def _router(flags: Mapping[str, str]) -> dict[str, Any]:
    store: dict[str, Any] = {"type": "file" if "routes" in flags else "postgresql"}
    if "routes" in flags:
        store["file"] = flags["routes"]
    for name in ("db-host", "db-user", "db-password", "db-name", "cache", "stale"):
        if name in flags:
            store[name.replace("-", "_")] = flags[name]
    if "db-port" in flags:
        store["db_port"] = _number(flags["db-port"])
    router: dict[str, Any] = {name: flags[name] for name in ("domain", "issuer") if name in flags}
    if "default-port" in flags:
        router["default_port"] = _number(flags["default-port"])
    return {**router, "store": store}


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
