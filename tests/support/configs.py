"""Hypothesis strategies for every value of `mtls_tunnel.config.schema`, and the shortest file that loads.

`configs()` draws whole configurations that a file can express: ports that do not clash, roles that exist, an
outbound leg that differs from `tls` only where a file can make it differ.
"""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import strategies as st

from mtls_tunnel.config import schema
from mtls_tunnel.config.load import Source, load

MINIMAL = """\
mode: server
listen: "0.0.0.0:8443"
target: "127.0.0.1:8080"
tls: {cert: server.pem, key: server-key.pem, ca: ca.pem}
"""
NANOSECONDS = 1_000_000_000

_NO_CONTROLS = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029")
_LABELS = st.text("ab-9", min_size=1, max_size=6).map("x{}x".format)
_SEGMENTS = st.text("aZ0._-", min_size=1, max_size=6).filter(lambda segment: segment.strip(".") != "")
_PATHS = st.lists(_SEGMENTS, min_size=1, max_size=3).map("/".join)
_GLOBS = st.lists(_SEGMENTS | st.just("*"), min_size=1, max_size=3).map("/".join)


def configured(text: str) -> schema.Config:
    """The configuration that one file with *text* stands for."""
    return load([Source("tunnel.yaml", text)]).config


def lists(values: st.SearchStrategy[str], *, least: int = 0) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, min_size=least, max_size=2).map(tuple)


def _network(drawn: tuple[object, int]) -> str:
    address, bits = drawn
    return str(ip_network(f"{address}/{bits}", strict=False))


# What may stand for a common name: any printable text that no space begins or ends.
TEXTS = st.text(_NO_CONTROLS, min_size=1, max_size=20).map(str.strip).filter(bool)
PATHS = st.text(_NO_CONTROLS, min_size=1, max_size=20)
DNS_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
DNS_PATTERNS = DNS_NAMES | DNS_NAMES.map("*.{}".format)
HOSTS = DNS_NAMES | st.ip_addresses().map(str)
IP_PATTERNS = st.ip_addresses().map(str) | st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(_network)
EMAILS = st.tuples(_LABELS, DNS_NAMES).map("@".join)
FINGERPRINTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SPIFFE_IDS = st.tuples(DNS_NAMES, _PATHS).map(lambda drawn: f"spiffe://{drawn[0]}/{drawn[1]}")
URI_PATTERNS = DNS_NAMES.map("urn:{}".format) | st.builds(
    "{}://{}/{}{}".format, st.sampled_from(["spiffe", "https"]), DNS_NAMES, _GLOBS, st.sampled_from(["", "/**"])
)
_RULES = {
    "cn": lists(TEXTS, least=1),
    "org": lists(TEXTS, least=1),
    "ou": lists(TEXTS, least=1),
    "dns": lists(DNS_PATTERNS, least=1),
    "ip": lists(IP_PATTERNS, least=1),
    "email": lists(EMAILS, least=1),
    "uri": lists(URI_PATTERNS, least=1),
    "fingerprint": lists(FINGERPRINTS, least=1),
}
_KINDS = st.sets(st.sampled_from(tuple(_RULES)), max_size=3)  # more of them only make examples slow

# Timers, in whole nanoseconds as a file spells them.
TIMERS = st.integers(10 * 1_000_000, 10**9 * NANOSECONDS).map(lambda nanoseconds: nanoseconds / NANOSECONDS)
TIMERS_OR_NONE = TIMERS | st.just(0.0)


@st.composite
def rules(draw: st.DrawFn, roles: tuple[str, ...] = ()) -> schema.Rules:
    """Rules of a few kinds; with *roles*, also such that name one of them."""
    named = {kind: draw(_RULES[kind]) for kind in sorted(draw(_KINDS))}
    return schema.Rules(**named, role=draw(lists(st.sampled_from(roles))) if roles else ())


