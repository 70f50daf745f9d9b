"""What every object carries: its names, its identity and its age."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtls_tunnel_operator.model.fields import LABEL, SUBDOMAIN, Field
from mtls_tunnel_operator.model.moments import epoch


@dataclass(frozen=True, slots=True)
class Meta:
    """`namespace` is "" for cluster-scoped objects and in files that leave it out, `uid` in files."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: float
    annotations: Mapping[str, str]


def meta_of(raw: Mapping[str, Any], form: re.Pattern[str] = SUBDOMAIN, want: str = "object name") -> Meta:
    """Read metadata; a name that *form* does not match is a `SpecError`."""
    field = Field(raw).below("metadata")
    return Meta(
        namespace=field.text("namespace", "", LABEL, "namespace name"),
        name=field.text("name", None, form, want),
        uid=field.text("uid"),
        generation=field.number("generation", 0, 0, 2**63 - 1),
        created=epoch(field.raw.get("creationTimestamp")),
        annotations=strings(field.raw.get("annotations")),
    )


def strings(raw: object) -> dict[str, str]:
    """The labels or annotations of an object; what is no string, from a careless file, is left out."""
    if not isinstance(raw, Mapping):
        return {}
    return {key: value for key, value in raw.items() if isinstance(key, str) and isinstance(value, str)}


def listed(text: str) -> tuple[str, ...]:
    """The entries of a comma-separated annotation, each once, blanks left out."""
    return tuple(dict.fromkeys(entry for item in text.split(",") if (entry := item.strip())))
