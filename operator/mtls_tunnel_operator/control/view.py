"""The cluster as the operator sees it, reduced to what it needs, and kept current by whoever tells it.

`put` and `drop` take objects as the API server has them and say what has changed; nothing is decided here.
An object that is older than what is known is left out: events arrive late, and what the operator itself has
written is known at once (`observe`).  Pods of namespaces that have not opted in are not kept, and of network
policies of others only whom they select.  No I/O, no clock.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.kinds import Ref, plural_of
from mtls_tunnel_operator.model.pods import Pod, Space
from mtls_tunnel_operator.model.reading import domain_of, pod_of, space_of, tunnel_of
from mtls_tunnel_operator.model.resources import Key, TrustDomain, Tunnel
from mtls_tunnel_operator.model.selectors import Selector, disjoint, selector_of

Raw = dict[str, Any]
K = TypeVar("K")

MANAGED = ("secrets", "configmaps", "services", "networkpolicies", "certificates", "podmonitors")
WEBHOOK = "mutatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class Broken:
    """A resource of ours that cannot be read: who it is, and why."""

    ref: Ref
    uid: str
    generation: int
    status: Mapping[str, Any]
    error: SpecError


@dataclass(frozen=True, slots=True)
class ForeignPolicy:
    """Somebody else's NetworkPolicy that says something about ingress."""

    namespace: str
    name: str
    selector: Selector


class Change(NamedTuple):
    """What a put or drop has brought: frozen values (raw dicts for managed objects) before and after."""

    ref: Ref
    before: Any
    after: Any