def acls(roles: tuple[str, ...] = ()) -> st.SearchStrategy[schema.Acl]:
    return st.builds(schema.Acl, allow=rules(roles), deny=rules(roles))


ROLES = st.dictionaries(st.text("aZ0._-", min_size=1, max_size=8), rules(), max_size=2).map(
    lambda drawn: tuple(drawn.items())
)
TRUST_DOMAINS = st.builds(schema.TrustDomain, domain=DNS_NAMES, ca=lists(PATHS, least=1))
TLS = st.builds(
    schema.Tls,
    cert=PATHS,
    key=PATHS,
    ca=lists(PATHS, least=1),
    server_name=st.just("") | HOSTS,
    server_uri=lists(SPIFFE_IDS),
    trust=st.lists(TRUST_DOMAINS, max_size=2, unique_by=lambda one: one.domain).map(tuple),
    crl=st.just("") | PATHS,
    reload_interval_seconds=TIMERS_OR_NONE,
)
PROXIES = st.builds(
    schema.Proxy,
    dial_timeout_seconds=TIMERS,
    idle_timeout_seconds=TIMERS_OR_NONE,
    max_connections=st.integers(1, 1_000_000),
    handshake_timeout_seconds=TIMERS,
    half_close_timeout_seconds=TIMERS,
    max_lifetime_seconds=TIMERS_OR_NONE,
    shutdown_timeout_seconds=TIMERS_OR_NONE,
)
_LEG_KEYS = st.sets(st.sampled_from(["cert", "key", "ca", "server_name", "server_uri", "min_version"]))
_DAYS = st.tuples(st.integers(0, 36500), st.integers(0, 36500))
EXPIRIES = _DAYS.map(lambda drawn: schema.Expiry(warn_days=max(drawn), critical_days=min(drawn)))
LOGGINGS = st.builds(schema.Logging)


@st.composite
def outbound_legs(draw: st.DrawFn, inbound: schema.Tls) -> schema.Tls:
    other = draw(TLS)
    keys = draw(_LEG_KEYS)
    return replace(inbound, **{key: getattr(other, key) for key in keys})


@st.composite
def tunnels(draw: st.DrawFn, name: str, port: int) -> schema.Tunnel:
    """A tunnel called *name* that listens on *port*."""
    mode: schema.Mode = draw(st.sampled_from(["server", "client", "bridge"]))
    tls = draw(TLS)
    roles = draw(ROLES)
    return schema.Tunnel(
        name=name,
        mode=mode,
        listen=schema.Address(draw(st.just("") | HOSTS), port),
        target=schema.Address(draw(HOSTS), draw(st.integers(1, 65535).filter(lambda number: number != port))),
        tls=tls,
        outbound=draw(outbound_legs(tls)) if mode == "bridge" else None,
        acl=draw(acls(tuple(name for name, _ in roles))),
        roles=roles,
        proxy=draw(PROXIES),
    )


@st.composite
def configs(draw: st.DrawFn) -> schema.Config:
    """A whole configuration, of one tunnel without a name or of up to three with names."""
    names = draw(
        st.just([""]) | st.lists(st.text("az09._-", min_size=1, max_size=8), min_size=1, max_size=2, unique=True)
    )
    ports = draw(st.lists(st.integers(1, 65535), min_size=len(names) + 2, max_size=len(names) + 2, unique=True))
    prefix = draw(st.text("az_", min_size=1, max_size=8))
    return schema.Config(
        tunnels=tuple(draw(tunnels(name, port)) for name, port in zip(names, ports[2:], strict=True)),
        health=schema.Health(draw(st.booleans()), schema.Address(draw(HOSTS), ports[0])),
        metrics=schema.Metrics(draw(st.booleans()), schema.Address(draw(HOSTS), ports[1]), prefix),
        logging=draw(LOGGINGS),
        expiry=draw(EXPIRIES),
        strict=draw(st.booleans()),
    )
