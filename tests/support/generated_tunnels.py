"""Any MtlsTunnel that the CRD accepts, for properties: its raw form, and namespaces that have accepted its clients."""

from typing import Any

from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired.world import Peers
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Tunnel

Raw = dict[str, Any]

FEDERATED = (("dr.example", "PEM of dr.example"), ("corp.example", "PEM of corp.example"))

# From short lists where only the shape matters: drawing letters is what makes such tests slow.
_LABELS = ("a", "db", "api", "orders-db", "x-1", "server", "client", "a--z")
_SEGMENTS = ("ns", "sa", "mirror", "A.b_c-1", "x", "..a", "1")


def labels(longest: int) -> st.SearchStrategy[str]:
    """DNS labels that begin with a letter, the longest ones too."""
    return st.sampled_from((*_LABELS, "a" * longest, f"b{'-' * (longest - 2)}z"))


spiffe_ids = st.builds(
    "spiffe://{}/{}".format,
    st.sampled_from(("cluster.local", "dr.example", "td_1", "0", "-.-")),
    st.lists(st.sampled_from(_SEGMENTS), min_size=1, max_size=4).map("/".join),
)
wild_ids = st.builds("{}/*".format, spiffe_ids)
dns_names = st.builds(
    "{}{}.example".format, st.sampled_from(("", "*.")), st.sampled_from(("db", "DB", "_x", "a-b", "1"))
)
# What people put into subjects, and what an injection would look like.
subjects = st.one_of(
    st.sampled_from(("batch.corp.example", "Data & Co", "a: b", "x, y", "#no", "{a}", "[b]", "'q'", '"', "null", "~")),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=20),
)
accounts = st.lists(
    st.sampled_from(("default", "api", "a.b", "0", "x-y.z", "s" * 253)),
    min_size=1,
    max_size=3,
    unique=True,
)


@st.composite
def rules(draw: st.DrawFn, name: str, ports: list[str]) -> Raw:
    """One rule of authorization.allow."""
    kind, values = draw(
        st.sampled_from(
            (
                ("spiffeIDs", st.one_of(spiffe_ids, wild_ids)),
                ("dnsNames", dns_names),
                ("commonNames", subjects),
                ("organizations", subjects),
            )
        )
    )
    rule: Raw = {"name": name, kind: draw(st.lists(values, min_size=1, max_size=3, unique=True))}
    if chosen := draw(st.lists(st.sampled_from(ports), max_size=len(ports), unique=True)):
        rule["ports"] = chosen
    return rule


@st.composite
def clients(draw: st.DrawFn, name: str, ports: list[str], listed: Raw) -> Raw:
    """One client entry."""
    chosen = draw(st.lists(st.sampled_from(ports), min_size=1, max_size=len(ports), unique=True))
    numbers = draw(st.lists(st.integers(1024, 15000), min_size=len(chosen), max_size=len(chosen), unique=True))
    return {
        "name": name,
        "selector": {"matchLabels": {"app": name}},
        **listed,
        "namespaces": {"from": "Names", "names": ["abroad"]},
        "listeners": [{"port": port, "localPort": n} for port, n in zip(chosen, numbers, strict=True)],
    }


@st.composite
def _server(draw: st.DrawFn, ports: list[str], external: bool, listed_accounts: Raw) -> Raw:
    size = len(ports)
    tls = draw(st.lists(st.integers(16000, 30000), min_size=size, max_size=size, unique=True))
    if external:
        listed = [{"name": name, "tlsPort": number} for name, number in zip(ports, tls, strict=True)]
        made: Raw = {"host": draw(st.sampled_from(("db.example.com", "192.0.2.7", "2001:db8::7", "db")))}
        if draw(st.booleans()):
            made["serverName"] = draw(st.sampled_from(("pg.example.com", "pg", "192.0.2.8")))
        if draw(st.booleans()):
            made["spiffeID"] = draw(spiffe_ids)
        if draw(st.booleans()):
            made["caBundleRef"] = {"name": "bundle"}
        return {"type": "External", "external": made, "ports": listed}
    targets = draw(st.lists(st.integers(1, 15000), min_size=size, max_size=size))
    listed = [{"name": n, "targetPort": t, "tlsPort": p} for n, t, p in zip(ports, targets, tls, strict=True)]
    service = draw(
        st.sampled_from(({}, {"name": "db-mtls"}, {"policy": "None", "address": "db.other.svc.cluster.local"}))
    )
    workload = {"selector": {"matchLabels": {"app": "db"}}, **listed_accounts, "service": service}
    return {"workload": workload, "ports": listed, "plaintextPolicy": draw(st.sampled_from(("Permit", "Block")))}


@st.composite
def raw_tunnels(draw: st.DrawFn, *, external: bool | None = None) -> Raw:
    """A resource as the API server would store it."""
    ports = draw(st.lists(labels(15), min_size=1, max_size=3, unique=True))
    asked = draw(st.lists(labels(40).filter(lambda name: name != "server"), max_size=3, unique=True))
    named = draw(st.lists(labels(63), max_size=3, unique=True))
    outside = draw(st.booleans()) if external is None else external
    subject = draw(st.sampled_from(("PerRole", "PerServiceAccount")))
    listed = {"serviceAccounts": draw(accounts)} if subject == "PerServiceAccount" else {}
    allowed: Raw = {}
    if not outside:
        allowed["mode"] = draw(st.sampled_from(("Enforce", "Audit")))
        allowed["allow"] = [draw(rules(name, ports)) for name in named]
    seconds = st.integers(1, 300)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MtlsTunnel",
        "metadata": {"name": draw(labels(50)), "namespace": draw(labels(63)), "uid": "uid-1"},
        "spec": {
            "server": draw(_server(ports, outside, listed)),
            "clients": [draw(clients(name, ports, listed)) for name in asked],
            "authorization": allowed,
            "certificate": {
                "subject": subject,
                "durationSeconds": draw(st.sampled_from((300, 3600, 86400, 31536000))),
            },
            "proxy": {
                "minTLSVersion": draw(st.sampled_from(("VersionTLS12", "VersionTLS13"))),
                "maxConnections": draw(st.integers(1, 1000000)),
                "dialTimeoutSeconds": draw(seconds),
                "handshakeTimeoutSeconds": draw(seconds),
                "idleTimeoutSeconds": draw(st.integers(0, 86400)),
                "drainTimeoutSeconds": draw(st.integers(0, 3600)),
            },
            "observability": {
                "adminPort": draw(st.integers(31000, 65535)),
                "accessLog": draw(st.sampled_from(("None", "Denied", "All"))),
                "logLevel": draw(st.sampled_from(("Error", "Warning", "Info", "Debug"))),
            },
        },
    }


def tunnels(*, external: bool | None = None) -> st.SearchStrategy[Tunnel]:
    """The same as the operator reads it."""
    return raw_tunnels(external=external).map(tunnel_of)


@st.composite
def peers(draw: st.DrawFn, tunnel: Tunnel) -> Peers:
    """Peers that fit *tunnel*."""
    where = st.lists(st.sampled_from((tunnel.key.namespace, "abroad", "far")), max_size=3, unique=True)
    return Peers(
        trust_domain=draw(st.sampled_from(("cluster.local", "td_1.example", "x"))),
        cluster_domain=draw(st.sampled_from(("cluster.local", "k8s.corp.example"))),
        spaces={client.name: tuple(draw(where)) for client in tunnel.clients},
        federated=FEDERATED[: draw(st.integers(0, 2))],
        server_ca="PEM of the server's CA",
        emergency=draw(st.booleans()),
    )
