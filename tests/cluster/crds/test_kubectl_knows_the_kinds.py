"""What people see of the kinds: names, columns, explanations, defaults, and lists that several may write to."""

from typing import Any

import pytest

from mtls_tunnel_operator.model.reading import domain_of, tunnel_of
from support.crds import (
    DOMAIN,
    DOMAIN_OF_A_SECRET,
    DOMAINS,
    ELSEWHERE,
    EXTERNAL,
    FULL,
    MINIMAL,
    TUNNELS,
    Door,
    Raw,
    fields,
    refusal,
    schema,
    with_,
)
from support.kube import Kube

STATUS: Raw = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-21T12:00:00Z",
            "reason": "Ready",
            "message": "Everything is in place.",
        }
    ],
    "revision": "0123456789abcdef",
    "server": {"selectedPods": 3, "injectedPods": 3, "updatedPods": 2, "summary": "2/3", "serviceName": "seen"},
    "clientsSummary": "5/6",
    "clients": [{"name": "web", "selectedPods": 6, "injectedPods": 6, "updatedPods": 5, "refusedNamespaces": 1}],
    "certificates": [
        {"name": "server", "serviceAccount": "", "secretName": "seen-mtls-server", "notAfter": "2026-11-22T12:00:00Z"},
        {"name": "web", "serviceAccount": "a", "secretName": "x"},
        {"name": "web", "serviceAccount": "b", "secretName": "y"},
    ],
    "nextRenewalTime": "2026-11-22T04:00:00Z",
    "trustBundle": {"caFingerprints": ["ab", "cd"], "rotation": "Distributing"},
}


