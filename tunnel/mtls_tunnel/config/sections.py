"""Each section of the file -> its frozen value in `schema`; what one section alone can get wrong is said here.

What only shows between sections (modes, names, ports) is judged in `tunnels` and `clashes`.
"""

import re
from collections.abc import Collection
from dataclasses import fields, replace

from mtls_tunnel.config import addresses, patterns
from mtls_tunnel.config.fields import Check, Section
from mtls_tunnel.config.schema import Acl, Expiry, Health, Logging, Metrics, MinVersion, Proxy, Rules, Tls, TrustDomain

MAX_CONNECTIONS = 1_000_000
MAX_DAYS = 36_500
SHORTEST_REREAD = 0.01  # seconds; the re-read of files beside the watch must not become a busy loop
PROXY, TLS = Proxy(), Tls(cert="", key="", ca=())  # where the defaults are read from

_MIN_VERSIONS: tuple[MinVersion, ...] = ("TLS1.2", "TLS1.3")
_ROLE = re.compile(r"[A-Za-z0-9._-]{1,63}")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PATTERNS: dict[str, Check] = {
    "cn": patterns.name,
    "org": patterns.name,
    "ou": patterns.name,
    "dns": patterns.dns,
    "ip": patterns.ip,
    "email": patterns.email,
    "uri": patterns.uri,
    "fingerprint": patterns.fingerprint,
}
_CERT = "a PEM file: the leaf first, then its intermediates"
_KEY = "the PEM private key that belongs to tls.cert"
_CA = "the CA bundle that signs the peers"


def tls(section: Section, base: str) -> Tls:
    """The section ``tls``; relative paths are joined to *base*."""
    value = Tls(
        cert=section.required("cert", _CERT, check=path_under(base)),
        key=section.required("key", _KEY, check=path_under(base)),
        ca=_bundle(section, base, _CA),
        client_auth=section.choice("client_auth", ("required", "optional", "none"), TLS.client_auth),
        server_name=section.text("server_name", TLS.server_name, check=_server_name),
        min_version=section.choice("min_version", _MIN_VERSIONS, TLS.min_version),
        server_uri=_server_uri(section, TLS.server_uri),
        trust=_trust(section, base),
        require_close_notify=section.flag("require_close_notify", TLS.require_close_notify),
        crl=section.text("crl", TLS.crl, check=path_under(base, blank=True)),
        crl_check=section.choice("crl_check", ("leaf", "chain"), TLS.crl_check),
        reload_interval_seconds=section.seconds(
            "reload_interval", TLS.reload_interval_seconds, zero=True, least=SHORTEST_REREAD
        ),
    )
    section.close(home_of)
    return value


def outbound(section: Section, inbound: Tls, base: str) -> Tls:
    """The section ``outbound`` of a bridge: what it does not give is as in *inbound*."""
    path = path_under(base)
    leg = replace(
        inbound,
        cert=section.text("cert", inbound.cert, check=path),
        key=section.text("key", inbound.key, check=path),
        ca=inbound.ca if section.node("ca") is None else _bundle(section, base, _CA),
        server_name=section.text("server_name", inbound.server_name, check=_server_name),
        server_uri=_server_uri(section, inbound.server_uri),
        min_version=section.choice("min_version", _MIN_VERSIONS, inbound.min_version),
    )
    section.close(home_of)
    return leg


def acl(section: Section, roles: Collection[str]) -> Acl:
    checks = {**_PATTERNS, "role": _known_role(roles)}
    default = Acl()
    value = Acl(
        default=section.choice("default", ("allow", "deny"), default.default),
        allow=_rules(section, "allow", checks),
        deny=_rules(section, "deny", checks),
        mode=section.choice("mode", ("enforce", "audit"), default.mode),
        reauthorize=section.choice("reauthorize", ("close", "log", "off"), default.reauthorize),
        on_expiry=section.choice("on_expiry", ("close", "log"), default.on_expiry),
        on_ca_removed=section.choice("on_ca_removed", ("close", "log"), default.on_ca_removed),
    )
    section.close(home_of)
    return value


def roles(section: Section) -> tuple[tuple[str, Rules], ...]:
    """The section ``roles``; a role has allow rules only and names no other role."""
    found = []
    for name in section.names:
        role = section.section(name)
        if not _ROLE.fullmatch(name):
            section.error(name, "is no usable role name", "up to 63 letters, digits, . - and _")
        for key in role.names:
            if key == "allow_role" or key.startswith("deny_"):
                role.node(key)
                role.error(key, "has no place in a role", "a role lists its members with the other allow_* keys")
        found.append((name, _rules(role, "allow", _PATTERNS)))
        role.close(home_of)
    return tuple(found)