class View:
    """Everything known now.  The dicts are for reading; only `put` and `drop` change them."""

    def __init__(self, *, namespaces: Iterable[str] = (), unwatched: Iterable[str] = ()) -> None:
        self.namespaces = frozenset(namespaces)  # what is watched; empty = all
        self._unwatched = frozenset(unwatched)  # plurals of which `objects` holds only what was read or written here
        self.tunnels: dict[Key, Tunnel] = {}
        self.broken: dict[Key, Broken] = {}
        self.domains: dict[str, TrustDomain] = {}
        self.broken_domains: dict[str, Broken] = {}
        self.spaces: dict[str, Space] = {}
        self.pods: dict[str, dict[str, Pod]] = {}  # namespace -> uid
        self.objects: dict[Ref, Raw] = {}  # carrying our managed-by label; a Ref is (plural, namespace, name)
        self._by_owner: dict[str, dict[Ref, Raw]] = {}  # the same by the UID of their tunnel
        self.policies: dict[Ref, ForeignPolicy] = {}
        self.webhook: Raw | None = None
        self._versions: dict[Ref, tuple[str, int]] = {}  # uid and resource version of what is kept
        self._local: dict[str, dict[Key, Tunnel]] = {}  # tunnels by their own namespace
        self._roaming: dict[Key, Tunnel] = {}  # those with clients in other namespaces
        self._copies: dict[Key, dict[Ref, Raw]] = {}  # those outside of their tunnel's namespace

    # Questions.

    def watched(self, plural: str) -> bool:
        """Whether an object that is not in `objects` is not there; else it has to be read by name."""
        return plural not in self._unwatched

    def tunnel_pods(self, namespace: str) -> Iterable[Pod]:
        """The pods that are kept of a namespace."""
        return self.pods.get(namespace, {}).values()

    def candidates(self, namespace: str) -> Iterator[Tunnel]:
        """The tunnels that may concern pods of a namespace."""
        yield from self._local.get(namespace, {}).values()
        yield from (tunnel for tunnel in self._roaming.values() if tunnel.key.namespace != namespace)

    def closing(self, tunnel: Tunnel) -> list[Tunnel]:
        """The tunnels with plaintextPolicy Block whose servers may share a pod with that of *tunnel*, with itself."""
        mine = tunnel.workload
        return [
            other
            for other in self._local.get(tunnel.key.namespace, {}).values()
            if other.plaintext == "Block"
            and mine is not None
            and other.workload is not None
            and not disjoint(mine.selector, other.workload.selector)
        ]

    def owned(self, uid: str) -> list[Raw]:
        """The managed objects that carry the owner label with this UID."""
        return list(self._by_owner.get(uid, {}).values())

    def copies(self, key: Key | None = None) -> list[tuple[Ref, Raw]]:
        """The managed objects of a tunnel, or of all tunnels, that lie in other namespaces than its own."""
        groups = self._copies.values() if key is None else [self._copies.get(key, {})]
        return [item for group in groups for item in group.items()]

    def foreign_policies(self, namespace: str) -> list[ForeignPolicy]:
        """Others' ingress policies of a namespace."""
        return [policy for policy in self.policies.values() if policy.namespace == namespace]

    def known(self, plural: str, namespace: str = "") -> dict[Ref, int]:
        """What is kept of a kind (in a namespace) with its version: a later list that lacks it says it has gone."""
        return {
            ref: version
            for ref, (_, version) in self._versions.items()
            if ref.plural == plural and namespace in ("", ref.namespace)
        }

    # Changes.

    def observe(self, raw: Raw) -> None:
        """What a write of ours has brought."""
        plural = plural_of(raw)
        if plural in (names.TUNNELS, names.DOMAINS, WEBHOOK) or plural in MANAGED:
            self.put(plural, raw)

    def put(self, plural: str, raw: Raw) -> Change | None:
        """Take in an object; None when it brings nothing new."""
        metadata = raw["metadata"]
        ref = Ref(plural, metadata.get("namespace", ""), metadata["name"])
        stamp = (metadata.get("uid", ""), _version(metadata))
        known = self._versions.get(ref)
        if known is not None and known[0] == stamp[0] and known[1] >= stamp[1] > 0:
            return None
        if not self._concerns(ref, raw):
            return self.drop(ref) if known is not None else None
        if known is not None and known[0] != stamp[0] and plural == "pods":
            # Made anew under its name (a StatefulSet's), and no watch has told that the old one went.
            self._remove(ref, known[0])
        self._versions[ref] = stamp
        change = self._store(ref, raw)
        return change if change.before != change.after else None

    def drop(self, ref: Ref, uid: str = "") -> Change | None:
        """Forget an object; with *uid*, only if it is that one."""
        known = self._versions.get(ref)
        if known is None or (uid and known[0] and known[0] != uid):
            return None
        del self._versions[ref]
        return Change(ref, self._remove(ref, known[0]), None)

    def forget(self, ref: Ref) -> None:
        """An object that we deleted, or found to be gone."""
        if ref.plural in MANAGED:
            self.drop(ref)

    def forget_pods(self, namespace: str) -> None:
        """Drop the pods of a namespace that is not opted in any more."""
        for ref in self.known("pods", namespace):
            self.drop(ref)

    def _concerns(self, ref: Ref, raw: Raw) -> bool:
        if ref.plural == "pods":
            space = self.spaces.get(ref.namespace)
            return space is not None and space.enabled
        if ref.plural == "networkpolicies":
            return True
        return ref.plural not in MANAGED or _labels(raw).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY

    def _store(self, ref: Ref, raw: Raw) -> Change:
        match ref.plural:
            case names.TUNNELS:
                return self._store_tunnel(ref, raw)
            case names.DOMAINS:
                return self._store_domain(ref, raw)
            case "pods":
                pods = self.pods.setdefault(ref.namespace, {})
                uid = raw["metadata"].get("uid", "")
                before_pod, pods[uid] = pods.get(uid), pod_of(raw)
                return Change(ref, before_pod, pods[uid])
            case "namespaces":
                before_space, self.spaces[ref.name] = self.spaces.get(ref.name), space_of(raw)
                return Change(ref, before_space, self.spaces[ref.name])
            case "mutatingwebhookconfigurations":
                before_webhook, self.webhook = self.webhook, _slim(raw)
                return Change(ref, before_webhook, self.webhook)
        if _labels(raw).get(names.MANAGED_BY_LABEL) != names.MANAGED_BY:
            return self._store_foreign_policy(ref, raw)
        self.policies.pop(ref, None)
        before = self._forget_object(ref)
        kept = self.objects[ref] = _slim(raw)
        siblings = self._by_owner.setdefault(_owner(kept), {})
        _share_owners(kept, next(iter(siblings.values()), kept))
        siblings[ref] = kept
        if home := _owner_elsewhere(ref, kept):
            self._copies.setdefault(home, {})[ref] = kept
        return Change(ref, before, kept)

    def _store_tunnel(self, ref: Ref, raw: Raw) -> Change:
        key = Key(ref.namespace, ref.name)
        before = self._remove_tunnel(key)
        try:
            tunnel = self.tunnels[key] = tunnel_of({**raw, "status": _shared(raw.get("status") or {})})
        except SpecError as error:
            broken = self.broken[key] = _broken(ref, raw, error)
            return Change(ref, before, broken)
        self._local.setdefault(ref.namespace, {})[key] = tunnel
        if any(client.namespaces.source != "Same" for client in tunnel.clients):
            self._roaming[key] = tunnel
        return Change(ref, before, tunnel)

    def _remove_tunnel(self, key: Key) -> Tunnel | Broken | None:
        self._roaming.pop(key, None)
        local = self._local.get(key.namespace, {})
        local.pop(key, None)
        if not local:
            self._local.pop(key.namespace, None)
        return self.tunnels.pop(key, None) or self.broken.pop(key, None)

    def _store_domain(self, ref: Ref, raw: Raw) -> Change:
        before = self.domains.pop(ref.name, None) or self.broken_domains.pop(ref.name, None)
        try:
            domain = self.domains[ref.name] = domain_of(raw)
        except SpecError as error:
            broken = self.broken_domains[ref.name] = _broken(ref, raw, error)
            return Change(ref, before, broken)
        return Change(ref, before, domain)

    def _store_foreign_policy(self, ref: Ref, raw: Raw) -> Change:
        self._forget_object(ref)
        before = self.policies.pop(ref, None)
        spec = raw.get("spec") or {}
        after = None
        if "Ingress" in (spec.get("policyTypes") or ["Ingress"]):
            selector = _pod_selector(spec.get("podSelector"))
            after = self.policies[ref] = ForeignPolicy(ref.namespace, ref.name, selector)
        return Change(ref, before, after)

    def _remove(self, ref: Ref, uid: str) -> Any:
        match ref.plural:
            case names.TUNNELS:
                return self._remove_tunnel(Key(ref.namespace, ref.name))
            case names.DOMAINS:
                return self.domains.pop(ref.name, None) or self.broken_domains.pop(ref.name, None)
            case "pods":
                pods = self.pods.get(ref.namespace, {})
                gone = pods.pop(uid, None)
                if not pods:
                    self.pods.pop(ref.namespace, None)
                return gone
            case "namespaces":
                return self.spaces.pop(ref.name, None)
            case "mutatingwebhookconfigurations":
                webhook, self.webhook = self.webhook, None
                return webhook
        return self._forget_object(ref) or self.policies.pop(ref, None)

    def _forget_object(self, ref: Ref) -> Raw | None:
        gone = self.objects.pop(ref, None)
        if gone is not None:
            _discard(self._by_owner, _owner(gone), ref)
            _discard(self._copies, _owner_elsewhere(ref, gone), ref)
        return gone


