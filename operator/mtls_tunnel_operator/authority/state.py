"""The CAs of one trust domain and how far their rotation is: kept with the keys, so that it cannot be lost alone.

Each CA lives in a Secret of its own (`names.ca_secret_name`); its annotations hold its role, and on the one that is
Current the phase of the rotation, when that began, and the request that was answered.  So every change of phase is
one write to one object: nothing in between is ever stored.  Where writes were cut off between two objects, the
highest sequence with role Current is the one that counts, and every Current below it has been retired.

`assemble` reads what is stored.  It also takes what is *remembered* of CAs (the ConfigMap with the bundle, leaves'
Secrets): a CA whose Secret is gone is still trusted by what it signed, and comes back as a CA without a key.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cryptography import x509

from mtls_tunnel.trust.decode import PrivateKey
from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.signer import Phase
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.moments import epoch, rfc3339

Role = Literal["Next", "Current", "Retired"]
Source = Literal["SelfSigned", "Secret", "CertManager"]
_ROLES: tuple[Role, ...] = ("Next", "Current", "Retired")
_PHASES: tuple[Phase, ...] = ("Stable", "Distributing", "Issuing", "Retiring")
_SOURCES: tuple[Source, ...] = ("SelfSigned", "Secret", "CertManager")
SHORTEST_PREFIX = 16  # of a fingerprint that names a compromised CA
_BUNDLE_ORDER: tuple[Role, ...] = ("Current", "Next", "Retired")  # what signs now, what will, what did


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rotation stands; counts on the Current CA only."""

    phase: Phase = "Stable"
    since: float = 0.0
    request: str = ""
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Authority:
    """One CA as it is stored: `stored_role` may lag behind `role` when a write was cut off."""

    sequence: int
    role: Role
    pair: Pair
    source: Source = "SelfSigned"
    progress: Progress = Progress()
    stored_role: Role | None = None  # None: remembered, its Secret is gone
    distrusted: bool = False  # named compromised: trusted by nobody once another CA signs

    @property
    def fingerprint(self) -> str:
        return self.pair.fingerprint

    @property
    def signs(self) -> bool:
        """Whether its key is there."""
        return self.pair.key is not None


@dataclass(frozen=True, slots=True)
class Memory:
    """A CA that was seen in a bundle, with what is known of it."""

    certificate: x509.Certificate
    role: Role
    sequence: int
    progress: Progress = Progress()


@dataclass(frozen=True, slots=True)
class State:
    """All CAs of a domain; `authorities` ascend by sequence."""

    authorities: tuple[Authority, ...] = ()
    last_sequence: int = 0

    @property
    def current(self) -> Authority | None:
        return self._last("Current")

    @property
    def next(self) -> Authority | None:
        return self._last("Next")

    @property
    def retired(self) -> tuple[Authority, ...]:
        return tuple(one for one in self.authorities if one.role == "Retired")

    @property
    def progress(self) -> Progress:
        return self.current.progress if self.current is not None else Progress()

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """What everyone is to trust, the CA that signs first; with Stable the retired ones have left."""
        roles = _BUNDLE_ORDER if self.progress.phase != "Stable" else _BUNDLE_ORDER[:2]
        trusted = [one for one in reversed(self.authorities) if one.role == "Current" or not one.distrusted]
        return tuple(one.pair.certificate for role in roles for one in trusted if one.role == role)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(ca.fingerprint(one) for one in self.bundle)

    def _last(self, role: Role) -> Authority | None:
        return next((one for one in reversed(self.authorities) if one.role == role), None)


def is_compromised(fingerprint: str, named: Iterable[str]) -> bool:
    """Whether one of *named* is that CA, whole or by its first 16 digits or more."""
    return any(len(prefix) >= SHORTEST_PREFIX and fingerprint.startswith(prefix) for prefix in named)


def assemble(stored: Iterable[Authority], remembered: Iterable[Memory] = (), compromised: Sequence[str] = ()) -> State:
    """Roles as they count, whatever was cut off, with CAs whose Secret is gone but who are still needed.

    Remembered CAs come back as long as leaves of theirs may be in use: while a rotation is under way, or when
    nothing is stored that could be Current.  A remembered Next has signed nothing and stays forgotten.  What is
    *compromised* comes back distrusted: its connections are still to be cut.
    """
    found = {one.fingerprint: one for one in stored}
    memories = [one for one in remembered if ca.fingerprint(one.certificate) not in found and one.role != "Next"]
    last = max([one.sequence for one in found.values()] + [one.sequence for one in memories], default=0)
    signing = _newest(found.values(), "Current")
    if signing is None:
        memories = [one for one in memories if one.role == "Current" or one.progress.phase != "Stable"]
    elif signing.progress.phase in ("Issuing", "Retiring"):
        memories = [one for one in memories if one.sequence < signing.sequence]
    else:
        memories = []
    recalled = [_recalled(one) for one in memories]
    everyone = [*found.values(), *recalled]
    # Without any Current, what signed last is taken: a new root must never come silently.
    roles: tuple[Role, ...] = ("Current", "Retired", "Next")
    current = next((one for role in roles if (one := _newest(everyone, role)) is not None), None)
    judged = tuple(
        replace(one, role=_role(one, current), distrusted=is_compromised(one.fingerprint, compromised))
        for one in sorted(everyone, key=lambda one: (one.sequence, one.fingerprint))
    )
    return State(judged, last)


