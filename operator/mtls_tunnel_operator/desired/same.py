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

# Lists that server-side apply merges by a key: others may have entries of their own in them.
_KEYED = {"ownerReferences": ("uid",), "ports": ("port", "protocol")}
# Maps that it replaces as a whole: one label more in a Service's selector would select nobody.
_ATOMIC = ("selector", "podSelector")


def sealed(manifest: Manifest) -> Manifest:
    """*manifest* with the annotation that holds its digest."""
    meta = manifest["metadata"]
    annotations = {key: text for key, text in meta.get("annotations", {}).items() if key != names.CONTENT_ANNOTATION}
    bare = {**manifest, "metadata": {**meta, "annotations": annotations}}
    digest = hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return {**manifest, "metadata": {**meta, "annotations": {**annotations, names.CONTENT_ANNOTATION: digest}}}


def same(desired: Raw, observed: Raw | None) -> bool:
    """Whether applying *desired* would change nothing of *observed*."""
    return observed is not None and _within(desired, observed)


def _within(ours: Any, theirs: Any, name: str = "") -> bool:
    if name in _ATOMIC:
        return bool(ours == theirs)
    if isinstance(ours, Mapping):
        return isinstance(theirs, Mapping) and all(
            key in theirs and _within(value, theirs[key], key) for key, value in ours.items()
        )
    if isinstance(ours, list | tuple):
        return isinstance(theirs, Sequence) and not isinstance(theirs, str) and _list_within(ours, theirs, name)
    return type(ours) is type(theirs) and bool(ours == theirs)


def _list_within(ours: Sequence[Any], theirs: Sequence[Any], name: str) -> bool:
    keys = _KEYED.get(name)
    if keys and all(isinstance(one, Mapping) and all(key in one for key in keys) for one in ours):
        return all(any(_within(one, other) for other in theirs) for one in ours)
    return len(ours) == len(theirs) and all(_within(one, other) for one, other in zip(ours, theirs, strict=True))
