"""A PKI for tests: a few words make a CA, a leaf and every kind of wrong leaf.

    ca = Authority()                                   # valid now
    web = ca.leaf("web", dns=("localhost",))           # a mtls_tunnel.trust.pki.Credential
    bad = ca.expired("old"), Authority("Rogue").client()

    files = Folder(tmp_path)                           # ca.pem, server.pem, server-key.pem, client.pem, client-key.pem
    files.write("other", files.authority.leaf("other"))  # other.pem, other-key.pem

Times count from `now`: the real clock by default, because handshakes look at it; pure tests pass support.clock.NOW.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_tunnel.trust import pki
from mtls_tunnel.trust.pki import DAY_SECONDS, Credential, Extension, KeyKind, Names, Validity

SPIFFE_ID = "spiffe://example.org/frontend"


class Authority:
    """A CA, root or intermediate.  Every method that makes a leaf returns a Credential."""

    def __init__(
        self,
        cn: str = "Test Root",
        *,
        now: float | None = None,
        key: KeyKind = "ecdsa",
        days: float = 3650,
        since_days: float = -1,
        credential: Credential | None = None,
    ) -> None:
        self.now = time.time() if now is None else now
        self.credential = credential or pki.make_root(
            Names(cn=cn, orgs=("Test",)), validity=self.validity(days, since_days), key=pki.new_key(key)
        )

    @property
    def certificate(self) -> x509.Certificate:
        return self.credential.certificate

    @property
    def pem(self) -> bytes:
        """The CA's own certificate: what stands in a trust bundle."""
        return self.certificate.public_bytes(Encoding.PEM)

    def validity(self, days: float, since_days: float = -1) -> Validity:
        return Validity(self.now + since_days * DAY_SECONDS, self.now + days * DAY_SECONDS)

    def intermediate(
        self,
        cn: str = "Test Intermediate",
        *,
        key: KeyKind = "ecdsa",
        days: float = 1825,
        since_days: float = -1,
        path_length: int | None = 0,
    ) -> "Authority":
        below = pki.make_intermediate(
            self.credential,
            Names(cn=cn, orgs=("Test",)),
            validity=self.validity(days, since_days),
            key=pki.new_key(key),
            path_length=path_length,
        )
        return Authority(now=self.now, credential=below)

    def leaf(
        self,
        cn: str = "",
        *,
        org: Sequence[str] = (),
        ou: Sequence[str] = (),
        dns: Sequence[str] = (),
        ip: Sequence[str] = (),
        uri: Sequence[str] = (),
        email: Sequence[str] = (),
        server: bool = True,
        client: bool = True,
        days: float = 90,
        since_days: float = -1,
        key: KeyKind = "ecdsa",
    ) -> Credential:
        names = Names(cn, tuple(org), tuple(ou), tuple(dns), tuple(ip), tuple(uri), tuple(email))
        validity = self.validity(days, since_days)
        return pki.make_leaf(
            self.credential, names, validity=validity, key=pki.new_key(key), server=server, client=client
        )

    def server(
        self, cn: str = "localhost", *, uri: Sequence[str] = (), days: float = 90, key: KeyKind = "ecdsa"
    ) -> Credential:
        """For a server on the loopback: SAN localhost, 127.0.0.1, ::1."""
        ips = ("127.0.0.1", "::1")
        return self.leaf(cn, dns=("localhost",), ip=ips, uri=uri, client=False, days=days, key=key)

    def client(
        self,
        cn: str = "frontend-service",
        *,
        org: Sequence[str] = ("Example",),
        uri: Sequence[str] = (),
        days: float = 90,
        key: KeyKind = "ecdsa",
    ) -> Credential:
        return self.leaf(cn, org=org, dns=(cn,), uri=uri, server=False, days=days, key=key)

    def expired(self, cn: str = "expired", *, uri: Sequence[str] = ()) -> Credential:
        return self.leaf(cn, dns=("localhost",), ip=("127.0.0.1", "::1"), uri=uri, days=-1, since_days=-30)

    def not_yet_valid(self, cn: str = "early", *, uri: Sequence[str] = ()) -> Credential:
        return self.leaf(cn, dns=("localhost",), ip=("127.0.0.1", "::1"), uri=uri, days=60, since_days=30)

    def cn_only(self, cn: str = "localhost") -> Credential:
        """No SAN at all: the name stands in the subject only."""
        return self.leaf(cn)

    def two_uris(self, *uris: str) -> Credential:
        return self.leaf("two", dns=("localhost",), uri=uris or (SPIFFE_ID, SPIFFE_ID + "-2"))

    def wrong_purpose(self, cn: str = "mail") -> Credential:
        """An extended key usage that allows neither TLS server nor TLS client."""
        usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return self.odd(Names(cn=cn, dns=("localhost",)), usage)

    def no_digital_signature(self, cn: str = "unsigned", *, uri: Sequence[str] = ()) -> Credential:
        usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
        return self.odd(Names(cn=cn, dns=("localhost",), uris=tuple(uri)), (usage, True))

    def ca_leaf(self, cn: str = "ca-leaf", *, uri: Sequence[str] = (SPIFFE_ID,)) -> Credential:
        """A CA certificate that is used as a leaf."""
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        return self.odd(
            Names(cn=cn, dns=("localhost",), uris=tuple(uri)),
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (usage, True),
        )

    def unknown_critical(self, cn: str = "strange") -> Credential:
        strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
        return self.odd(Names(cn=cn, dns=("localhost",)), (strange, True))

    def two_cns(self, *cns: str) -> Credential:
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, cn) for cn in cns or ("one", "two")]
        return self.odd(Names(dns=("localhost",)), subject=x509.Name(parts))

    def odd(
        self,
        names: Names,
        *extensions: Extension,
        without: Sequence[type[x509.ExtensionType]] = (),
        subject: x509.Name | None = None,
        days: float = 90,
        since_days: float = -1,
        key: KeyKind = "ecdsa",
    ) -> Credential:
        """A leaf whose extensions differ: those given take the place of their kind, those in `without` are missing."""
        own = pki.new_key(key)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        normal = pki.leaf_extensions(own.public_key(), self.credential.key.public_key(), names, usages)
        replaced = {extension.oid for extension, _ in extensions} | {kind.oid for kind in without}
        kept = [pair for pair in normal if pair[0].oid not in replaced]
        name = names.subject() if subject is None else subject
        return pki.sign(self.credential, name, own, self.validity(days, since_days), [*kept, *extensions])

    def crl(
        self,
        *revoked: Credential | int,
        number: int = 1,
        hours: float = 24,
        since_hours: float = -1,
        extensions: Sequence[Extension] = (),
    ) -> x509.CertificateRevocationList:
        """A CRL of this CA that lists these certificates (or serials)."""
        serials = [one if isinstance(one, int) else one.certificate.serial_number for one in revoked]
        since = self.now + since_hours * 3600
        return pki.make_crl(
            self.credential,
            [pki.Revoked(serial, since) for serial in serials],
            number=number,
            this_update=since,
            next_update=self.now + hours * 3600,
            extensions=extensions,
        )

    def crl_pem(self, *revoked: Credential | int, number: int = 1, hours: float = 24, since_hours: float = -1) -> bytes:
        crl = self.crl(*revoked, number=number, hours=hours, since_hours=since_hours)
        return crl.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a credential lies."""

    cert: str
    key: str


class Folder:
    """mtlsd's five files in a folder, and more on demand.  Keys are written 0600."""

    def __init__(self, path: Path, *, now: float | None = None, ca: Authority | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.authority = ca or Authority(now=now)
        self.ca = str(path / "ca.pem")
        self.write_ca(self.authority)
        self.server_credential = self.authority.server()
        self.client_credential = self.authority.client()
        self.server = self.write("server", self.server_credential)
        self.client = self.write("client", self.client_credential)

    def write(self, name: str, credential: Credential) -> Written:
        """NAME.pem (leaf and intermediates) and NAME-key.pem; an existing pair is overwritten in place."""
        cert = self.put(f"{name}.pem", credential.cert_pem)
        key = self.put(f"{name}-key.pem", credential.key_pem, mode=0o600)
        return Written(cert, key)

    def write_ca(self, *authorities: Authority, name: str = "ca.pem") -> str:
        return self.put(name, b"".join(ca.pem for ca in authorities))

    def put(self, name: str, content: bytes, *, mode: int = 0o644) -> str:
        path = self.path / name
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)
