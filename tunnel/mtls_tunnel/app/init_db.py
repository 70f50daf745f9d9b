"""`tunnel router init-db`: print the tables, index and triggers of the router's database, or apply them.

Without --apply nothing is connected.  Applying is one transaction, may be repeated, and alters no column that exists.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping

from mtls_tunnel.app import sources
from mtls_tunnel.config import schema as config
from mtls_tunnel.config.load import Source, load
from mtls_tunnel.router import schema

_SERVING = ("listen", "ca-certs", "server-cert", "server-key", "issuer", "domain", "default-port", "min-version",
            "health", "metrics", "log-level", "routes", "cache", "stale")  # fmt: skip


def run(args: argparse.Namespace, flags: Mapping[str, str]) -> int:
    """Print, or apply to the database of the --db-* flags or of the file of -c."""
    odd = [f"--{name}" for name in flags if name in _SERVING]
    if odd:
        print(f"error: {', '.join(odd)}: no meaning for init-db, which takes --db-* or -c", file=sys.stderr)
        return 2
    if not args.apply:
        print(schema.INIT, end="")
        return 0
    store = _from_file(args.config) if args.config else _from_flags(flags)
    if store is None:
        print(f"error: {args.config}: no tunnel in it has a store of type postgresql", file=sys.stderr)
        return 2
    from mtls_tunnel.router.postgresql import apply
    from mtls_tunnel.router.store import StoreError

    try:
        asyncio.run(apply(store, schema.INIT))
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("applied: tables, index and triggers are there")
    return 0


def _from_file(path: str) -> config.Store | None:
    routers = (tunnel.router for tunnel in sources.read(path).config.tunnels)
    return next((router.store for router in routers if router is not None and router.store.type == "postgresql"), None)


def _from_flags(flags: Mapping[str, str]) -> config.Store | None:
    from mtls_tunnel.app.router import text_of

    files = {"ca-certs": "-", "server-cert": "-", "server-key": "-"}
    (tunnel,) = load([Source("command line", text_of({**files, **flags}))]).config.tunnels
    return None if tunnel.router is None else tunnel.router.store
