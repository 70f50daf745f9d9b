"""The manifest of a Secret, and what of a signer ends in the sidecars' files."""

import base64
from dataclasses import replace

from cryptography import x509

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, leaf
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.desired import objects
from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.desired.places import places_of
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.desired.world import peers_of
from mtls_tunnel_operator.model.resources import CaSpec
from mtls_tunnel_operator.settings import Defaults
from support.tunnel_resources import NOON, space, tunnel, tunnel_raw

ROOT, NEXT = ca.make_root(CaSpec(), "cluster.local", NOON), ca.make_root(CaSpec(), "cluster.local", NOON)
SIGNER = Signer("default", "cluster.local", ROOT, (ROOT.certificate, NEXT.certificate))
DEFAULTS = Defaults("image", cluster_domain="k8s.example")


def test_a_secret_holds_what_its_pods_mount() -> None:
    made = tunnel()
    place = places_of(made, {"api": ("bi",)})[1]
    wanted = leaf_names(place.part, "bi", "", "cluster.local", "cluster.local")
    fresh = leaf.issue(SIGNER, wanted, 3600, made.certificate.private_key, "client", NOON)

    secret = objects.secret(
        place,
        cert_pem=fresh.cert_pem,
        key_pem=fresh.key_pem,
        signer=SIGNER,
        issuer_fingerprint=fresh.issuer_fingerprint,
        renew_at=NOON + 2400,
    )

    assert (secret["type"], "immutable" in secret) == ("kubernetes.io/tls", False)
    files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
    assert files == {"tls.crt": fresh.cert_pem, "tls.key": fresh.key_pem, "ca.crt": SIGNER.bundle_pem}
    assert x509.load_pem_x509_certificates(files["ca.crt"]) == [ROOT.certificate, NEXT.certificate]
    meta = secret["metadata"]
    assert (meta["namespace"], meta["name"]) == ("bi", "orders-db-mtls-client-api-a4e1952f")
    assert (meta["labels"][names.ROLE_LABEL], meta["labels"][names.CLIENT_LABEL]) == ("client", "api")
    assert (
        meta["annotations"].items()
        >= {
            names.DOMAIN_ANNOTATION: "default",
            names.ISSUER_ANNOTATION: ROOT.fingerprint,
            names.BUNDLE_ANNOTATION: SIGNER.bundle_fingerprint,
            names.RENEWAL_ANNOTATION: "2027-01-15T08:40:00Z",
        }.items()
    )
    assert "ownerReferences" not in meta
    assert same(secret, {**secret, "data": dict(secret["data"])})
    assert not same(secret, {**secret, "data": {**secret["data"], "tls.key": "eA=="}})


def test_peers_are_as_the_signer_and_the_namespaces_make_them() -> None:
    client = {**tunnel_raw()["spec"]["clients"][0], "namespaces": {"from": "Names", "names": ["bi", "ops", "gone"]}}
    far = ca.make_root(CaSpec(), "dr.example", NOON)
    signer = replace(
        SIGNER,
        federated=(("dr.example", (far.certificate,)), ("cluster.local", (far.certificate,))),
        emergency=True,
    )
    spaces = {"shop": space(), "bi": space("bi", accepts=("shop",)), "ops": space("ops")}

    peers = peers_of(tunnel(clients=[client]), signer, spaces, DEFAULTS, server_ca="PEM")

    assert (peers.trust_domain, peers.cluster_domain, peers.server_ca) == ("cluster.local", "k8s.example", "PEM")
    assert peers.spaces == {"api": ("bi",)}
    # A bundle that somebody has given for our own domain would replace our own CAs.
    assert peers.federated == (("dr.example", ca.pem_of((far.certificate,)).decode()),)
    assert peers.emergency
