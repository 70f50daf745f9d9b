"""The section ``router`` -> `Router`: the names that are routed, whose users may come in, and where it is written down.

Nothing is opened or connected here; that a dsn is one is judged by its form.
"""

import re
from urllib.parse import parse_qs, urlsplit

from mtls_tunnel.config import addresses, patterns
from mtls_tunnel.config.fields import Section
from mtls_tunnel.config.schema import Router, Store
from mtls_tunnel.config.sections import home_of, path_under

ROUTER, STORE = Router(), Store()  # where the defaults are read from
_DSN_SCHEMES = ("postgresql", "postgres")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DATABASE = ("dsn", "db_host", "db_port", "db_user", "db_password", "db_name")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def router(section: Section, base: str) -> Router:
    """The section ``router`` of a tunnel in mode router; the path of the store's file is joined to *base*."""
    value = Router(
        domain=section.text("domain", ROUTER.domain, check=domain),
        issuer=section.text("issuer", ROUTER.issuer, check=patterns.trust_domain),
        store=_store(section.section("store"), base),
        default_port=section.count("default_port", ROUTER.default_port, least=1, most=65535),
    )
    section.close(home_of)
    return value


def domain(text: str) -> str:
    """The check for the part of a server name behind its first label; lower case comes back."""
    name = text.lower()
    if not all(_LABEL.fullmatch(label) for label in name.split(".")) or len(name) > 189:
        raise ValueError("is no DNS domain - write what follows <connect_id>. in the server name")
    return name


def dsn(text: str) -> str:
    """The check for the address of a database; whoever reports a fault must not show *text*: it holds a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is no address of a database - write postgresql://user@host:5432/name") from None
    if parts.scheme not in _DSN_SCHEMES:
        raise ValueError("is no address of a PostgreSQL database - write postgresql://user@host:5432/name")
    modes = parse_qs(parts.query).get("sslmode", [])
    if any(mode not in _SSL_MODES for mode in modes):
        raise ValueError(f"has an sslmode that does not exist - write one of {', '.join(_SSL_MODES)}")
    if port == 0:
        raise ValueError("has port 0 - write the port of the database, or leave it out for 5432")
    return text


def _store(section: Section, base: str) -> Store:
    kind = section.choice("type", ("file", "postgresql"), STORE.type)
    value = Store(
        type=kind,
        file=section.text("file", STORE.file, check=path_under(base)),
        dsn=section.secret("dsn", check=dsn) or STORE.dsn,
        db_host=section.text("db_host", STORE.db_host, check=_host),
        db_port=section.count("db_port", STORE.db_port, least=1, most=65535),
        db_user=section.text("db_user", STORE.db_user),
        db_password=section.secret("db_password"),
        db_name=section.text("db_name", STORE.db_name),
        cache_seconds=section.seconds("cache", STORE.cache_seconds, zero=True),
        stale_seconds=section.seconds("stale", STORE.stale_seconds, zero=True),
    )
    _judge(section, value)
    section.close(home_of)
    return value


def _judge(section: Section, store: Store) -> None:
    if store.type == "file":
        if not section.has("file"):
            section.error("file", "is missing", "a YAML file with backend_hosts, teams and users, or type: postgresql")
        for key in _DATABASE:
            if section.has(key):
                section.error(key, "has no meaning with type: file", "write type: postgresql, or remove it")
    elif section.has("file"):
        section.error("file", "has no meaning with type: postgresql", "write type: file, or remove it")
    elif section.has("dsn"):
        for key in _DATABASE[1:]:
            if section.has(key):
                section.error(key, "stands beside dsn", "write everything into dsn, or leave dsn out")


def _host(text: str) -> str:
    """A host, an address, or the folder of a UNIX socket."""
    return text if text.startswith("/") else addresses.name_or_ip(text)