def _recalled(memory: Memory) -> Authority:
    return Authority(memory.sequence, memory.role, Pair(memory.certificate, None), progress=memory.progress)


def _newest(authorities: Iterable[Authority], role: Role) -> Authority | None:
    candidates = [one for one in authorities if one.role == role]
    return max(candidates, key=lambda one: (one.sequence, one.signs, one.fingerprint), default=None)


def _role(one: Authority, current: Authority | None) -> Role:
    if current is None or one is current:
        return "Current"
    # What has a lower sequence than the one that signs has had its time, also a Next that was never promoted.
    return "Next" if one.role == "Next" and one.sequence > current.sequence else "Retired"


# To and from Secrets.


def secret(domain: str, namespace: str, one: Authority) -> dict[str, Any]:
    """The Secret of a CA, whole.  No ownerReference: it outlives the resource on purpose."""
    held = {"tls.crt": one.pair.cert_pem}
    if one.pair.key is not None:
        held["tls.key"] = one.pair.key_pem
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.ca_secret_name(domain, one.sequence),
            "namespace": namespace,
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.CA_LABEL: label_value(domain)},
            "annotations": {
                names.DOMAIN_ANNOTATION: domain,
                names.CA_ROLE_ANNOTATION: one.role,
                names.CA_SEQUENCE_ANNOTATION: str(one.sequence),
                names.CA_SOURCE_ANNOTATION: one.source,
                **progress_annotations(one.progress),
            },
        },
        "type": "Opaque",  # not kubernetes.io/tls: a CA whose key is gone has a place here too
        "data": {key: base64.b64encode(content).decode() for key, content in held.items()},
    }


def progress_annotations(progress: Progress) -> dict[str, str]:
    """How far the rotation is, as annotations."""
    return {
        names.CA_PHASE_ANNOTATION: progress.phase,
        names.CA_WRITTEN_ANNOTATION: rfc3339(progress.since),
        names.CA_REQUEST_ANNOTATION: progress.request,
        names.CA_EMERGENCY_ANNOTATION: "true" if progress.emergency else "false",
    }


def progress_of(annotations: Mapping[str, str]) -> Progress:
    """The reverse; what does not parse counts as a phase that has only just begun, so that nothing is skipped."""
    phase: Phase = next((one for one in _PHASES if one == annotations.get(names.CA_PHASE_ANNOTATION)), "Stable")
    return Progress(
        phase=phase,
        since=epoch(annotations.get(names.CA_WRITTEN_ANNOTATION)),
        request=annotations.get(names.CA_REQUEST_ANNOTATION, ""),
        emergency=annotations.get(names.CA_EMERGENCY_ANNOTATION) == "true",
    )


def authority_of(raw: Mapping[str, Any], domain: str) -> Authority | None:
    """The CA in a Secret; None if it is not one of *domain*'s or its certificate does not parse.

    A key that is missing, broken or of another CA makes a CA without a key: that is decided on, not skipped.
    """
    metadata = raw.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if (metadata.get("labels") or {}).get(names.CA_LABEL) != label_value(domain):
        return None
    role = next((one for one in _ROLES if one == annotations.get(names.CA_ROLE_ANNOTATION)), None)
    sequence = annotations.get(names.CA_SEQUENCE_ANNOTATION, "")
    if role is None or not sequence.isdecimal():
        return None
    try:
        certificates = ca.bundle_of(entry(raw, "tls.crt"), metadata.get("name", ""))
    except AuthorityError:
        return None
    pair = Pair(certificates[0], _key_of(raw, certificates[0]), certificates[1:])
    source: Source = next((one for one in _SOURCES if one == annotations.get(names.CA_SOURCE_ANNOTATION)), "SelfSigned")
    return Authority(int(sequence), role, pair, source, progress_of(annotations), stored_role=role)


def entry(raw: Mapping[str, Any], key: str) -> bytes:
    """One entry of a Secret's data; empty if it is not there or no base64."""
    try:
        return base64.b64decode((raw.get("data") or {}).get(key) or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""


def label_value(domain: str) -> str:
    """The name of a trust domain as a label value: those have at most 63 characters."""
    return names.cut(domain, 63)


def _key_of(raw: Mapping[str, Any], certificate: x509.Certificate) -> PrivateKey | None:
    try:
        return ca.key_of(entry(raw, "tls.key"), certificate)
    except AuthorityError:
        return None
