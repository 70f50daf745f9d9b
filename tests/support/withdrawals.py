"""Access that is withdrawn by a reload while somebody is about to use it: revoked, denied, or its CA removed.

    holder = other.client("holder")
    with trusting_both(tmp_path, other) as guarded:
        ...  # whatever the holder got before the change
        with guarded.refuses(withdraw("revoked", guarded, other, holder)):
            ...  # and tries to use after it

The holder's certificate comes from a CA of its own, so that the good client keeps its access.
"""

from pathlib import Path
from typing import Literal, get_args

from mtls_tunnel.trust.pki import Credential
from support.guarded import Guarded, Sign, acl_denial, handshake_failure
from support.pki import Authority

Change = Literal["revoked", "denied", "ca_removed"]
CHANGES: tuple[Change, ...] = get_args(Change)


def trusting_both(folder: Path, other: Authority) -> Guarded:
    """A tunnel that trusts its own CA and *other*, with a CRL of each."""
    guarded = Guarded(folder, {"tls": {"crl": str(folder / "pki" / "crls")}})
    (guarded.files.path / "crls").mkdir()
    guarded.files.put("crls/ours.crl", guarded.authority.crl_pem())
    guarded.files.put("crls/other.crl", other.crl_pem())
    guarded.files.write_ca(guarded.authority, other)
    return guarded


def withdraw(change: Change, guarded: Guarded, other: Authority, holder: Credential) -> Sign:
    """Take access from *holder*, a leaf of *other* with that common name, and reload; how a refusal will show."""
    match change:
        case "revoked":
            guarded.files.put("crls/other.crl", other.crl_pem(holder, number=2))
            sign = handshake_failure("revoked")
        case "denied":
            guarded.tunnel.rewrite({"acl": {"deny_cn": ["holder"]}})
            sign = acl_denial("deny_cn")
        case _:
            guarded.files.write_ca(guarded.authority)
            sign = handshake_failure("unknown_ca")
    guarded.tunnel.hang_up()
    return sign
