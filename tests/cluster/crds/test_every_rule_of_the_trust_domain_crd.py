"""Each CEL rule of MtlsTrustDomain: what it refuses, with which words, and what stands beside it and is accepted."""

import re
from typing import Any

import pytest

from mtls_tunnel_operator.model.reading import domain_of
from support.crds import ABSENT, DOMAIN, DOMAIN_OF_A_SECRET, DOMAINS, Door, Raw, refusal, rules, schema, with_

MINIMAL: Raw = {
    "apiVersion": "mtlstunnel.dev/v1alpha1",
    "kind": "MtlsTrustDomain",
    "metadata": {"name": "default"},
    "spec": {"trustDomain": "cluster.local"},
}
SELECTOR = "spec.allowedNamespaces.selector"
EXISTS = {"matchExpressions": [{"key": "team", "operator": "Exists"}]}
TIGHT = {
    "spec.maxLeafDurationSeconds": 300,
    "spec.rotation": {"propagationSeconds": 10, "issuingSeconds": 0},
    "spec.ca": {"durationSeconds": 600, "renewBeforeSeconds": 350},
}

# name: (object, changes to it, place and words of the refusal)
REFUSED: dict[str, tuple[Raw, dict[str, Any], str, str]] = {
    "a name with a dot": (MINIMAL, {"metadata.name": "a.b"}, "", "DNS label of at most 50"),
    "a name of 51 characters": (MINIMAL, {"metadata.name": "a" * 51}, "", "DNS label of at most 50"),
    "a CA that is replaced too late for its leaves": (
        MINIMAL,
        {"spec.ca": {"renewBeforeSeconds": 2592000 + 3600 + 5 * 180 - 1}},
        "spec.ca.renewBeforeSeconds",
        "must be at least maxLeafDurationSeconds + rotation.issuingSeconds + 5 x",
    ),
    "leaves that live too long for their CA": (
        MINIMAL,
        {"spec.maxLeafDurationSeconds": 31536000},
        "spec.ca.renewBeforeSeconds",
        "or lower maxLeafDurationSeconds",
    ),
    "waits that are too long for the CA": (
        MINIMAL,
        {
            "spec.rotation": {"propagationSeconds": 86400, "issuingSeconds": 604800},
            "spec.maxLeafDurationSeconds": 7776000,
        },
        "spec.ca.renewBeforeSeconds",
        "or a rotation could not end in time",
    ),
    "its own domain federated": (
        MINIMAL,
        {"spec.federatedBundles": [{"trustDomain": "cluster.local", "configMapRef": {"name": "x"}}]},
        "spec.federatedBundles",
        "names this trust domain itself",
    ),
    "a Secret without secretRef": (
        DOMAIN_OF_A_SECRET,
        {"spec.ca.secretRef": ABSENT},
        "spec.ca",
        "set secretRef with type Secret, and only then",
    ),
    "secretRef without type Secret": (
        MINIMAL,
        {"spec.ca": {"secretRef": {"name": "x"}}},
        "spec.ca",
        "set secretRef with type Secret, and only then",
    ),
    "CertManager without issuerRef": (
        DOMAIN,
        {"spec.ca.issuerRef": ABSENT},
        "spec.ca",
        "set issuerRef with type CertManager, and only then",
    ),
    "issuerRef without type CertManager": (
        MINIMAL,
        {"spec.ca": {"issuerRef": {"name": "x"}}},
        "spec.ca",
        "set issuerRef with type CertManager, and only then",
    ),
    "a CA that is always being replaced": (
        MINIMAL,
        {"spec.ca": {"durationSeconds": 7776000}},
        "spec.ca.renewBeforeSeconds",
        "must be below durationSeconds",
    ),
    "a curve of 3072 bits": (
        MINIMAL,
        {"spec.ca": {"privateKey": {"sizeBits": 3072}}},
        "spec.ca.privateKey.sizeBits",
        "sizeBits does not fit algorithm",
    ),
    "Ed25519 with a size": (
        MINIMAL,
        {"spec.ca": {"privateKey": {"algorithm": "Ed25519", "sizeBits": 384}}},
        "spec.ca.privateKey.sizeBits",
        "sizeBits does not fit algorithm",
    ),
    "from Selector without selector": (
        MINIMAL,
        {"spec.allowedNamespaces": {"from": "Selector"}},
        "spec.allowedNamespaces",
        "set selector with from: Selector, and only then",
    ),
    "a selector with from All": (
        MINIMAL,
        {"spec.allowedNamespaces": {"selector": EXISTS}},
        "spec.allowedNamespaces",
        "set selector with from: Selector, and only then",
    ),
    "an empty selector": (DOMAIN, {SELECTOR: {}}, SELECTOR, "selector must not be empty"),
    "a key that is none": (
        DOMAIN,
        {SELECTOR: {"matchLabels": {"a b": ""}}},
        f"{SELECTOR}.matchLabels",
        "is no label key",
    ),
    "NotIn without values": (
        DOMAIN,
        {SELECTOR: {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}},
        f"{SELECTOR}.matchExpressions[0]",
        "give at least one of values with In and NotIn",
    ),
    "DoesNotExist with values": (
        DOMAIN,
        {SELECTOR: {"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]}},
        f"{SELECTOR}.matchExpressions[0]",
        "none with Exists and DoesNotExist",
    ),
}

ACCEPTED: dict[str, tuple[Raw, dict[str, Any]]] = {
    "minimal": (MINIMAL, {}),
    "of cert-manager": (DOMAIN, {}),
    "of a Secret": (DOMAIN_OF_A_SECRET, {}),
    "of a Secret, whose dates are somebody else's": (DOMAIN_OF_A_SECRET, {"spec.maxLeafDurationSeconds": 31536000}),
    "a name of 50 characters": (MINIMAL, {"metadata.name": "a" * 50}),
    "the latest renewal that is in time": (MINIMAL, {"spec.ca": {"renewBeforeSeconds": 2592000 + 3600 + 5 * 180}}),
    "minutes instead of months": (MINIMAL, TIGHT),
    "eight others": (
        MINIMAL,
        {"spec.federatedBundles": [{"trustDomain": f"d{n}.example", "configMapRef": {"name": "x"}} for n in range(8)]},
    ),
    "a ClusterIssuer, unsaid": (MINIMAL, {"spec.ca": {"type": "CertManager", "issuerRef": {"name": "root"}}}),
    "Ed25519": (MINIMAL, {"spec.ca": {"privateKey": {"algorithm": "Ed25519"}}}),
    "namespaces that have a label": (MINIMAL, {"spec.allowedNamespaces": {"from": "Selector", "selector": EXISTS}}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_trust_domain_that_breaks_one_rule_is_refused_for_that_alone(door: Door, name: str) -> None:
    base, changes, place, words = REFUSED[name]
    found = refusal(door.create(with_(base, changes), dry_run=True))
    assert found is not None, "accepted"
    assert [(where, words in message) for where, message in found.causes] == [(place, True)], found.causes


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_trust_domain_beside_the_rules_is_accepted_and_read(door: Door, name: str) -> None:
    base, changes = ACCEPTED[name]
    stored = door.create(with_(base, changes), dry_run=True)
    assert refusal(stored) is None
    assert domain_of(stored).name == stored["metadata"]["name"]


IMMUTABLE = ("spec.trustDomain", "trustDomain is immutable, every identity begins with it")


def test_the_name_of_a_trust_domain_cannot_change(door: Door) -> None:
    stored = door.create(with_(DOMAIN, {"metadata.name": "unchanging"}))
    try:
        found = refusal(door.replace(with_(stored, {"spec.trustDomain": "other.example"}), dry_run=True))
        same = refusal(door.replace(with_(stored, {"spec.maxLeafDurationSeconds": 86400}), dry_run=True))
    finally:
        door.delete(stored)
    assert found is not None, "accepted"
    assert [(where, IMMUTABLE[1] in message) for where, message in found.causes] == [(IMMUTABLE[0], True)]
    assert same is None


def test_every_rule_has_a_case() -> None:
    tested = {(re.sub(r"\[\d+]", "[]", place), words) for _, _, place, words in REFUSED.values()} | {IMMUTABLE}
    untested = [
        (place, message)
        for place, message in rules(schema(DOMAINS))
        if not any(place == where and words in message for where, words in tested)
    ]
    assert untested == []
