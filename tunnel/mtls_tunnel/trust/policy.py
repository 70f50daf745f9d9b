"""Who may pass: an ACL, compiled once, turns an `Identity` into a `Decision`.

Deny beats allow; allow rules are OR-ed; an ACL without allow rules decides by its default.  Rules look
only at names that the handshake has proved; there is no pattern language beyond what stands here:

    dns    exact, or *.example.com: one label in front, never the bare name
    ip     address or CIDR, against IP names of the certificate (not the socket's address)
    uri    exact; * is one whole segment; ** is one or more segments and stands last
    the rest is compared exactly, letter for letter

Allow rules read what is unambiguous (the only URI, the only CN), deny rules read everything that is there
and ignore case where it does not matter: in doubt a peer is not let in.
Patterns have been validated by `config`; one that slipped through is a ValueError here, never a match.
Pure, without regular expressions, so no pattern can be slow.  Exact rules cost one look-up each.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.trust.identity import Identity, mailbox

# RFC 3986 pchar without percent-encoding: "%2f" is a slash to whoever decodes it, so no wildcard takes it.
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")


@dataclass(frozen=True, slots=True)
class Decision:
    """What an ACL says of one peer."""

    allowed: bool
    rule: str  # the key that decided: allow_cn, deny_uri, default
    roles: tuple[str, ...] = ()  # every role that the peer has, in the order of the configuration
    audit: bool = False  # it would have been denied, and passes only because the ACL is in audit mode


class _Addresses:
    """IP addresses and networks; one set look-up per distinct prefix length."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._networks: dict[tuple[int, int], set[int]] = {}
        for pattern in patterns:
            network = ipaddress.ip_network(pattern)
            first, length = network.network_address, network.prefixlen
            if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped is not None and length >= 96:
                first, length = first.ipv4_mapped, length - 96
            self._networks.setdefault((first.version, length), set()).add(int(first))

    def __contains__(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # ::ffff:10.0.0.1 is the host 10.0.0.1
        number, bits = int(address), address.max_prefixlen
        return any(
            version == address.version and (number >> (bits - length) << (bits - length)) in networks
            for (version, length), networks in self._networks.items()
        )


class _Names:
    """DNS names: exact ones, and parents whose direct children match."""

    def __init__(self, patterns: Sequence[str]) -> None:
        lowered = [pattern.lower() for pattern in patterns]
        for pattern in lowered:
            if "*" in pattern.removeprefix("*.") or pattern.removeprefix("*.") == "":
                raise ValueError(f"not a DNS name or *.name: {pattern}")
        # A pattern *.a stands among the exact ones too: a SAN that is itself a wildcard has to be equal to it.
        self._exact = frozenset(lowered)
        self._parents = frozenset(pattern[2:] for pattern in lowered if pattern.startswith("*."))

    def __contains__(self, name: str) -> bool:
        if name in self._exact:
            return True
        label, _, parent = name.partition(".")
        return label != "" and "*" not in name and parent in self._parents


class _Uris:
    """URIs: exact ones in a set, wildcards segment by segment."""

    def __init__(self, patterns: Sequence[str], *, generous: bool) -> None:
        self._generous = generous
        folded = [_fold(pattern) if generous else pattern for pattern in patterns]
        self._exact = frozenset(pattern for pattern in folded if "*" not in pattern)
        self._globs = tuple(_segments(pattern) for pattern in folded if "*" in pattern)

    def __contains__(self, uri: str) -> bool:
        return any(map(self._has, _spellings(uri))) if self._generous else self._has(uri)

    def _has(self, text: str) -> bool:
        if text in self._exact:
            return True
        if not self._globs:
            return False
        segments = text.split("/")
        # A deny rule takes any segment, however odd; an allow rule takes none that could be read as another.
        stands = [self._generous or _is_plain(segment) for segment in segments]
        return any(_fits(glob, segments, stands) for glob in self._globs)


def _fold(uri: str) -> str:
    """Lower the scheme and the authority, which ignore case (RFC 3986 §6.2.2.1)."""
    head, slashes, rest = uri.partition("//")
    authority, slash, path = rest.partition("/")
    return f"{head.lower()}{slashes}{authority.lower()}{slash}{path}"


def _spellings(uri: str) -> tuple[str, ...]:
    """What others may read *uri* as, beside what it says: decoded, and without slashes at its end."""
    decoded = _fold(unquote(uri))
    return _fold(uri), decoded, decoded.rstrip("/")


def _segments(pattern: str) -> tuple[str, ...]:
    segments = tuple(pattern.split("/"))
    if any("*" in segment and segment not in ("*", "**") for segment in segments) or "**" in segments[:-1]:
        raise ValueError(f"* stands for a whole segment, ** for the last ones: {pattern}")
    # scheme://host/... splits into three pieces before its path begins
    if "*" in "".join(segments[: 3 if segments[1:2] == ("",) else 1]):
        raise ValueError(f"* before the path: {pattern}")
    return segments


def _fits(glob: tuple[str, ...], segments: Sequence[str], stands: Sequence[bool]) -> bool:
    """Compare segment by segment; `stands[i]` says whether a wildcard may take `segments[i]`."""
    head = glob
    if glob[-1] == "**":
        head = glob[:-1]
        if len(segments) <= len(head) or not all(stands[len(head) :]):
            return False
    elif len(segments) != len(head):
        return False
    return all(stands[i] if wanted == "*" else wanted == segments[i] for i, wanted in enumerate(head))


def _is_plain(segment: str) -> bool:
    """Say whether an allow rule's wildcard may take *segment*: no step upwards, nothing that decodes to a slash."""
    return segment not in (".", "..") and _PLAIN_SEGMENT.fullmatch(segment) is not None


class _Matcher:
    """One `Rules`, compiled.  `generous` reads every name that is there and is only fit for deny rules."""

    def __init__(self, rules: Rules, *, generous: bool) -> None:
        self._generous = generous
        self._cn = frozenset(rules.cn)
        self._org = frozenset(rules.org)
        self._ou = frozenset(rules.ou)
        self._dns = _Names(rules.dns) if rules.dns else None
        self._ip = _Addresses(rules.ip) if rules.ip else None
        self._email = frozenset(mailbox(address) for address in rules.email)
        self._uri = _Uris(rules.uri, generous=generous) if rules.uri else None
        self._fingerprint = frozenset(text.replace(":", "").lower() for text in rules.fingerprint)
        self._role = frozenset(rules.role)

    def key(self, who: Identity, roles: Sequence[str]) -> str:
        """Return the first key that names *who* (``cn``, ``uri``, ...), or ""."""
        if not self._cn.isdisjoint(self._cns(who)):
            return "cn"
        if not self._org.isdisjoint(who.every_org if self._generous else who.orgs):
            return "org"
        if not self._ou.isdisjoint(who.every_ou if self._generous else who.ous):
            return "ou"
        if self._dns is not None and any(name in self._dns for name in self._hosts(who)):
            return "dns"
        if self._ip is not None and any(address in self._ip for address in who.ips):
            return "ip"
        if not self._email.isdisjoint(who.emails):
            return "email"
        if self._uri is not None and any(uri in self._uri for uri in self._uris(who)):
            return "uri"
        if who.fingerprint in self._fingerprint:
            return "fingerprint"
        return "role" if not self._role.isdisjoint(roles) else ""

    def _cns(self, who: Identity) -> tuple[str, ...]:
        return who.every_cn if self._generous else () if who.cn is None else (who.cn,)

    def _hosts(self, who: Identity) -> tuple[str, ...]:
        # db.example.com. is the same host to everybody who resolves it.
        return tuple(name.rstrip(".") for name in who.dns) if self._generous else who.dns

    def _uris(self, who: Identity) -> tuple[str, ...]:
        return who.uris if self._generous else () if who.uri is None else (who.uri,)


class Policy:
    """A compiled ACL.  Make one with `of`; it never changes afterwards."""

    __slots__ = ("_allow", "_audit", "_default", "_deny", "_deny_roles", "_has_allow", "_roles")

    def __init__(self, acl: Acl, roles: Mapping[str, Rules]) -> None:
        for name, rules in roles.items():
            if rules.role:
                raise ValueError(f"role {name} is made of other roles, which nothing resolves")
        for name in (*acl.allow.role, *acl.deny.role):
            if name not in roles:
                raise ValueError(f"unknown role: {name}")
        self._audit = acl.mode == "audit"
        self._default = acl.default == "allow"
        self._has_allow = bool(acl.allow)
        self._allow = _Matcher(acl.allow, generous=False)
        self._deny = _Matcher(acl.deny, generous=True)
        self._roles = tuple((name, _Matcher(rules, generous=False)) for name, rules in roles.items())
        # Who is refused by role is found with the same wide eyes as who is refused by name.
        self._deny_roles = tuple((name, _Matcher(roles[name], generous=True)) for name in acl.deny.role)

    @classmethod
    def of(cls, acl: Acl, roles: Sequence[tuple[str, Rules]] = ()) -> Self:
        """Compile *acl* with the named groups *roles*.

        Raises:
            ValueError: a pattern or role name that `config` should have refused.
        """
        return cls(acl, dict(roles))

    def decide(self, identity: Identity | None) -> Decision:
        """Judge a peer; None is a peer without a certificate (``client_auth: optional`` or ``none``).

        Pure and quick enough to be asked again for every live connection after a reload.
        """
        if identity is None:
            return self._verdict(not self._has_allow and self._default, "default", ())
        roles = tuple(name for name, matcher in self._roles if matcher.key(identity, ()))
        denied_roles = [name for name, matcher in self._deny_roles if matcher.key(identity, ())]
        if key := self._deny.key(identity, denied_roles):
            return self._verdict(False, f"deny_{key}", roles)
        if key := self._allow.key(identity, roles):
            return self._verdict(True, f"allow_{key}", roles)
        return self._verdict(not self._has_allow and self._default, "default", roles)

    def _verdict(self, allowed: bool, rule: str, roles: tuple[str, ...]) -> Decision:
        if not allowed and self._audit:
            return Decision(True, rule, roles, audit=True)
        return Decision(allowed, rule, roles)