def proxy(section: Section) -> Proxy:
    dial = section.seconds("dial_timeout", PROXY.dial_timeout_seconds, zero=False)
    value = Proxy(
        dial_timeout_seconds=dial,
        idle_timeout_seconds=section.seconds("idle_timeout", PROXY.idle_timeout_seconds, zero=True),
        max_connections=section.count("max_connections", PROXY.max_connections, least=1, most=MAX_CONNECTIONS),
        handshake_timeout_seconds=section.seconds("handshake_timeout", dial, zero=False, blank=True),
        half_close_timeout_seconds=section.seconds("half_close_timeout", PROXY.half_close_timeout_seconds, zero=False),
        max_lifetime_seconds=section.seconds("max_lifetime", PROXY.max_lifetime_seconds, zero=True),
        shutdown_timeout_seconds=section.seconds("shutdown_timeout", PROXY.shutdown_timeout_seconds, zero=True),
    )
    section.close(home_of)
    return value


def health(section: Section) -> Health:
    default = Health()
    value = Health(
        enabled=section.flag("enabled", default.enabled),
        listen=section.address("listen", default.listen, listening=True),
    )
    section.close(home_of)
    return value


def metrics(section: Section) -> Metrics:
    default = Metrics()
    value = Metrics(
        enabled=section.flag("enabled", default.enabled),
        listen=section.address("listen", default.listen, listening=True),
        prefix=section.text("prefix", default.prefix, check=_prefix),
    )
    section.close(home_of)
    return value


def logging(section: Section) -> Logging:
    default = Logging()
    value = Logging(
        level=section.choice("level", ("debug", "info", "warn", "error"), default.level),
        format=section.choice("format", ("text", "json"), default.format),
        access=section.choice("access", ("all", "denied", "none"), default.access),
    )
    section.close(home_of)
    return value


def expiry(section: Section) -> Expiry:
    default = Expiry()
    value = Expiry(
        warn_days=section.count("warn_days", default.warn_days, least=0, most=MAX_DAYS),
        critical_days=section.count("critical_days", default.critical_days, least=0, most=MAX_DAYS),
    )
    if value.critical_days > value.warn_days:
        text = f"is {value.critical_days}, more than warn_days ({value.warn_days})"
        section.error("critical_days", text, "the warning comes before the critical one")
    section.close(home_of)
    return value


def home_of(key: str) -> str:
    """The full path of a *key* that is known in exactly one section, for a hint; else nothing."""
    return _HOMES.get(key, "")


def _rules(section: Section, verb: str, checks: dict[str, Check]) -> Rules:
    return Rules(**{kind: section.texts(f"{verb}_{kind}", check) for kind, check in checks.items()})


def _bundle(section: Section, base: str, remedy: str) -> tuple[str, ...]:
    files = section.texts("ca", path_under(base), or_one=True)
    if section.node("ca") is None:
        section.error("ca", "is missing", remedy)
    elif not files:
        section.error("ca", "names no file", remedy)
    return files


def _trust(section: Section, base: str) -> tuple[TrustDomain, ...]:
    found: dict[str, TrustDomain] = {}
    for entry in section.sections("trust"):
        domain = entry.required("domain", "the SPIFFE trust domain, such as example.org", check=patterns.trust_domain)
        ca = _bundle(entry, base, "the CA bundle of that trust domain")
        if domain and domain in found:
            entry.error("domain", f'"{domain}" stands twice', "put all its CA files into one entry, as a list")
        found[domain] = TrustDomain(domain, ca)
        entry.close(home_of)
    return tuple(found.values())


def _server_uri(section: Section, default: tuple[str, ...]) -> tuple[str, ...]:
    """One URI or a list of them; "" and [] mean none."""
    if section.node("server_uri") is None:
        return default
    given = section.texts("server_uri", _uri_or_blank, or_one=True)
    return tuple(uri for uri in given if uri)


def path_under(base: str, *, blank: bool = False) -> Check:
    """The check for a path: what is relative is joined to *base*; "" only where *blank* gives it a meaning."""

    def check(text: str) -> str:
        if not text:
            if blank:
                return text
            raise ValueError("is empty - write the path of a file")
        return text if not base or text.startswith("/") else f"{base.rstrip('/')}/{text}"

    return check


def _uri_or_blank(text: str) -> str:
    return patterns.exact_uri(text) if text else text


def _server_name(text: str) -> str:
    if not text:
        return text
    try:
        return addresses.name_or_ip(text)
    except ValueError as exc:
        raise ValueError(f"{exc}; it is the name in the server's certificate, without a port") from None


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("is no metric name - letters, digits and _ make one, and no digit begins it")
    return text


def _known_role(roles: Collection[str]) -> Check:
    def check(text: str) -> str:
        if text not in roles:
            known = f"the roles are {', '.join(sorted(roles))}" if roles else "no roles are defined"
            raise ValueError(f"is no role - {known}")
        return text

    return check


def _homes() -> dict[str, str]:
    places = [("tls", Tls), ("proxy", Proxy), ("metrics", Metrics), ("logging", Logging), ("expiry", Expiry)]
    keys = [(field.name.removesuffix("_seconds"), room) for room, kind in places for field in fields(kind)]
    keys += [(f"{verb}_{field.name}", "acl") for verb in ("allow", "deny") for field in fields(Rules)]
    keys += [("reauthorize", "acl"), ("on_expiry", "acl"), ("on_ca_removed", "acl")]
    shared = {"enabled", "listen"}
    return {key: f"{room}.{key}" for key, room in keys if key not in shared}


_HOMES = _homes()