def _pod_selector(raw: Any) -> Selector:
    """Of a policy of others: what we cannot read selects everything, so that it is not overlooked."""
    try:
        return selector_of(raw or {})
    except SpecError:
        return Selector(())


def _owner_elsewhere(ref: Ref, raw: Raw) -> Key | None:
    labels = _labels(raw)
    key = Key(labels.get(names.TUNNEL_NAMESPACE_LABEL, ""), labels.get(names.TUNNEL_LABEL, ""))
    return key if key.namespace not in ("", ref.namespace) else None


def _discard(index: dict[K, dict[Ref, Raw]], key: K | None, ref: Ref) -> None:
    if key is not None and (known := index.get(key)) is not None:
        known.pop(ref, None)
        if not known:
            del index[key]


def _broken(ref: Ref, raw: Raw, error: SpecError) -> Broken:
    metadata = raw["metadata"]
    return Broken(ref, metadata.get("uid", ""), metadata.get("generation", 0), raw.get("status") or {}, error)


def _slim(raw: Raw) -> Raw:
    """Without what only other field managers need: a third of a small object."""
    metadata = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    slim: Raw = _shared({**raw, "metadata": metadata})
    return slim


def _shared(value: Any) -> Any:
    """The same with equal texts kept once: thousands of objects have the same keys, bundles and messages."""
    if isinstance(value, dict):
        return {sys.intern(key): _shared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shared(each) for each in value]
    return sys.intern(value) if type(value) is str else value


def _share_owners(raw: Raw, sibling: Raw) -> None:
    """Objects of one tunnel have the same ownerReferences: one list for all."""
    mine, others = (one["metadata"].get("ownerReferences") for one in (raw, sibling))
    if mine and mine == others:
        raw["metadata"]["ownerReferences"] = others


def _owner(raw: Mapping[str, Any]) -> str:
    return _labels(raw).get(names.OWNER_LABEL, "")


def _labels(raw: Mapping[str, Any]) -> Mapping[str, str]:
    return raw["metadata"].get("labels") or {}


def _version(metadata: Mapping[str, Any]) -> int:
    """Resource versions are comparable integers (KEP-5504); 0 where there is none."""
    text = metadata.get("resourceVersion") or ""
    return int(text) if text.isdecimal() else 0
