"""What an API server does with objects, without a socket: a request goes in, an answer comes out.

Resource versions, generations, UIDs, server-side apply with field owners, optimistic locking, preconditions,
selectors, paged lists, subresources, owner references, and a history that watches read and that can be
compacted.  It validates nothing: what the real one refuses is tested on the real one.
"""

import base64
import copy
import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from mtls_tunnel_operator.model.kinds import KINDS, Kind, Ref, ref_of
from support import kube_apply
from support.kube_selectors import selected

Object = dict[str, Any]


class Answer(NamedTuple):
    status: int
    body: Object
    headers: Mapping[str, str] = {}


class Asked(NamedTuple):
    """A request as the audit log of a real server shows it."""

    verb: str
    ref: Ref  # name "" for collections
    subresource: str
    status: int
    body: Any
    query: Mapping[str, str]
    agent: str


@dataclass(slots=True)
class Moment:
    """One entry of the history."""

    version: int
    type: str
    object: Object


@dataclass(slots=True)
class Target:
    """An address, read."""

    kind: Kind
    namespace: str
    name: str
    subresource: str = ""


@dataclass(slots=True)
class Store:
    """The objects of a cluster.  `served` are the kinds that exist; `now` gives creationTimestamp."""

    served: set[str] = field(default_factory=lambda: set(KINDS))
    now: Callable[[], float] = time.time
    objects: dict[Ref, Object] = field(default_factory=dict)
    history: list[Moment] = field(default_factory=list)
    compacted: int = 0
    asked: list[Asked] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None
    budget: Callable[[Object], bool] = lambda _: True  # whether a pod may be evicted
    _version: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    version: int = 1000
    _pages: dict[str, list[Object]] = field(default_factory=dict)

    # For tests.

    def put(self, manifest: Object) -> Object:
        """Make it so, as an administrator with `kubectl replace --force` would (status included)."""
        ref = ref_of(manifest)
        return self._save(ref, copy.deepcopy(manifest), self.objects.get(ref))

    def remove(self, ref: Ref) -> None:
        """Delete it and what it owns."""
        gone = self.objects.pop(ref)
        self._record("DELETED", gone)
        self._collect(gone["metadata"]["uid"])

    def of(self, plural: str, namespace: str = "") -> list[Object]:
        """The objects of a kind, by name."""
        found = [
            (ref, item)
            for ref, item in self.objects.items()
            if ref.plural == plural and namespace in ("", ref.namespace)
        ]
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    def writes(self) -> list[Asked]:
        """What has been asked for that was not reading, Leases and Events left out."""
        quiet = {"get", "list", "watch"}
        return [one for one in self.asked if one.verb not in quiet and one.ref.plural not in ("leases", "events")]

    def compact(self) -> None:
        """Forget the history: watches and continued lists of before answer 410."""
        self.compacted = self.version
        self._pages.clear()

    # The server.

    def respond(
        self, method: str, path: str, query: Mapping[str, str], content: str, body: bytes, agent: str = ""
    ) -> Answer:
        """Answer anything but a watch."""
        if (special := self._discovery(path)) is not None:
            return special
        target = self.target(path)
        if target is None or target.kind.plural not in self.served:
            return failure(404, "NotFound", "the server could not find the requested resource")
        said = json.loads(body) if body else None
        verb, answer = self._act(method, target, dict(query), content, said)
        ref = Ref(target.kind.plural, target.namespace, target.name)
        self.asked.append(Asked(verb, ref, target.subresource, answer.status, said, dict(query), agent))
        return answer

    def target(self, path: str) -> Target | None:
        """Which kind, namespace, name and subresource an address means."""
        for kind in KINDS.values():
            rest = path.removeprefix(kind.root + "/")
            if rest == path:
                continue
            parts = [unquote(part) for part in rest.split("/")]
            namespace = ""
            if parts[0] == "namespaces" and len(parts) > 2 and kind.namespaced:
                namespace, parts = parts[1], parts[2:]
            if parts[0] == kind.plural:
                return Target(kind, namespace, *(parts[1:3] or [""]))
        return None

    def _act(self, method: str, target: Target, query: dict[str, str], content: str, said: Any) -> tuple[str, Answer]:
        ref = Ref(target.kind.plural, target.namespace, target.name)
        old = self.objects.get(ref)
        match method:
            case "GET" if not target.name:
                return "list", self._list(target, query)
            case "GET":
                return "get", Answer(200, old) if old else missing(ref)
            case "POST" if target.subresource == "eviction":
                return "evict", self._evict(ref, said)
            case "POST":
                return "create", self._create(target, said, query)
            case "PUT":
                return "update", self._replace(ref, old, said) if old else missing(ref)
            case "PATCH" if content == "application/apply-patch+yaml":
                return "apply", self._apply(ref, old, said, query, target.subresource)
            case "PATCH":
                return "patch", self._patch(ref, old, said, content, target.subresource) if old else missing(ref)
            case "DELETE":
                return "delete", self._delete(ref, old, said or {}) if old else missing(ref)
        return method.lower(), failure(405, "MethodNotAllowed", method)

    def _list(self, target: Target, query: Mapping[str, str]) -> Answer:
        token = query.get("continue", "")
        if token:
            items = self._pages.pop(token, None)
            if items is None:
                return failure(410, "Expired", "The provided continue parameter is too old")
        else:
            items = [item for item in self.of(target.kind.plural, target.namespace) if selected(item, query)]
        limit = int(query.get("limit") or 0)
        metadata: Object = {"resourceVersion": str(self.version)}
        if limit and len(items) > limit:
            token = metadata["continue"] = uuid.uuid4().hex
            metadata["remainingItemCount"] = len(items) - limit
            self._pages[token] = items[limit:]
            items = items[:limit]
        builtin = "." not in target.kind.api_version or target.kind.api_version.split("/")[0].endswith(".k8s.io")
        shown = [
            {k: v for k, v in item.items() if k not in ("apiVersion", "kind")} if builtin else item for item in items
        ]
        kind = target.kind
        return Answer(
            200, {"apiVersion": kind.api_version, "kind": f"{kind.kind}List", "metadata": metadata, "items": shown}
        )

    def _create(self, target: Target, said: Object, query: Mapping[str, str]) -> Answer:
        body = copy.deepcopy(said)
        metadata = body.setdefault("metadata", {})
        if target.kind.namespaced:
            metadata.setdefault("namespace", target.namespace)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        ref = Ref(target.kind.plural, metadata.get("namespace", ""), metadata["name"])
        if ref in self.objects:
            return failure(409, "AlreadyExists", f"{ref} already exists")
        if target.kind.namespaced and (problem := self._no_home(ref)):
            return problem
        body.setdefault("apiVersion", target.kind.api_version)
        body.setdefault("kind", target.kind.kind)
        kube_apply.own(body, None, query.get("fieldManager", "unknown"))
        return Answer(201, self._save(ref, body, None, query))

    def _replace(self, ref: Ref, old: Object, said: Object) -> Answer:
        if problem := self._stale(ref, old, said):
            return problem
        body = copy.deepcopy(said)
        body["metadata"]["managedFields"] = old["metadata"].get("managedFields", [])
        return Answer(200, self._save(ref, body, old))

    def _apply(self, ref: Ref, old: Object | None, said: Object, query: Mapping[str, str], subresource: str) -> Answer:
        if old is None and subresource:
            return missing(ref)
        if old is None and said["metadata"].get("uid"):  # a resourceVersion alone would not keep it from being made
            return failure(409, "Conflict", f"{ref}: uid mismatch: no existing object was found")
        if old is not None and (problem := self._stale(ref, old, said)):
            return problem
        if old is None and (problem := self._no_home(ref)):
            return problem
        try:
            body = kube_apply.applied(
                old, said, query["fieldManager"], force=query.get("force") == "true", subresource=subresource
            )
        except kube_apply.FieldConflict as conflict:
            return failure(409, "Conflict", str(conflict))
        return Answer(201 if old is None else 200, self._save(ref, body, old, query))

    def _patch(self, ref: Ref, old: Object, said: Any, content: str, subresource: str) -> Answer:
        if content == "application/json-patch+json":
            try:
                body = kube_apply.json_patched(old, said)
            except (KeyError, IndexError, ValueError) as error:
                return failure(422, "Invalid", f"the JSON patch does not apply: {error}")
        else:
            body = kube_apply.merged(copy.deepcopy(old), said)
        if subresource == "status":
            body = {**copy.deepcopy(old), "status": body.get("status", {})}
        if problem := self._stale(ref, old, body):
            return problem
        return Answer(200, self._save(ref, body, old))

    def _delete(self, ref: Ref, old: Object, options: Object) -> Answer:
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != old["metadata"]["uid"]:
            return failure(409, "Conflict", f"the UID in the precondition ({wanted}) does not match {ref}")
        self.remove(ref)
        return Answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _evict(self, ref: Ref, said: Object) -> Answer:
        old = self.objects.get(ref)
        if old is None:
            return missing(ref)
        if not self.budget(old):
            text = "Cannot evict pod as it would violate the pod's disruption budget."
            return failure(429, "TooManyRequests", text, {"Retry-After": "10"})
        return self._delete(ref, old, said.get("deleteOptions") or {})

    # Keeping.

    def _save(self, ref: Ref, body: Object, old: Object | None, query: Mapping[str, str] | None = None) -> Object:
        metadata = body["metadata"]
        if ref.plural == "secrets" and "stringData" in body:
            plain = body.pop("stringData")
            body.setdefault("data", {}).update({k: base64.b64encode(v.encode()).decode() for k, v in plain.items()})
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now()))
        before: Object = (
            old["metadata"] if old else {"uid": str(uuid.uuid4()), "creationTimestamp": created, "generation": 1}
        )
        metadata["uid"] = before["uid"] if old else metadata.get("uid") or before["uid"]
        metadata["creationTimestamp"] = metadata.get("creationTimestamp") or before["creationTimestamp"]
        renewed = old is not None and old.get("spec") != body.get("spec")
        metadata["generation"] = before.get("generation", 1) + (1 if renewed else 0)
        metadata["resourceVersion"] = before.get("resourceVersion", "")
        if body == old or (query or {}).get("dryRun"):
            return body if old is None else old
        self.version = next(self._version)
        metadata["resourceVersion"] = str(self.version)
        self.objects[ref] = body
        self._record("MODIFIED" if old else "ADDED", body)
        return body

    def _record(self, type_: str, body: Object) -> None:
        if type_ == "DELETED":
            self.version = next(self._version)
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.history.append(Moment(self.version, type_, copy.deepcopy(body)))
        self.changed()

    def _collect(self, uid: str) -> None:
        """Garbage collection: what has only that owner goes with it."""
        for ref, item in list(self.objects.items()):
            owners = item["metadata"].get("ownerReferences") or []
            if owners and all(owner["uid"] == uid for owner in owners) and ref in self.objects:
                self.remove(ref)

    def _stale(self, ref: Ref, old: Object, said: Object) -> Answer | None:
        version, uid = said["metadata"].get("resourceVersion"), said["metadata"].get("uid")
        if version and version != old["metadata"]["resourceVersion"]:
            return failure(
                409, "Conflict", f"{ref}: the object has been modified; please apply your changes to the latest"
            )
        if uid and uid != old["metadata"]["uid"]:
            return failure(409, "Conflict", f"{ref}: Precondition failed: UID in precondition: {uid}")
        return None

    def _no_home(self, ref: Ref) -> Answer | None:
        if ref.namespace and Ref("namespaces", "", ref.namespace) not in self.objects:
            return failure(404, "NotFound", f'namespaces "{ref.namespace}" not found')
        return None

    def _discovery(self, path: str) -> Answer | None:
        if path == "/version":
            return Answer(200, {"major": "1", "minor": "35", "gitVersion": "v1.35.4"})
        if path == "/api":
            return Answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        roots = {kind.root for kind in KINDS.values() if kind.plural in self.served}
        if path == "/apis":
            return Answer(
                200, {"kind": "APIGroupList", "groups": [_group(root) for root in sorted(roots) if root != "/api/v1"]}
            )
        if re.fullmatch(r"/api/v1|/apis/[^/]+/[^/]+", path):
            kinds = [kind for kind in KINDS.values() if kind.root == path and kind.plural in self.served]
            if not kinds:
                return failure(404, "NotFound", "the server could not find the requested resource")
            return Answer(200, {"kind": "APIResourceList", "resources": [_resource(kind) for kind in kinds]})
        return None


def _group(root: str) -> Object:
    group, version = root.removeprefix("/apis/").split("/")
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _resource(kind: Kind) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    singular = kind.kind.lower()
    return {
        "name": kind.plural,
        "singularName": singular,
        "kind": kind.kind,
        "namespaced": kind.namespaced,
        "verbs": verbs,
    }


def failure(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """A Status object."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": status,
        "reason": reason,
        "message": message,
    }
    return Answer(status, body, headers or {})


def missing(ref: Ref) -> Answer:
    return failure(404, "NotFound", f'{ref.plural} "{ref.name}" not found')
