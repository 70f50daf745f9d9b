"""Each CEL rule of MtlsTunnel: what it refuses, with which words, and what stands beside it and is accepted.

A case breaks one rule only and is refused for that alone: no rule is hidden behind another.  A rule without
a case fails the last test.
"""

import re
from typing import Any

import pytest

from mtls_tunnel_operator.model.reading import tunnel_of
from support.crds import ELSEWHERE, EXTERNAL, FULL, MINIMAL, TUNNELS, Door, Raw, refusal, rules, schema, with_
from support.refused_tunnels import EXISTS, PER_ACCOUNT, REFUSED, RULE, UPDATES

ACCEPTED: dict[str, tuple[Raw, dict[str, Any]]] = {
    "minimal": (MINIMAL, {}),
    "full": (FULL, {}),
    "external": (EXTERNAL, {}),
    "a Service elsewhere": (ELSEWHERE, {}),
    "an address that is an IP": (ELSEWHERE, {"spec.server.workload.service.address": "2001:db8::25"}),
    "one account each": (PER_ACCOUNT, {}),
    "an external server and accounts of its clients": (
        EXTERNAL,
        {"spec.certificate.subject": "PerServiceAccount", "spec.clients.0.serviceAccounts": ["billing"]},
    ),
    "a name of 50 characters": (MINIMAL, {"metadata.name": "a" + "-9" * 24 + "z"}),
    "no clients at all": (MINIMAL, {"spec.clients": []}),
    "an allow rule for one of the ports": (MINIMAL, {"spec.authorization.allow": [{**RULE, "ports": ["pg"]}]}),
    "an external server on a privileged port and on ours": (EXTERNAL, {"spec.server.ports.0.tlsPort": 15971}),
    "two tlsPorts for one targetPort": (
        MINIMAL,
        {"spec.server.ports.1": {"name": "pg2", "targetPort": 5432, "tlsPort": 15433}},
    ),
    "the lowest tlsPort": (MINIMAL, {"spec.server.ports.0.tlsPort": 1024}),
    "one localPort in two clients": (FULL, {"spec.clients.0.listeners.0.localPort": 6379}),
    "renewal as late as can be": (MINIMAL, {"spec.certificate": {"durationSeconds": 300, "renewBeforeSeconds": 240}}),
    "renewal of an hour's certificate": (MINIMAL, {"spec.certificate": {"durationSeconds": 3600}}),
    "a Secret signs": (MINIMAL, {"spec.certificate.issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}),
    "a trust domain signs": (MINIMAL, {"spec.certificate.issuerRef": {"name": "corp"}}),
    "an Issuer signs": (
        MINIMAL,
        {"spec.certificate.issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": "x"}},
    ),
    "ECDSA of 384 bits": (MINIMAL, {"spec.certificate.privateKey": {"sizeBits": 384}}),
    "RSA of 2048 bits": (MINIMAL, {"spec.certificate.privateKey": {"algorithm": "RSA", "sizeBits": 2048}}),
    "Ed25519": (MINIMAL, {"spec.certificate.privateKey": {"algorithm": "Ed25519"}}),
    "requests equal to limits, written otherwise": (
        FULL,
        {
            "spec.proxy.resources": {
                "requests": {"cpu": "1000m", "memory": "1Gi"},
                "limits": {"cpu": 1, "memory": "1024Mi"},
            }
        },
    ),
    "requests alone": (FULL, {"spec.proxy.resources": {"requests": {"cpu": 1, "memory": 1}}}),
    "a limit of one kind": (
        FULL,
        {"spec.proxy.resources": {"requests": {"cpu": 2, "memory": "1k"}, "limits": {"memory": "1Ki"}}},
    ),
    "a key with a prefix": (
        MINIMAL,
        {"spec.server.workload.selector": {"matchLabels": {"app.kubernetes.io/name": ""}}},
    ),
    "Exists": (MINIMAL, {"spec.server.workload.selector": EXISTS}),
    "Exists with an empty list": (
        MINIMAL,
        {
            "spec.server.workload.selector": {
                "matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": []}]
            }
        },
    ),
    "a dash at the end of a SPIFFE ID and dots within": (
        MINIMAL,
        {
            "spec.authorization.allow": [
                {"name": "odd", "spiffeIDs": ["spiffe://a/..b/.c/...", "spiffe://a/*", "spiffe://a_b/d-"]}
            ]
        },
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tunnel_that_breaks_one_rule_is_refused_for_that_alone(door: Door, name: str) -> None:
    base, changes, place, words = REFUSED[name]
    found = refusal(door.create(with_(base, changes), dry_run=True))
    assert found is not None, "accepted"
    assert [(where, words in message) for where, message in found.causes] == [(place, True)], found.causes


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_tunnel_beside_the_rules_is_accepted_and_read(door: Door, name: str) -> None:
    base, changes = ACCEPTED[name]
    stored = door.create(with_(base, changes), dry_run=True)
    assert refusal(stored) is None
    assert tunnel_of(stored).key.name == stored["metadata"]["name"]


@pytest.mark.parametrize("name", UPDATES)
def test_what_must_not_change_is_kept(door: Door, name: str) -> None:
    base, changes, place, words = UPDATES[name]
    stored = door.create(with_(base, {"metadata.name": "unchanging"}))
    try:
        found = refusal(door.replace(with_(stored, changes), dry_run=True))
        same = refusal(door.replace(with_(stored, {"spec.suspend": True}), dry_run=True))
    finally:
        door.delete(stored)
    assert found is not None, "accepted"
    assert [(where, words in message) for where, message in found.causes] == [(place, True)], found.causes
    assert same is None


def test_a_trust_domain_may_be_named_later(door: Door) -> None:
    stored = door.create(with_(MINIMAL, {"metadata.name": "later"}))
    try:
        assert refusal(door.replace(with_(stored, {"spec.certificate.trustDomain": "late.example"}))) is None
    finally:
        door.delete(stored)


def test_every_rule_has_a_case() -> None:
    tested = {(re.sub(r"\[\d+]", "[]", place), words) for _, _, place, words in (*REFUSED.values(), *UPDATES.values())}
    untested = [
        (place, message)
        for place, message in rules(schema(TUNNELS))
        if not any(place == where and words in message for where, words in tested)
    ]
    assert untested == []