@pytest.mark.parametrize(
    ("plural", "short", "kind"), [("mtlstunnels", "mtt", "MtlsTunnel"), ("mtlstrustdomains", "mtd", "MtlsTrustDomain")]
)
def test_a_kind_has_a_short_name_a_category_and_outlives_the_chart(
    kinds: Kube, plural: str, short: str, kind: str
) -> None:
    crd = kinds.get("crd", f"{plural}.mtlstunnel.dev")
    assert crd["spec"]["names"] | {"kind": kind, "shortNames": [short], "categories": ["mtls"]} == crd["spec"]["names"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert kinds.try_("get", short, "-A").returncode == 0
    assert kinds.try_("get", "mtls", "-A").returncode == 0


@pytest.mark.parametrize(("file", "short"), [(TUNNELS, "mtt"), (DOMAINS, "mtd")])
def test_kubectl_explains_every_field(kinds: Kube, file: Any, short: str) -> None:
    told = " ".join(kinds("explain", short, "--recursive").split())
    names = {place.replace("[]", "").rpartition(".")[2] for place, _ in fields(schema(file)) if place != "metadata"}
    assert [name for name in sorted(names) if f"{name} <" not in told] == []
    one = " ".join(kinds("explain", f"{short}.spec").split())
    assert "spec is what its author wants." in one


def test_the_table_tells_the_state_at_a_glance(kinds: Kube, door: Door) -> None:
    stored = door.create(with_(FULL, {"metadata.name": "seen"}))
    try:
        status = {
            **{key: stored[key] for key in ("apiVersion", "kind")},
            "metadata": {"name": "seen", "namespace": "default"},
        }
        assert refusal(door.apply({**status, "status": STATUS}, "operator-status", "status")) is None
        header, row = kinds("get", "mtt", "seen", "-o", "wide").splitlines()
    finally:
        door.delete(stored)
    assert header.split() == ["NAME", "READY", "REASON", "SERVERS", "CLIENTS", "RENEWS", "PLAINTEXT", "ISSUER", "AGE"]
    assert row.split()[:-1] == ["seen", "True", "Ready", "2/3", "5/6", "2026-11-22T04:00:00Z", "Block", "corp-mtls"]


def test_the_table_of_trust_domains_tells_phase_and_end(kinds: Kube, door: Door) -> None:
    stored = door.create(with_(DOMAIN, {"metadata.name": "seen"}))
    status = {
        "conditions": STATUS["conditions"],
        "caFingerprints": ["ab", "cd"],
        "notAfter": "2027-11-21T12:00:00Z",
        "rotation": {"phase": "Issuing", "observedRequest": "1763726400", "since": "2026-11-21T12:00:00Z"},
        "observedGeneration": 1,
    }
    try:
        named = {**{key: stored[key] for key in ("apiVersion", "kind")}, "metadata": {"name": "seen"}}
        assert refusal(door.apply({**named, "status": status}, "operator-status", "status")) is None
        header, row = kinds("get", "mtd", "seen", "-o", "wide").splitlines()
    finally:
        door.delete(stored)
    assert header.split() == ["NAME", "DOMAIN", "READY", "REASON", "ROTATION", "EXPIRES", "CA", "AGE"]
    assert row.split()[:-1] == [
        "seen",
        "corp.example",
        "True",
        "Ready",
        "Issuing",
        "2027-11-21T12:00:00Z",
        "CertManager",
    ]


def test_a_status_is_written_beside_the_spec_and_never_with_it(door: Door) -> None:
    stored = door.create(with_(FULL, {"metadata.name": "beside", "status": STATUS}))
    try:
        assert "status" not in stored
        named = {
            **{key: stored[key] for key in ("apiVersion", "kind")},
            "metadata": {"name": "beside", "namespace": "default"},
        }
        written = door.apply({**named, "status": STATUS, "spec": MINIMAL["spec"]}, "operator-status", "status")
    finally:
        door.delete(stored)
    assert written["status"] == STATUS
    assert written["spec"] == stored["spec"]
    assert written["metadata"]["generation"] == 1


@pytest.mark.parametrize("base", [MINIMAL, FULL, EXTERNAL, ELSEWHERE], ids=["minimal", "full", "external", "elsewhere"])
def test_a_file_means_the_same_before_and_after_it_is_stored(door: Door, base: Raw) -> None:
    """The defaults of the schema and those of `model.resources` are equal."""
    stored = door.create(base, dry_run=True)
    from_server, from_file = tunnel_of(stored), tunnel_of(base)
    for name in ("ports", "workload", "external", "suspend", "plaintext", "clients", "authorization", "certificate"):
        assert getattr(from_server, name) == getattr(from_file, name), name
    for name in ("rollout", "proxy", "observability"):
        assert getattr(from_server, name) == getattr(from_file, name), name


@pytest.mark.parametrize(
    "spec",
    [
        {"trustDomain": "a"},
        DOMAIN["spec"],
        {"trustDomain": "a", "ca": {"type": "CertManager", "issuerRef": {"name": "root"}}},
        DOMAIN_OF_A_SECRET["spec"],
    ],
    ids=["minimal", "of cert-manager", "of a ClusterIssuer, unsaid", "of a Secret"],
)
def test_a_trust_domain_means_the_same_before_and_after_it_is_stored(door: Door, spec: Raw) -> None:
    raw = {**DOMAIN, "spec": spec}
    from_server, from_file = domain_of(door.create(raw, dry_run=True)), domain_of(raw)
    for name in ("trust_domain", "ca", "rotation", "federated", "allowed_namespaces", "max_leaf_seconds"):
        assert getattr(from_server, name) == getattr(from_file, name), name


def test_two_teams_apply_their_own_clients_ports_and_rules_to_one_tunnel(door: Door) -> None:
    """Server-side apply merges lists item by item: nobody takes away what another has given."""
    server = with_(MINIMAL, {"metadata.name": "shared"})
    named = {key: server[key] for key in ("apiVersion", "kind", "metadata")}

    def client(name: str, port: str, local: int = 5432) -> Raw:
        labels = {"matchLabels": {"app": name}}
        return {"name": name, "selector": labels, "listeners": [{"port": port, "localPort": local}]}

    steps = [
        ("platform", server["spec"]),
        (
            "metrics",
            {
                "server": {"ports": [{"name": "stats", "targetPort": 9187, "tlsPort": 19187}]},
                "clients": [client("prometheus", "stats")],
            },
        ),
        (
            "orders",
            {"clients": [client("api", "pg")], "authorization": {"allow": [{"name": "dr", "organizations": ["DR"]}]}},
        ),
        (
            "metrics",
            {"server": {"ports": [{"name": "stats", "targetPort": 9187, "tlsPort": 19187}]}},
        ),  # its client goes
    ]
    answer: Raw = {}
    try:
        for manager, spec in steps:
            answer = door.apply({**named, "spec": spec}, manager)
            assert refusal(answer) is None, (manager, answer)
        conflict = refusal(door.apply({**named, "spec": {"clients": [client("api", "pg", 5433)]}}, "stranger"))
    finally:
        door.delete(server)
    spec = answer["spec"]
    assert [port["name"] for port in spec["server"]["ports"]] == ["pg", "stats"]
    assert [one["name"] for one in spec["clients"]] == ["api"]
    assert [rule["name"] for rule in spec["authorization"]["allow"]] == ["dr"]
    assert conflict is not None
    assert 'conflict with "orders"' in str(conflict.causes)


def test_an_unknown_field_is_refused_and_not_ignored(door: Door) -> None:
    found = refusal(door.create(with_(MINIMAL, {"spec.server.plaintxtPolicy": "Block"}), dry_run=True))
    assert found is not None
    assert "plaintxtPolicy" in str(found.causes)


def test_tunnels_of_an_issuer_are_found_by_field(kinds: Kube, door: Door) -> None:
    for name, base in (("by-corp", FULL), ("by-default", MINIMAL)):
        door.create(with_(base, {"metadata.name": name}))
    try:
        text = kinds("get", "mtt", "-A", "--field-selector=spec.certificate.issuerRef.name=corp-mtls", "-o", "name")
    finally:
        for name in ("by-corp", "by-default"):
            door.delete(with_(MINIMAL, {"metadata.name": name}))
    assert text.split() == ["mtlstunnel.mtlstunnel.dev/by-corp"]
