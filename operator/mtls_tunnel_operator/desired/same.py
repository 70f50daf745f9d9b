"""Is there anything to write: a manifest as we would apply it, compared with the object that is there.

`sealed` notes the digest of a manifest in an annotation; `same` asks for that note and that each of our fields
still has our value.  What the API server filled in, and what others own, does not count: server-side apply
would not change it, and a comparison that saw it would write for ever.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired.world import Manifest, Raw

Way = tuple[str, ...]  # the kind, and the keys below it

# Lists that server-side apply merges by a key: others may have entries of their own in them.
_KEYED: Mapping[Way, tuple[str, ...]] = {
    ("ownerReferences",): ("uid",),
    ("Service", "spec", "ports"): ("port", "protocol"),
}
# What it takes as a whole: a word that somebody has put in (endPort, another label) changes what ours says.
_WHOLE: frozenset[Way] = frozenset({("NetworkPolicy", "spec"), ("Service", "spec", "selector")})


def sealed(manifest: Manifest) -> Manifest:
    """*manifest* with the annotation that holds its digest."""
    meta = manifest["metadata"]
    annotations = {key: text for key, text in meta.get("annotations", {}).items() if key != names.CONTENT_ANNOTATION}
    bare = {**manifest, "metadata": {**meta, "annotations": annotations}}
    digest = hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return {**manifest, "metadata": {**meta, "annotations": {**annotations, names.CONTENT_ANNOTATION: digest}}}


def same(desired: Raw, observed: Raw | None) -> bool:
    """Whether applying *desired* would change nothing of *observed*."""
    return observed is not None and _within(desired, observed, (str(desired.get("kind")),))


def _within(ours: Any, theirs: Any, way: Way) -> bool:
    if isinstance(ours, Mapping):
        if not isinstance(theirs, Mapping) or (way in _WHOLE and ours.keys() != theirs.keys()):
            return False
        return all(key in theirs and _within(value, theirs[key], _below(way, key)) for key, value in ours.items())
    if isinstance(ours, list | tuple):
        return isinstance(theirs, Sequence) and not isinstance(theirs, str) and _list_within(ours, theirs, way)
    return type(ours) is type(theirs) and bool(ours == theirs)


def _below(way: Way, key: str) -> Way:
    """The way to *key*; all that is below a whole is part of it."""
    return way if way in _WHOLE else (*way, key)


def _list_within(ours: Sequence[Any], theirs: Sequence[Any], way: Way) -> bool:
    if keys := _KEYED.get(way) or _KEYED.get(way[-1:]):
        return all(any(_is_entry(one, other, keys) and _within(one, other, way) for other in theirs) for one in ours)
    return len(ours) == len(theirs) and all(_within(one, other, way) for one, other in zip(ours, theirs, strict=True))


def _is_entry(ours: Mapping[str, Any], theirs: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(theirs, Mapping) and all(ours.get(key) == theirs.get(key) for key in keys)
