"""What an API server refuses of an MtlsTunnel: one case or more for each CEL rule of its CRD.

`name: (object, changes to it, place and words of the refusal)`.  A case breaks one rule only.
"""

from typing import Any

from support.crds import ABSENT, ELSEWHERE, EXTERNAL, FULL, MINIMAL, Raw, with_

CLIENT: Raw = {
    "name": "api",
    "selector": {"matchLabels": {"app": "api"}},
    "listeners": [{"port": "pg", "localPort": 5432}],
}
ONE_CLIENT = with_(MINIMAL, {"spec.clients": [CLIENT]})
PER_ACCOUNT = with_(
    ONE_CLIENT,
    {
        "spec.certificate.subject": "PerServiceAccount",
        "spec.server.workload.serviceAccounts": ["db"],
        "spec.clients.0.serviceAccounts": ["api"],
    },
)
RULE = {"name": "ops", "spiffeIDs": ["spiffe://example.org/ops"]}
NO_LABELS: dict[str, Any] = {"matchLabels": {}}
NO_KEY = {"matchLabels": {"-app": "x"}}
EXISTS = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
EXISTS_WITH_VALUES = {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}
IN_NOTHING = {"matchExpressions": [{"key": "app", "operator": "In", "values": []}]}

SELECTORS = ("spec.server.workload.selector", "spec.clients.0.selector", "spec.clients.0.namespaces.selector")
SELECTING = with_(
    ONE_CLIENT, {"spec.clients.0.namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}}
)

# name: (object, changes to it, place and words of the refusal)
REFUSED: dict[str, tuple[Raw, dict[str, Any], str, str]] = {
    "a name with a dot": (MINIMAL, {"metadata.name": "a.b"}, "", "DNS label of at most 50"),
    "a name of 51 characters": (MINIMAL, {"metadata.name": "a" * 51}, "", "DNS label of at most 50"),
    "a name that begins with a digit": (MINIMAL, {"metadata.name": "1a"}, "", "begins with a letter"),
    "a listener of an unknown port": (
        ONE_CLIENT,
        {"spec.clients.0.listeners.0.port": "mysql"},
        "spec.clients",
        "a listener names a port that the server does not have",
    ),
    "an allow rule for an unknown port": (
        MINIMAL,
        {"spec.authorization.allow": [{**RULE, "ports": ["pg", "mysql"]}]},
        "spec.authorization",
        "an allow rule names a port that the server does not have",
    ),
    "PerServiceAccount without accounts of the server": (
        PER_ACCOUNT,
        {"spec.server.workload.serviceAccounts": ABSENT},
        "spec.certificate.subject",
        "needs serviceAccounts in server.workload and in each client",
    ),
    "PerServiceAccount without accounts of a client": (
        PER_ACCOUNT,
        {"spec.clients.0.serviceAccounts": ABSENT},
        "spec.certificate.subject",
        "needs serviceAccounts in server.workload and in each client",
    ),
    "PerRole with accounts of the server": (
        MINIMAL,
        {"spec.server.workload.serviceAccounts": ["db"]},
        "spec.certificate.subject",
        "serviceAccounts has no meaning with PerRole",
    ),
    "PerRole with accounts of a client": (
        ONE_CLIENT,
        {"spec.clients.0.serviceAccounts": ["api"]},
        "spec.certificate.subject",
        "serviceAccounts has no meaning with PerRole",
    ),
    "allow rules for an external server": (
        EXTERNAL,
        {"spec.authorization.allow": [RULE]},
        "spec.authorization",
        "authorization has no meaning when server.type is External",
    ),
    "audit mode for an external server": (
        EXTERNAL,
        {"spec.authorization.mode": "Audit"},
        "spec.authorization",
        "authorization has no meaning when server.type is External",
    ),
    "adminPort is a targetPort": (
        MINIMAL,
        {"spec.observability.adminPort": 5432},
        "spec.observability.adminPort",
        "adminPort is the targetPort",
    ),
    "adminPort is a tlsPort": (
        MINIMAL,
        {"spec.server.ports.0.tlsPort": 15971},
        "spec.observability.adminPort",
        "adminPort is the tlsPort",
    ),
    "adminPort is a localPort": (
        ONE_CLIENT,
        {"spec.clients.0.listeners.0.localPort": 15971},
        "spec.observability.adminPort",
        "adminPort is the localPort",
    ),
    "a Workload without workload": (
        MINIMAL,
        {"spec.server.workload": ABSENT},
        "spec.server",
        "set workload with type Workload, external with type External, never both",
    ),
    "both workload and external": (
        MINIMAL,
        {"spec.server.external": {"host": "x.example"}},
        "spec.server",
        "set workload with type Workload, external with type External, never both",
    ),
    "External without external": (
        EXTERNAL,
        {"spec.server.external": ABSENT},
        "spec.server",
        "set workload with type Workload, external with type External, never both",
    ),
    "a Workload's port without targetPort": (
        MINIMAL,
        {"spec.server.ports.0.targetPort": ABSENT},
        "spec.server.ports",
        "targetPort is required when type is Workload",
    ),
    "a Workload's tlsPort that needs privileges": (
        MINIMAL,
        {"spec.server.ports.0.tlsPort": 1023},
        "spec.server.ports",
        "tlsPort must be 1024 or higher",
    ),
    "targetPort of an external server": (
        EXTERNAL,
        {"spec.server.ports.0.targetPort": 80},
        "spec.server.ports",
        "targetPort has no meaning when type is External",
    ),
    "Block for an external server": (
        EXTERNAL,
        {"spec.server.plaintextPolicy": "Block"},
        "spec.server.plaintextPolicy",
        "plaintextPolicy Block has no meaning when type is External",
    ),
    "policy None without address": (
        ELSEWHERE,
        {"spec.server.workload.service.address": ABSENT},
        "spec.server.workload.service",
        "set address with policy None, and only then",
    ),
    "address with policy Managed": (
        MINIMAL,
        {"spec.server.workload.service": {"address": "db.example.org"}},
        "spec.server.workload.service",
        "set address with policy None, and only then",
    ),
    "a Service's name with policy None": (
        ELSEWHERE,
        {"spec.server.workload.service.name": "mail"},
        "spec.server.workload.service",
        "name has no meaning with policy None",
    ),
    "one tlsPort twice": (
        MINIMAL,
        {"spec.server.ports.1": {"name": "pg2", "targetPort": 5433, "tlsPort": 15432}},
        "spec.server.ports",
        "two ports have one tlsPort",
    ),
    "a tlsPort that is another's targetPort": (
        MINIMAL,
        {"spec.server.ports.1": {"name": "pg2", "targetPort": 15432, "tlsPort": 15433}},
        "spec.server.ports",
        "a tlsPort must differ from every targetPort",
    ),
    "a tlsPort that is its own targetPort": (
        MINIMAL,
        {"spec.server.ports.0.tlsPort": 5432},
        "spec.server.ports",
        "a tlsPort must differ from every targetPort",
    ),
    "a client named server": (
        ONE_CLIENT,
        {"spec.clients.0.name": "server"},
        "spec.clients[0].name",
        "a client must not be named server",
    ),
    "names without from Names": (
        ONE_CLIENT,
        {"spec.clients.0.namespaces": {"names": ["jobs"]}},
        "spec.clients[0].namespaces",
        "set names with from: Names, and only then",
    ),
    "from Names without names": (
        ONE_CLIENT,
        {"spec.clients.0.namespaces": {"from": "Names"}},
        "spec.clients[0].namespaces",
        "set names with from: Names, and only then",
    ),
    "a namespace selector without from Selector": (
        ONE_CLIENT,
        {"spec.clients.0.namespaces": {"selector": EXISTS}},
        "spec.clients[0].namespaces",
        "set selector with from: Selector, and only then",
    ),
    "from Selector without selector": (
        ONE_CLIENT,
        {"spec.clients.0.namespaces": {"from": "Selector"}},
        "spec.clients[0].namespaces",
        "set selector with from: Selector, and only then",
    ),
    "one localPort twice in a client": (
        FULL,
        {"spec.clients.0.listeners.1.localPort": 6379},
        "spec.clients[0].listeners",
        "two listeners of one client have one localPort",
    ),
    "an allow rule that names nobody": (
        MINIMAL,
        {"spec.authorization.allow": [{"name": "ops"}]},
        "spec.authorization.allow[0]",
        "exactly one kind of principal",
    ),
    "an allow rule that names two kinds": (
        MINIMAL,
        {"spec.authorization.allow": [{**RULE, "organizations": ["Ops"]}]},
        "spec.authorization.allow[0]",
        "exactly one kind of principal",
    ),
    "renewal at the moment of issue": (
        MINIMAL,
        {"spec.certificate": {"durationSeconds": 300, "renewBeforeSeconds": 241}},
        "spec.certificate.renewBeforeSeconds",
        "must be at least 60 less than durationSeconds",
    ),
    "an Issuer of our group": (
        MINIMAL,
        {"spec.certificate.issuerRef": {"kind": "Issuer", "name": "x"}},
        "spec.certificate.issuerRef",
        "cert-manager.io with Issuer or ClusterIssuer",
    ),
    "a trust domain of the core group": (
        MINIMAL,
        {"spec.certificate.issuerRef": {"group": "", "name": "x"}},
        "spec.certificate.issuerRef",
        'use group "" with kind Secret',
    ),
    "RSA with the size of a curve": (
        MINIMAL,
        {"spec.certificate.privateKey": {"algorithm": "RSA", "sizeBits": 256}},
        "spec.certificate.privateKey.sizeBits",
        "sizeBits does not fit algorithm",
    ),
    "Ed25519 with a size": (
        MINIMAL,
        {"spec.certificate.privateKey": {"algorithm": "Ed25519", "sizeBits": 256}},
        "spec.certificate.privateKey.sizeBits",
        "sizeBits does not fit algorithm",
    ),
    "more cpu asked for than allowed": (
        FULL,
        {"spec.proxy.resources": {"requests": {"cpu": "1500m", "memory": "1Mi"}, "limits": {"cpu": 1}}},
        "spec.proxy.resources",
        "requests.cpu is above limits.cpu",
    ),
    "more memory asked for than allowed": (
        FULL,
        {"spec.proxy.resources": {"requests": {"cpu": 0, "memory": "1Gi"}, "limits": {"memory": "1000M"}}},
        "spec.proxy.resources",
        "requests.memory is above limits.memory",
    ),
}
for place in SELECTORS:
    shown = place.replace(".0.", "[0].")
    REFUSED |= {
        f"{shown} empty": (SELECTING, {place: {}}, shown, "selector must not be empty"),
        f"{shown} with empty matchLabels": (SELECTING, {place: NO_LABELS}, shown, "selector must not be empty"),
        f"{shown} with a key that is none": (SELECTING, {place: NO_KEY}, f"{shown}.matchLabels", "is no label key"),
        f"{shown} with In and no values": (
            SELECTING,
            {place: IN_NOTHING},
            f"{shown}.matchExpressions[0]",
            "give at least one of values",
        ),
        f"{shown} with Exists and values": (
            SELECTING,
            {place: EXISTS_WITH_VALUES},
            f"{shown}.matchExpressions[0]",
            "none with Exists and DoesNotExist",
        ),
    }

UPDATES: dict[str, tuple[Raw, dict[str, Any], str, str]] = {
    "type": (
        MINIMAL,
        {
            "spec.server": {
                "type": "External",
                "external": {"host": "x.example"},
                "ports": [{"name": "pg", "tlsPort": 15432}],
            }
        },
        "spec.server.type",
        "type is immutable: make a new MtlsTunnel",
    ),
    "trustDomain": (
        FULL,
        {"spec.certificate.trustDomain": "other"},
        "spec.certificate",
        "trustDomain is immutable once set",
    ),
    "trustDomain taken away": (
        FULL,
        {"spec.certificate.trustDomain": ABSENT},
        "spec.certificate",
        "trustDomain is immutable once set",
    ),
}
