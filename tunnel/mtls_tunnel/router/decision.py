"""Who asks, for which host, and whether the rows say that it may be reached.  Fails closed.

PURE: a name and an identity become a claim, a claim and rows become an address or a refusal.  Nothing is fetched,
and nothing is normalised but the case of a server name, as the DNS has it.

Sources: SPIFFE-ID §2; RFC 6066 §3 (server_name); RFC 4343 (case in the DNS).
"""

import functools
import ipaddress
import re
from dataclasses import dataclass

from mtls_tunnel.config import addresses
from mtls_tunnel.config.schema import Address
from mtls_tunnel.router.rows import Found, Host
from mtls_tunnel.trust.identity import Identity

_CONNECT_ID = re.compile(r"[a-z0-9_-]{1,63}")
_PATH = re.compile(r"/orgs/([^/]+)/users/([^/]+)")


class Refused(Exception):
    """The connection leads nowhere.  `reason` is stable: it is a metric label and in the log."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Claim:
    """A user, proved by a certificate, who asks for a host; `connect_id` is in lower case."""

    issuer: str
    org_id: str
    user_id: str
    connect_id: str


def connect_id_of(server_name: str | None, domain: str) -> str:
    """The one label before *domain*.

    Raises:
        Refused: ``no_sni`` or ``bad_sni``.
    """
    if not server_name:
        raise Refused("no_sni", "the client names no server")
    label, dot, rest = server_name.lower().partition(".")
    if not dot or rest != domain or _CONNECT_ID.fullmatch(label) is None:
        raise Refused("bad_sni", f"the server name is not <connect_id>.{domain}")
    return label


def claim_of(identity: Identity | None, issuer: str, connect_id: str) -> Claim:
    """The user that the certificate names.

    Raises:
        Refused: ``no_spiffe_id``, ``bad_spiffe_id`` or ``wrong_issuer``.
    """
    if identity is None or not identity.uris:
        raise Refused("no_spiffe_id", "the certificate has no URI name")
    if len(identity.uris) > 1:
        raise Refused("bad_spiffe_id", "the certificate has several URI names")
    if identity.spiffe_id is None:
        raise Refused("bad_spiffe_id", "its URI name is no SPIFFE ID of a workload")
    domain, slash, path = identity.spiffe_id.removeprefix("spiffe://").partition("/")
    if domain != issuer:
        raise Refused("wrong_issuer", f"the trust domain is {domain}, not {issuer}")
    found = _PATH.fullmatch(slash + path)
    if found is None:
        raise Refused("bad_spiffe_id", "the path of the SPIFFE ID is not /orgs/<org>/users/<user>")
    return Claim(issuer, found[1], found[2], connect_id)


def decide(claim: Claim, found: Found) -> Host:
    """The host that *claim* may reach, by the rows that were *found*.

    Raises:
        Refused: ``unknown_user``, ``wrong_org``, ``unknown_host`` or ``not_allowed``.
    """
    if found.user is None or found.user.user_id != claim.user_id:
        raise Refused("unknown_user", "there is no such user")
    if found.user.org_id != claim.org_id:
        raise Refused("wrong_org", "the user belongs to another organization than the certificate says")
    if not found.hosts:
        raise Refused("unknown_host", "there is no such host")
    if len(found.hosts) > 1:
        raise Refused("unknown_host", "several hosts differ in upper and lower case only: rename all but one")
    host = found.hosts[0]
    if host.org_id != claim.org_id:
        raise Refused("wrong_org", "the host belongs to another organization")
    if claim.user_id in host.user_ids:
        return host
    for team in found.teams:
        if team.team_id in host.team_ids and team.org_id == claim.org_id and claim.user_id in team.user_ids:
            return host
    raise Refused("not_allowed", "neither the user nor a team of the user is listed for the host")


def address_of(host: Host, default_port: int) -> Address:
    """Where *host* is dialled: ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare v6 address.

    Raises:
        Refused: ``unknown_host``, if what stands there is none of these.
    """
    return _address(host.address, default_port)


@functools.lru_cache(maxsize=4096)  # of text that is in the store: the same few for all connections
def _address(text: str, default_port: int) -> Address:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return Address(str(ipaddress.IPv6Address(bare)), default_port)
    except ValueError:
        pass
    try:
        return addresses.parse(text if _has_port(text) else f"{text}:{default_port}", listening=False)
    except ValueError as error:
        raise Refused("unknown_host", f"its internal_ip_addr is no address: {error}") from error


def _has_port(text: str) -> bool:
    return ":" in text.rpartition("]")[2]
