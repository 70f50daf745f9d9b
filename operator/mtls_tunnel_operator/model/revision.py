"""What a pod would carry: the sidecar that its parts ask for, and a hash of everything that needs a new pod.

Ports, ACL, timeouts, limits, log level and certificates are not in the hash: they reach running sidecars.
The injector writes the hash on the pod and the operator compares it, both with the functions below.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mtls_tunnel_operator.model.parts import Part, parts_of_tunnel
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.settings import Defaults

TEMPLATE = 1  # raised with every change of what the injector adds to a pod


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One sidecar serves all parts; the leader's tunnel says how it is made."""

    image: str
    pull_policy: str
    native: bool
    resources: Mapping[str, Any]
    admin_port: int
    leader: Part
    ignored: tuple[Part, ...] = ()  # parts whose proxy settings differ from the leader's
    refused_image: str = ""  # asked for by the leader and not used


def sidecar(parts: Iterable[Part], defaults: Defaults) -> Sidecar:
    """The sidecar of a pod with *parts*, of which there must be one at least."""
    leader, *others = sorted(parts, key=lambda part: part.sort_key)
    proxy, image = leader.tunnel.proxy, image_of(leader, defaults)
    return Sidecar(
        image=image,
        pull_policy=proxy.image_pull_policy or defaults.sidecar_pull_policy,
        native=_native(leader, defaults),
        resources=defaults.sidecar_resources if proxy.resources is None else proxy.resources,
        admin_port=leader.tunnel.observability.admin_port,
        leader=leader,
        ignored=tuple(part for part in others if _settings(part, defaults) != _settings(leader, defaults)),
        refused_image=proxy.image if proxy.image not in ("", image) else "",
    )


def image_of(part: Part, defaults: Defaults) -> str:
    """The image that *part* may have.

    A tunnel chooses one only for pods of its own namespace and only if the installation allows it: else
    whoever writes a tunnel could run any image in somebody's pods.
    """
    asked = part.tunnel.proxy.image
    allowed = defaults.allowed_images or (defaults.sidecar_image,)
    if asked and not part.abroad and any(_glob(pattern, asked) for pattern in allowed):
        return asked
    return defaults.sidecar_image


def contribution(part: Part, account: str, defaults: Defaults) -> str:
    """Canonical JSON of what *part* alone would put into a pod of *account*."""
    return _canonical({"sidecar": _hashed(sidecar((part,), defaults), defaults), "volumes": [_volume(part, account)]})


def revision(parts: Iterable[Part], account: str, defaults: Defaults) -> str:
    """The revision of a pod with *parts*: 16 hex digits, or "" for a pod without a part."""
    ordered = sorted(parts, key=lambda part: part.sort_key)
    if not ordered:
        return ""
    volumes = [_volume(part, account) for part in ordered]
    return _digest(_canonical({"sidecar": _hashed(sidecar(ordered, defaults), defaults), "volumes": volumes}))


def tunnel_revision(tunnel: Tunnel, defaults: Defaults) -> str:
    """The tunnel's own revision, `status.revision`: over all its parts at home and all accounts that it lists."""
    parts = parts_of_tunnel(tunnel)
    return _digest("\n".join(contribution(part, account, defaults) for part in parts for account in _accounts(part)))


def _accounts(part: Part) -> tuple[str, ...]:
    return part.accounts if part.per_account else ("",)


def _native(part: Part, defaults: Defaults) -> bool:
    mode = part.tunnel.proxy.injection
    return (defaults.injection if mode == "Auto" else mode) != "Container"


def _volume(part: Part, account: str) -> tuple[str, str]:
    return part.volume_id, part.object_name(part.namespace, account)


def _hashed(made: Sidecar, defaults: Defaults) -> dict[str, Any]:
    return {
        "template": TEMPLATE,
        "image": made.image,
        "pullPolicy": made.pull_policy,
        "native": made.native,
        "resources": made.resources,
        "runAsUser": defaults.run_as_user,
        "runAsGroup": defaults.run_as_group,
        "adminPort": made.admin_port,
    }


def _settings(part: Part, defaults: Defaults) -> tuple[object, ...]:
    """What only the leader decides: how the sidecar is made, and the sections of its whole process."""
    proxy, watched = part.tunnel.proxy, part.tunnel.observability
    return (
        image_of(part, defaults),
        proxy.image_pull_policy or defaults.sidecar_pull_policy,
        _native(part, defaults),
        defaults.sidecar_resources if proxy.resources is None else proxy.resources,
        watched.admin_port,
        watched.access_log,
        watched.log_level,
    )


def _glob(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
