"""A tunnel in mode router gets its guide: the store that its configuration names, and what the guide is given.

The only place that knows both kinds of store.  asyncpg is loaded for a database only.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mtls_tunnel.config.schema import Address, Router, Tunnel
from mtls_tunnel.errors import ConfigError, Problem
from mtls_tunnel.flow.registry import Registry
from mtls_tunnel.observe.metrics import TunnelMeters

if TYPE_CHECKING:
    from mtls_tunnel.router.guide import Guide
    from mtls_tunnel.router.store import Store


def guide_for(tunnel: Tunnel, current: Callable[[], Tunnel], registry: Registry, meters: TunnelMeters) -> "Guide":
    """The guide of *tunnel*; *current* is asked late for what a reload may change.

    Raises:
        ConfigError: the store's file cannot be used, or the driver of the database is not installed.
    """
    from mtls_tunnel.router.guide import Guide, Surroundings  # a tunnel without a router carries none of it

    def router() -> Router:
        found = current().router
        assert found is not None, "a lane never changes its mode"
        return found

    surroundings = Surroundings(
        name=tunnel.name,
        router=router,
        dial_timeout=lambda: current().proxy.dial_timeout_seconds,
        registry=registry,
        meters=meters.routed(),
    )
    assert tunnel.router is not None
    return Guide(open_store(tunnel.router), surroundings)


def leads_to(tunnel: Tunnel) -> str:
    """The target of *tunnel*, for people: of a router the names that it serves, and by what."""
    router = tunnel.router
    if router is None:
        return str(tunnel.target)
    return f"*.{router.domain} by {where_written(router)}"


def where_written(router: Router) -> str:
    """The store of *router* without its secrets."""
    store = router.store
    if store.type == "file":
        return store.file
    return "PostgreSQL" if store.dsn else f"PostgreSQL at {Address(store.db_host, store.db_port)}/{store.db_name}"


def open_store(router: Router) -> "Store":
    """The store that *router* names, its file read; nothing is connected yet.

    Raises:
        ConfigError: see `guide_for`.
    """
    if router.store.type == "file":
        from mtls_tunnel.router.file_store import FileStore

        return FileStore(router.store.file, default_port=router.default_port)
    try:
        from mtls_tunnel.router.postgresql import PostgresStore
    except ImportError as error:
        text = f"type: postgresql needs the module {error.name}, which is not installed"
        raise ConfigError(
            Problem("", "router.store.type", text, "install the distribution with its extra postgresql")
        ) from error
    return PostgresStore(router.store)
