"""Values of the trust room without a handshake: identities by their names, and file sets by their authority."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.material import File, Material, TlsFiles, parse
from mtls_tunnel.trust.pki import Credential
from support.clock import NOW
from support.pki import Authority

DAY = 86400.0


def someone(
    cn: str | None = None,
    *,
    orgs: Sequence[str] = (),
    ous: Sequence[str] = (),
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
    emails: Sequence[str] = (),
    uris: Sequence[str] = (),
    fingerprint: str = "00" * 32,
    **changes: Any,
) -> Identity:
    """An identity with these names, as `identity_of` would have read it from an unambiguous leaf."""
    uri = uris[0] if len(uris) == 1 else None
    values: dict[str, Any] = {
        "fingerprint": fingerprint,
        "subject": "" if cn is None else f"CN={cn}",
        "cn": cn,
        "orgs": tuple(orgs),
        "ous": tuple(ous),
        "dns": tuple(dns),
        "ips": tuple(ips),
        "emails": tuple(emails),
        "uris": tuple(uris),
        "uri": uri,
        "spiffe_id": uri if uri is not None and uri.startswith("spiffe://") else None,
        "not_before": NOW - DAY,
        "not_after": NOW + DAY,
        "serial": 1,
        "every_cn": () if cn is None else (cn,),
        "every_org": tuple(orgs),
        "every_ou": tuple(ous),
    }
    return Identity(**{**values, **changes})


def files(
    credential: Credential,
    *authorities: Authority,
    trust: Sequence[tuple[str, Authority]] = (),
    crls: Sequence[bytes] | None = None,
    **changes: Any,
) -> TlsFiles:
    """The files of one side: this certificate and key, a bundle of these CAs."""
    values: dict[str, Any] = {
        "cert": File("server.pem", credential.cert_pem),
        "key": File("server-key.pem", credential.key_pem),
        "ca": (File("ca.pem", b"".join(one.pem for one in authorities)),),
        "trust": tuple((domain, (File(f"{domain}.pem", one.pem),)) for domain, one in trust),
        "crls": None if crls is None else tuple(File(f"{n}.crl", crl) for n, crl in enumerate(crls)),
    }
    return TlsFiles(**{**values, **changes})


def material(
    *authorities: Authority,
    trust: Sequence[tuple[str, Authority]] = (),
    crls: Sequence[bytes] | None = None,
    own: Credential | None = None,
) -> Material:
    """A checked material that trusts these CAs."""
    credential = own or authorities[0].server()
    return parse(files(credential, *authorities, trust=trust, crls=crls), now=NOW)


def der(credential: Credential) -> bytes:
    """The leaf as it travels in a handshake."""
    return credential.certificate.public_bytes(Encoding.DER)
