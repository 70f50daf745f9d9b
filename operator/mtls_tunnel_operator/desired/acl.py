"""Who may connect to which port: clients of the resource, and those whom it lists, become an ACL.

Nothing that is not listed is allowed, whatever else is missing: a port that nobody may use refuses everyone.
A declared client may use the ports that its listeners name and no other.  What a changed ACL refuses is cut
at once; connections that began under a CA that has been retired since, or whose leaf has expired, go on.
"""

import re
from collections.abc import Callable, Collection, Iterable

from mtls_tunnel.config import patterns
from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel_operator.desired import names
from mtls_tunnel_operator.desired.places import places_of_part
from mtls_tunnel_operator.desired.world import Peers
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.parts import Part
from mtls_tunnel_operator.model.resources import Rule, Tunnel

# What no tunnel.yaml may hold, and what is no text at all.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def clients_of_port(tunnel: Tunnel, port: str) -> frozenset[str]:
    """The client entries whose listeners name *port*."""
    return frozenset(
        client.name for client in tunnel.clients if any(listener.port == port for listener in client.listeners)
    )


def server_acl(tunnel: Tunnel, port: str, clients: Collection[str], peers: Peers) -> Acl:
    """The ACL of a server's *port* that the entries *clients* may use, beside those whom the resource lists.

    Raises:
        SpecError: InvalidRule, for a name that no certificate can have.
    """
    rules = [rule for rule in tunnel.authorization.allow if not rule.ports or port in rule.ports]
    declared = [
        place.identity(peers.trust_domain)
        for client in tunnel.clients
        if client.name in clients
        for place in places_of_part(Part(tunnel, "client", client), peers.spaces)
    ]
    allow = Rules(
        cn=_checked(rules, "commonNames", lambda rule: rule.common_names, patterns.name),
        org=_checked(rules, "organizations", lambda rule: rule.organizations, patterns.name),
        dns=_checked(rules, "dnsNames", lambda rule: rule.dns_names, patterns.dns),
        uri=_once((*declared, *_checked(rules, "spiffeIDs", lambda rule: rule.spiffe_ids, patterns.uri))),
    )
    return _acl(allow, peers, audit=tunnel.authorization.mode == "Audit")


def client_acl(tunnel: Tunnel, peers: Peers) -> Acl:
    """Whom a client takes for the server, beside the check of the name in the handshake."""
    if tunnel.external is None:
        return _acl(Rules(uri=names.server_identities(tunnel, peers.trust_domain)), peers)
    if tunnel.external.spiffe_id:
        return _acl(Rules(uri=(tunnel.external.spiffe_id,)), peers)
    name = names.server_name(tunnel, peers.cluster_domain)
    if ":" in name or name.replace(".", "").isdigit():
        return _acl(Rules(ip=(name,)), peers)
    # A certificate for *.example.com is one for db.example.com; the handshake has seen to the rest.
    parent = name.partition(".")[2]
    accepted = (name, f"*.{parent}") if "." in parent else (name,)
    return _acl(Rules(dns=_once(map(patterns.dns, accepted))), peers)


def _acl(allow: Rules, peers: Peers, *, audit: bool = False) -> Acl:
    return Acl(
        default="deny",
        allow=allow,
        mode="audit" if audit else "enforce",
        on_expiry="log",
        on_ca_removed="close" if peers.emergency else "log",
    )


def _checked(
    rules: Iterable[Rule], key: str, pick: Callable[[Rule], tuple[str, ...]], check: Callable[[str], str]
) -> tuple[str, ...]:
    found = []
    for rule in rules:
        for text in pick(rule):
            try:
                if _CONTROL.search(text):
                    raise ValueError("contains a control character - no name that a certificate proves has one")
                found.append(check(text))
            except ValueError as fault:
                place = f"spec.authorization.allow[{rule.name}].{key}"
                raise SpecError("InvalidRule", f"{place}: {text[:80]!r} {fault}") from None
    return _once(found)


def _once(names_: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names_))
