"""The CAs of a trust domain where they live: Secrets `<domain>-ca-1` to `-4` and ConfigMap `<domain>-bundle`.

Read by name from the API server each time, never from a cache: a rotation must not be decided on what was.  A CA is
made with a field manager of its own name and without force, so that a second process which makes one under the same
name at the same time is refused by the API server (409) and not overwritten; changes of role and phase carry the
resourceVersion that was read.  Whoever gets a Conflict reads again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, state
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.state import Authority, Memory, Progress, State
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.domains.proofs import leaf_of, prove
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.errors import AuthorityError, NotFound
from mtls_tunnel_operator.model.kinds import Ref

Raw = dict[str, Any]

MEMORY_ANNOTATION = f"{names.GROUP}/cas"  # on the bundle: fingerprint, role and sequence of each CA, JSON
_CREATOR = "mtlstunnel-ca-"  # with the beginning of the CA's fingerprint: the manager of its certificate and key


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read: the Secrets as they are, the CAs in them, and what the bundle remembers."""

    authorities: tuple[Authority, ...] = ()
    memories: tuple[Memory, ...] = ()
    secrets: Mapping[str, Raw] = field(default_factory=dict)  # by name
    bundle: Raw | None = None


class DomainStore:
    """The Secrets and the ConfigMap in the operator's namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def read(self, domain: str) -> Stored:
        """Everything stored of *domain*.  Raises ApiError: then nothing may be decided."""
        bundle = await self.get("configmaps", names.bundle_name(domain))
        memories = memories_of(bundle)
        authorities: list[Authority] = []
        secrets: dict[str, Raw] = {}
        for slot in range(1, names.CA_NAMES + 1):
            name = names.ca_secret_name(domain, slot)
            raw = await self.get("secrets", name)
            if raw is not None:
                secrets[name] = raw
                one = state.authority_of(raw, domain) or _recognised(raw, memories)
                authorities += [] if one is None else [one]
        return Stored(tuple(authorities), memories, secrets, bundle)

    async def get(self, plural: str, name: str) -> Raw | None:
        """An object of the operator's namespace, or None."""
        try:
            return await self._api.get(Ref(plural, self._namespace, name))
        except NotFound:
            return None

    async def create(self, domain: str, one: Authority, stored: Stored) -> None:
        """Store a new CA.

        Raises:
            Conflict: another one has taken its name meanwhile.
            AuthorityError: reason NameConflict if something else had it already.
        """
        name = names.ca_secret_name(domain, one.sequence)
        if name in stored.secrets:
            text = f"Secret {name} in the operator's namespace is in the way of a new CA: delete it or rename it."
            raise AuthorityError("NameConflict", text)
        manifest = state.secret(domain, self._namespace, one)
        await self._api.apply(manifest, manager=f"{_CREATOR}{one.fingerprint[:8]}", force=False)

    async def write(self, domain: str, one: Authority, stored: Stored) -> None:
        """Store role and progress, if the Secret is still the one that was read.  Raises Conflict.

        A CA whose Secret is gone or damaged is stored whole, without a key where that is lost.
        """
        whole = state.secret(domain, self._namespace, one)
        if one.stored_role is None:
            await self._api.apply(whole, manager=f"{_CREATOR}{one.fingerprint[:8]}")
            return
        metadata = whole["metadata"]
        found = stored.secrets[metadata["name"]]["metadata"]
        # The version alone would not do: server-side apply makes an object that is gone, whatever version is named.
        metadata |= {"resourceVersion": found["resourceVersion"], "uid": found["uid"]}
        await self._api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    async def remove(self, domain: str, one: Authority, stored: Stored) -> None:
        """Delete a CA with its key.  Raises Conflict if another one has its name by now."""
        await self.delete_secret(stored.secrets[names.ca_secret_name(domain, one.sequence)])

    async def delete_secret(self, raw: Raw) -> None:
        """Delete a Secret as it was read."""
        metadata = raw["metadata"]
        await self._api.delete(Ref("secrets", self._namespace, metadata["name"]), uid=metadata.get("uid", ""))

    async def apply(self, manifest: Raw) -> None:
        """Make an object so, whoever wrote it before."""
        await self._api.apply(manifest)

    async def publish(self, domain: str, current: State, observed: Raw | None) -> None:
        """Write the bundle, unless that is what is there."""
        manifest = bundle(domain, self._namespace, current)
        if not same(manifest, observed):
            await self._api.apply(manifest)


def bundle(domain: str, namespace: str, current: State) -> Raw:
    """The ConfigMap with everything that is trusted, and what is needed to know the CAs again."""
    trusted = set(current.fingerprints)
    known = [
        {"fingerprint": one.fingerprint, "role": one.role, "sequence": one.sequence}
        for one in current.authorities
        if one.fingerprint in trusted or not one.distrusted
    ]
    annotations = {
        names.DOMAIN_ANNOTATION: domain,
        names.BUNDLE_ANNOTATION: ca.bundle_fingerprint(current.bundle),
        MEMORY_ANNOTATION: json.dumps(known, separators=(",", ":")),
        **state.progress_annotations(current.progress),
    }
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.CA_LABEL: state.label_value(domain)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.bundle_name(domain),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "data": {"ca.crt": ca.pem_of(current.bundle).decode()},
    }


def memories_of(raw: Mapping[str, Any] | None) -> tuple[Memory, ...]:
    """The CAs that a bundle remembers; nothing where it does not parse."""
    if raw is None:
        return ()
    annotations = raw["metadata"].get("annotations") or {}
    try:
        certificates = ca.bundle_of((raw.get("data") or {}).get("ca.crt", "").encode(), raw["metadata"]["name"])
        known = {entry["fingerprint"]: entry for entry in json.loads(annotations.get(MEMORY_ANNOTATION, "[]"))}
        progress = state.progress_of(annotations)
        found = [(one, known[ca.fingerprint(one)]) for one in certificates if ca.fingerprint(one) in known]
        return tuple(Memory(one, entry["role"], int(entry["sequence"]), progress) for one, entry in found)
    except (AuthorityError, ValueError, TypeError, KeyError):
        return ()


def _recognised(raw: Raw, memories: tuple[Memory, ...]) -> Authority | None:
    """A CA's Secret whose certificate or annotations were damaged: its key says which one it is."""
    for memory in memories:
        try:
            key = ca.key_of(state.entry(raw, "tls.key"), memory.certificate)
        except AuthorityError:
            continue
        return Authority(memory.sequence, memory.role, Pair(memory.certificate, key), progress=memory.progress)
    return None


def memories_in_leaves(secrets: Iterable[Mapping[str, Any]], own: Sequence[str]) -> tuple[Memory, ...]:
    """The CAs among *own* (fingerprints, the one that signed last first) that leaves' Secrets hold and are signed by.

    Anybody who may write Secrets may write one that looks like ours: nothing else of it is believed.
    """
    held = list(secrets)
    known = {ca.fingerprint(one): one for pem in {state.entry(raw, "ca.crt") for raw in held} for one in _in(pem)}
    named = {mark: known[mark] for mark in own if mark in known}
    signed = {prove(leaf_of(raw), named).issuer for raw in held} if named else set()
    found = [named[mark] for mark in named if mark in signed]
    # Retiring: whatever else there was is waited for, and leaves the bundles only when nobody holds a leaf of it.
    progress = Progress(phase="Retiring")
    return tuple(
        Memory(one, "Current" if one is found[0] else "Retired", number, progress)
        for number, one in enumerate(reversed(found), 1)
    )


def _in(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return ca.bundle_of(pem, "ca.crt")
    except AuthorityError:
        return ()
