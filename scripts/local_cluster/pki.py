"""The keys of a throw-away cluster: one CA, a certificate for each program, and kubeconfig files.

A program is to Kubernetes what its certificate says: the common name is the user, the organisation the
group (kubernetes.io, "Using Node Authorization", "Default component roles").
"""

import base64
import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local_cluster.place import DOMAIN, NODE, SERVICE_ADDRESS, Place

LIFE = datetime.timedelta(days=30)
NAMES = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}", "localhost"]
CLIENTS = {
    "admin": ("cluster-admin", "system:masters"),
    "apiserver-kubelet": ("kube-apiserver-kubelet-client", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}


def write_pki(place: Place) -> None:
    """Make every key, certificate and kubeconfig of the cluster at *place*; what was there is replaced."""
    place.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _Authority(place.pki)
    addresses = ["127.0.0.1", SERVICE_ADDRESS, place.address]
    authority.issue("apiserver", "kube-apiserver", servers=[*NAMES, *addresses])
    authority.issue("kubelet-server", f"system:node:{NODE}", "system:nodes", servers=[NODE, place.address])
    for name, (user, group) in CLIENTS.items():
        authority.issue(name, user, group)
        where = place.kubeconfig if name == "admin" else place.pki / f"{name}.kubeconfig"
        where.write_text(_kubeconfig(place, name), encoding="utf-8")
        where.chmod(0o600)
    _write_key(place.pki / "service-accounts.key", key := ec.generate_private_key(ec.SECP256R1()))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place.pki / "service-accounts.pub").write_bytes(public)


class _Authority:
    """Owns the CA key while it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _subject("mtls-tunnel test cluster", "")
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        unsigned = _unsigned(self.name, self.name, self.key.public_key())
        unsigned = unsigned.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        signed = unsigned.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        _write_key(folder / "ca.key", self.key)
        (folder / "ca.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, user: str, group: str = "", *, servers: list[str] | None = None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if servers else ExtendedKeyUsageOID.CLIENT_AUTH
        unsigned = _unsigned(_subject(user, group), self.name, key.public_key())
        unsigned = unsigned.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if servers:
            unsigned = unsigned.add_extension(x509.SubjectAlternativeName(map(_alternative, servers)), critical=False)
        signed = unsigned.sign(self.key, hashes.SHA256())
        _write_key(self.folder / f"{name}.key", key)
        (self.folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )


def _subject(user: str, group: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    # The SEC 1 form, because kube-apiserver reads service account keys in no other.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _kubeconfig(place: Place, name: str) -> str:
    """JSON, which is YAML.  Everything stands in it, so that it can be copied elsewhere."""

    def inline(file: str) -> str:
        return base64.b64encode((place.pki / file).read_bytes()).decode()

    cluster = {"server": place.server, "certificate-authority-data": inline("ca.crt")}
    user = {"client-certificate-data": inline(f"{name}.crt"), "client-key-data": inline(f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "mtls-tunnel", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "mtls-tunnel", "context": {"cluster": "mtls-tunnel", "user": name}}],
        "current-context": "mtls-tunnel",
    }
    return json.dumps(config, indent=1) + "\n"
