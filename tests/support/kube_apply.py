"""Server-side apply, merge patch and JSON patch, good enough for what the operator writes.

Who owns which field is kept in metadata.managedFields, as the real server does, with the paths of leaves as
plain strings.  Lists are taken whole, but for those with a key (`_KEYED`).
"""

import copy
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

# The list's field name -> the keys of its items.
_KEYED: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "certificates": ("name", "serviceAccount"),
    "clients": ("name",),
    "ownerReferences": ("uid",),
    "webhooks": ("name",),
}


_ATOMIC = ("selector", "podSelector")  # maps that are one value


class FieldConflict(Exception):
    """Another manager owns a field that would change."""


def applied(old: Object | None, said: Object, manager: str, *, force: bool, subresource: str = "") -> Object:
    """The object after *manager* has applied *said*."""
    body: Object = (
        copy.deepcopy(old) if old else {"apiVersion": said["apiVersion"], "kind": said["kind"], "metadata": {}}
    )
    said = copy.deepcopy(said)
    said["metadata"] = {
        k: v for k, v in said["metadata"].items() if k not in ("resourceVersion", "uid", "managedFields")
    }
    if subresource:
        said = {subresource: said.get(subresource, {})}
    wanted = dict(_leaves(said))
    entries = _entries(body)
    mine = manager + (f"/{subresource}" if subresource else "")
    for other, paths in entries.items():
        if other == mine:
            continue
        clash = [p for p in wanted if p in paths and _at(body, p) != wanted[p]]
        if clash and not force:
            raise FieldConflict(f"conflict with {other!r}: {['.'.join(p) for p in clash]}")
        entries[other] = paths - set(clash)
    others = set().union(*(paths for other, paths in entries.items() if other != mine), set())
    for path in sorted(entries.get(mine, set()) - set(wanted) - others, key=_keys_last):
        _remove(body, path)
    for path, value in wanted.items():
        _set(body, path, value)
    entries[mine] = set(wanted)
    _record(body, entries)
    return body


def own(body: Object, old: Object | None, manager: str) -> None:
    """Note that *manager* made *body*."""
    entries = _entries(old or {"metadata": {}})
    entries[manager] = {path for path, _ in _leaves({k: v for k, v in body.items() if k != "status"})}
    _record(body, entries)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_patched(old: Object, operations: list[Object]) -> Object:
    """RFC 6902 without move and copy."""
    body = copy.deepcopy(old)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        holder: Any = body
        for part in parts[:-1]:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        last = parts[-1]
        match operation["op"]:
            case "test":
                found = holder[int(last)] if isinstance(holder, list) else holder[last]
                if found != operation["value"]:
                    raise ValueError(f"test of {operation['path']} failed")
            case "add" if isinstance(holder, list):
                holder.insert(len(holder) if last == "-" else int(last), operation["value"])
            case "remove":
                holder.pop(int(last) if isinstance(holder, list) else last)
            case _:
                holder[int(last) if isinstance(holder, list) else last] = operation["value"]
    return body


def _entries(body: Object) -> dict[str, set[Path]]:
    return {
        entry["manager"]: {tuple(json.loads(path)) for path in entry["fieldsV1"]}
        for entry in body["metadata"].get("managedFields") or []
    }


def _record(body: Object, entries: dict[str, set[Path]]) -> None:
    body["metadata"]["managedFields"] = [
        {"manager": manager, "operation": "Apply", "fieldsV1": {json.dumps(path): {} for path in sorted(paths)}}
        for manager, paths in sorted(entries.items())
        if paths
    ]


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each leaf with its path; items of keyed lists are named by their key, other lists are leaves."""
    if isinstance(value, dict) and (value or not path) and path[-1:] not in [(name,) for name in _ATOMIC]:
        for key, item in value.items():
            if path or key not in ("apiVersion", "kind"):
                yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and path and path[-1] in _KEYED and all(isinstance(item, dict) for item in value):
        for item in value:
            name = json.dumps({key: item.get(key, "") for key in _KEYED[path[-1]]})
            yield from _leaves(item, (*path, name))
    else:
        yield path, value


def _step(holder: Any, part: str, make: bool) -> Any:
    if isinstance(holder, list):
        wanted = json.loads(part)
        for item in holder:
            if all(item.get(key, "") == value for key, value in wanted.items()):
                return item
        if make:
            holder.append({key: value for key, value in wanted.items() if value != ""})
            return holder[-1]
        return None
    return holder.get(part) if isinstance(holder, dict) else None


def _at(body: Object, path: Path) -> Any:
    found: Any = body
    for part in path:
        found = _step(found, part, False)
    return found


def _set(body: Object, path: Path, value: Any) -> None:
    holder: Any = body
    for part, following in pairwise(path):
        keyed = following.startswith("{") and part in _KEYED
        if isinstance(holder, dict) and not isinstance(holder.get(part), (dict, list)):
            holder[part] = [] if keyed else {}
        holder = _step(holder, part, True)
    holder[path[-1]] = value


def _remove(body: Object, path: Path) -> None:
    """Take the leaf away, and what became empty above it; the key of a list's item goes with the whole item."""
    trail: list[tuple[Any, str]] = []
    holder: Any = body
    for part in path[:-1]:
        trail.append((holder, part))
        holder = _step(holder, part, False)
        if holder is None:
            return
    keys = _KEYED.get(path[-3], ()) if len(path) > 2 and path[-2].startswith("{") else ()
    if path[-1] in keys:
        above = trail[-1][0]
        if set(holder) <= set(keys):
            above.remove(holder)
        trail.pop()
    elif isinstance(holder, dict):
        holder.pop(path[-1], None)
    for above, part in reversed(trail[1:]):
        below = _step(above, part, False)
        if isinstance(below, (dict, list)) and not below:
            above.pop(part, None)


def _keys_last(path: Path) -> tuple[bool, Path]:
    return len(path) > 2 and path[-2].startswith("{") and path[-1] in _KEYED.get(path[-3], ()), path
