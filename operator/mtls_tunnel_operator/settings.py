"""What the installation decides: read from flags and from the ConfigMap `<fullname>-defaults`.

Both processes read the same ConfigMap and watch it, so that an upgrade cannot make them disagree.  Its keys
are the names of `Defaults`' fields in camelCase; values are strings, `sidecarResources`, `allowedImages` and
`trustDomainSpec` YAML.  An unreadable value keeps the last good one; `defaults_of` names it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mtls_tunnel_operator.errors import SpecError


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a resource leaves open."""

    sidecar_image: str
    sidecar_pull_policy: str = "IfNotPresent"
    allowed_images: tuple[str, ...] = ()  # globs (`*` any characters); () = only sidecar_image
    sidecar_resources: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"cpu": "10m", "memory": "40Mi"}, "limits": {"memory": "128Mi"}}
    )
    run_as_user: int | None = 65532  # None: the platform assigns one (OpenShift)
    run_as_group: int | None = 65532
    injection: str = "Auto"  # what Auto of a resource means: NativeSidecar unless Container is said here
    cluster_domain: str = "cluster.local"
    trust_domain_name: str = "default"  # the MtlsTrustDomain that the operator makes
    trust_domain: str = "cluster.local"  # its SPIFFE trust domain
    trust_domain_create: bool = True  # False: somebody else makes it
    trust_domain_spec: Mapping[str, Any] = field(default_factory=dict)  # its other fields: ca, rotation ...
    max_concurrent_rollouts: int = 5
    operator_namespace: str = "mtls-tunnel-system"


def defaults_of(
    data: Mapping[str, str], *, operator_namespace: str, last: Defaults | None
) -> tuple[Defaults, tuple[str, ...]]:
    """Read the ConfigMap's `data`: the defaults, and a sentence for each entry that was not taken.

    An entry that cannot be read keeps its value of *last*, or the built-in one; a missing entry means the
    built-in one.  An unknown key is said and ignored: a newer chart may know more.

    Raises:
        SpecError: reason ``InvalidDefaults``: neither *data* nor *last* name an image for sidecars.
    """
    known = {_camel(name): name for name in _READERS}
    problems = [f"{key}: unknown, ignored" for key in sorted(data.keys() - known.keys())]
    values: dict[str, Any] = {}
    for key, name in known.items():
        try:
            values |= {name: _READERS[name](data[key].strip())} if key in data else {}
        except ValueError as fault:
            problems.append(f"{key}: {fault}; the last good value stays")
            values |= {name: getattr(last, name)} if last is not None else {}
    if "sidecar_image" not in values:
        if last is None:
            raise SpecError("InvalidDefaults", "sidecarImage is missing: set the chart's value sidecar.image")
        values["sidecar_image"] = last.sidecar_image
    return Defaults(**values, operator_namespace=operator_namespace), tuple(problems)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _form(form: str, want: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(form, text):
            raise ValueError(f"{text[:80]!r} is no {want}")
        return text

    return read


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text[:80]!r} is none of {', '.join(words)}")
        return text

    return read


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) < 1:
        raise ValueError(f"{text[:80]!r} is no whole number from 1 on")
    return int(text)


def _identity(text: str) -> int | None:
    """A numeric user or group, never root; empty or null: the platform assigns one."""
    return None if text in {"", "null"} else _number(text)


def _switch(text: str) -> bool:
    return _choice("true", "false")(text) == "true"


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise ValueError(f"is no YAML ({getattr(fault, 'problem', None) or 'unreadable'})") from None


def _mapping(text: str) -> Mapping[str, Any]:
    read = _yaml(text)
    if read is not None and not isinstance(read, dict):
        raise ValueError("is no mapping")
    return read or {}


def _resources(text: str) -> Mapping[str, Any]:
    resources = _mapping(text)
    if not resources.keys() <= {"requests", "limits"}:
        raise ValueError("has other keys than requests and limits")
    for side, amounts in resources.items():
        if not isinstance(amounts, dict) or not all(isinstance(amount, str | int) for amount in amounts.values()):
            raise ValueError(f"has no quantities in {side}, such as memory: 40Mi")
    return resources


def _globs(text: str) -> tuple[str, ...]:
    read = _yaml(text)
    if read is None:
        return ()
    if not isinstance(read, list) or not all(isinstance(each, str) and each for each in read):
        raise ValueError("is no list of image names")
    return tuple(read)


_DNS = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"

_READERS: Mapping[str, Callable[[str], Any]] = {
    "sidecar_image": _form("[!-~]{1,512}", "image"),
    "sidecar_pull_policy": _choice("Always", "IfNotPresent", "Never"),
    "allowed_images": _globs,
    "sidecar_resources": _resources,
    "run_as_user": _identity,
    "run_as_group": _identity,
    "injection": _choice("Auto", "NativeSidecar", "Container"),
    "cluster_domain": _form(_DNS, "DNS domain"),
    "trust_domain_name": _form(_DNS, "object name"),
    "trust_domain": _form("[a-z0-9._-]{1,255}", "SPIFFE trust domain"),
    "trust_domain_create": _switch,
    "trust_domain_spec": _mapping,
    "max_concurrent_rollouts": _number,
}
