"""An MtlsTrustDomain becomes a value with its defaults and requests, or one sentence that says what to change."""

from typing import Any

import pytest

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.reading import domain_of
from mtls_tunnel_operator.model.resources import CaSpec, Federated, IssuerRef, PrivateKey, Rotation, TrustDomain
from mtls_tunnel_operator.model.selectors import Requirement, Selector
from support.crds import ABSENT, DOMAIN, DOMAIN_OF_A_SECRET, with_

MINIMAL = {"metadata": {"name": "default"}, "spec": {"trustDomain": "cluster.local"}}


def test_what_a_trust_domain_leaves_out_takes_its_default() -> None:
    assert domain_of(MINIMAL) == TrustDomain("default", "", 0, 0.0, "cluster.local")


def test_every_field_arrives() -> None:
    metadata = {
        "uid": "1-2-3",
        "generation": 4,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "annotations": {"mtlstunnel.dev/rotate": "1763726400", "mtlstunnel.dev/compromised": "AB:CD, ef01"},
    }
    raw = {**DOMAIN, "metadata": {**DOMAIN["metadata"], **metadata}, "status": {"notAfter": "x"}}
    found = domain_of(raw)
    assert found == TrustDomain(
        name="corp",
        uid="1-2-3",
        generation=4,
        created=1795262400.0,
        trust_domain="corp.example",
        ca=CaSpec(
            type="CertManager",
            issuer=IssuerRef("cert-manager.io", "Issuer", "root"),
            duration_seconds=7776000,
            renew_before_seconds=2592000,
            private_key=PrivateKey("RSA", 4096),
        ),
        rotation=Rotation(120, 600),
        federated=(Federated("partner.example", "partner"),),
        allowed_namespaces=Selector(
            (Requirement("team", "In", frozenset({"payments"})), Requirement("stage", "In", frozenset({"prod"})))
        ),
        max_leaf_seconds=604800,
        rotate_request="1763726400",
        compromised=("abcd", "ef01"),
    )
    assert found.status == {"notAfter": "x"}


def test_a_ca_may_come_from_a_secret() -> None:
    assert domain_of(DOMAIN_OF_A_SECRET).ca == CaSpec(type="Secret", secret="offline-ca")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"spec.trustDomain": ABSENT}, "spec.trustDomain: is missing", id="no trust domain"),
        pytest.param({"spec.trustDomain": "a/ns/b"}, "is no SPIFFE trust domain", id="a path for a trust domain"),
        pytest.param({"spec.trustDomain": "Corp"}, "is no SPIFFE trust domain", id="capitals"),
        pytest.param({"metadata.name": "a.b"}, "metadata.name: 'a.b'", id="a name with a dot"),
        pytest.param({"spec.ca.type": "Vault"}, "use SelfSigned or Secret or CertManager", id="an unknown type"),
        pytest.param({"spec.ca.issuerRef": ABSENT}, "give it with type CertManager, and only then", id="no issuer"),
        pytest.param(
            {"spec.ca.type": "SelfSigned"}, "spec.ca.issuerRef: give it with type CertManager", id="one too many"
        ),
        pytest.param({"spec.ca.issuerRef.group": "x"}, "use cert-manager.io", id="another group's issuer"),
        pytest.param(
            {"spec.ca.renewBeforeSeconds": 7776000}, "must be below durationSeconds", id="no end of rotations"
        ),
        pytest.param(
            {"spec.ca.privateKey": {"sizeBits": 2048}}, "2048 does not fit ECDSA: use 256 or 384", id="a size"
        ),
        pytest.param(
            {"spec.maxLeafDurationSeconds": 2592000},
            "spec.ca.renewBeforeSeconds: must be at least 2593200",
            id="leaves outlive what renewal leaves them",
        ),
        pytest.param(
            {"spec.federatedBundles.0.trustDomain": "corp.example"},
            "names this trust domain itself: remove that entry",
            id="federated with itself",
        ),
        pytest.param(
            {"spec.allowedNamespaces.selector": ABSENT}, "spec.allowedNamespaces.selector: want", id="no selector"
        ),
        pytest.param({"spec.allowedNamespaces.from": "All"}, "give it with from: Selector", id="a selector for all"),
        pytest.param({"spec.rotation.issuingSeconds": -1}, "want an integer from 0", id="a time before now"),
    ],
)
def test_bad_input_is_named_by_its_place_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        domain_of(with_(DOMAIN, changes))
    assert message in caught.value.message
