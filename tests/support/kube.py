"""A cluster through kubectl: what tests say to it, what they wait for, and what it tells when that does not come.

Nothing here knows whose cluster it is.  Waiting is for conditions only; the deadline decides when to give
up, and the failure then tells the whole story of the namespace: objects, events, the last words of containers.
"""

import contextlib
import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from support.ports import free_port
from support.processes import Child, run
from support.waiting import eventually

T = TypeVar("T")
Manifest = Mapping[str, Any]

SECONDS = 180.0
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PAUSE_SECONDS = 0.2  # between two questions: each is a program to start
DIRECT = {"NO_PROXY": f"{os.environ.get('NO_PROXY', '')},10.0.0.0/8"}  # a node of ours is on this machine
_numbers = itertools.count()


class Refused(Exception):
    """The API server, or kubectl, said no; the text is its answer."""


@dataclass(frozen=True)
class Kube:
    """A cluster, and in whose name it is asked.  `audit` is its log, where this machine can read it."""

    kubeconfig: Path
    kubectl: Path
    audit: Path | None = None
    impersonated: tuple[str, ...] = ()

    def as_user(self, user: str, *groups: str) -> "Kube":
        """The same cluster, asked in the name of *user* (a service account is system:serviceaccount:NAMESPACE:NAME)."""
        words = [f"--as={user}", *(f"--as-group={group}" for group in groups)]
        return replace(self, impersonated=tuple(words))

    def command(self, *words: str) -> list[str]:
        """A whole kubectl command, for those who start it themselves."""
        # What kubectl remembers of a server's kinds belongs to that server: the next one may have its address.
        own = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.kubeconfig.with_name('cache')}"]
        return [str(self.kubectl), *own, *self.impersonated, *words]

    def try_(self, *words: str, text: str = "", seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Run kubectl with *text* as its input, whatever comes of it."""
        return run(self.command(*words), text=text, seconds=seconds, env=DIRECT)

    def __call__(self, *words: str, text: str = "", seconds: float = SECONDS) -> str:
        """Run kubectl and return what it prints.  Raises: Refused."""
        done = self.try_(*words, text=text, seconds=seconds)
        if done.returncode:
            raise Refused(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(
        self, *manifests: Manifest | str | Path, namespace: str = "", manager: str = "tests", dry_run: bool = False
    ) -> None:
        """Server-side apply of objects, YAML texts or files; what is refused raises `Refused`."""
        words = ["apply", "--server-side", f"--field-manager={manager}", *_in(namespace), "-f", "-"]
        self(*words, *(["--dry-run=server"] if dry_run else []), text=_joined(manifests))

    def create(self, manifest: Manifest | str, namespace: str = "", *, dry_run: bool = False) -> dict[str, Any]:
        """POST one object (generateName works); return it as the server stored it.  Raises: Refused."""
        words = ["create", *_in(namespace), *(["--dry-run=server"] if dry_run else []), "-o", "json", "-f", "-"]
        return dict(json.loads(self(*words, text=_joined([manifest]))))

    def refusal(self, manifest: Manifest | str, namespace: str = "") -> str:
        """What the API server has against *manifest*; it fails if that is nothing.  Nothing is stored."""
        try:
            self.apply(manifest, namespace=namespace, dry_run=True)
        except Refused as refused:
            return str(refused)
        raise AssertionError(f"accepted, and should not be: {manifest}")

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """One object; {} if it is not there."""
        text = self("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        return dict(json.loads(text)) if text.strip() else {}

    def items(self, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The objects of *kind*; without *namespace* those of all namespaces."""
        where = _in(namespace) or ["--all-namespaces"]
        words = ["get", kind, *where, *([f"--selector={selector}"] if selector else []), "-o", "json"]
        return list(json.loads(self(*words))["items"])

    def patch(self, kind: str, name: str, change: Manifest, namespace: str = "") -> None:
        """Merge *change* into an object (null removes a key)."""
        self("patch", kind, name, *_in(namespace), "--type=merge", "--patch", json.dumps(change))

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        self("delete", kind, name, *_in(namespace), "--ignore-not-found", f"--wait={str(wait).lower()}")

    def logs(self, pod: str, namespace: str, container: str = "", *, previous: bool = False) -> str:
        words = ["logs", pod, *_in(namespace), *([f"--container={container}"] if container else [])]
        return self(*words, *(["--previous"] if previous else []))

    def exec(self, pod: str, namespace: str, *command: str, container: str = "") -> str:
        """Run *command* in a container and return its standard output.  Raises: Refused, also if it fails."""
        return self("exec", pod, *_in(namespace), *([f"--container={container}"] if container else []), "--", *command)

    @contextlib.contextmanager
    def forwarded(self, target: str, port: int, namespace: str) -> Iterator[int]:
        """A port of the loopback that leads to *port* of *target* (`pod/NAME`, `service/NAME`)."""
        local = free_port()
        with Child(self.command("port-forward", target, *_in(namespace), f"{local}:{port}"), env=DIRECT) as child:
            child.wait_for_line("Forwarding from 127.0.0.1", seconds=SECONDS)
            yield local

    def wait(self, condition: Callable[[], T], what: str, namespace: str = "", *, seconds: float = SECONDS) -> T:
        """Return the first true value of *condition*; else fail with the story of *namespace*.

        A refused request counts as "not yet".
        """

        pause = itertools.chain([0.0], itertools.repeat(PAUSE_SECONDS))

        def asked() -> T | None:
            time.sleep(next(pause))
            try:
                return condition()
            except Refused as refused:
                raise OSError(str(refused)) from refused  # what `eventually` takes for "not yet"

        try:
            value = eventually(asked, what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story(namespace)}") from None
        assert value is not None
        return value

    def wait_condition(self, kind: str, name: str, condition: str, namespace: str = "", status: str = "True") -> None:
        """Wait until the object has condition *condition* with *status*."""
        found: list[dict[str, Any]] = []

        def holds() -> bool:
            found[:] = self.get(kind, name, namespace).get("status", {}).get("conditions", [])
            return any(one["type"] == condition and one["status"] == status for one in found)

        self.wait(holds, f"{kind} {name} has {condition}={status}", namespace)

    def wait_phase(self, pod: str, phase: str, namespace: str) -> None:
        """Wait until a pod is Running, Succeeded or Failed; the other end of a pod is not waited out."""
        ends = {"Succeeded", "Failed"}

        def reached() -> str:
            now = str(self.get("pod", pod, namespace).get("status", {}).get("phase", ""))
            return now if now == phase or now in ends else ""

        found = self.wait(reached, f"pod {pod} is {phase}", namespace)
        assert found == phase, f"pod {pod} is {found}\n{self.story(namespace)}"

    def wait_ready(self, namespace: str, selector: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until *count* pods of *selector* are ready, with none besides; return them."""

        def all_ready() -> list[dict[str, Any]]:
            pods = [
                pod for pod in self.items("pods", namespace, selector) if not pod["metadata"].get("deletionTimestamp")
            ]
            return pods if len(pods) == count and all(map(is_ready, pods)) else []

        return self.wait(all_ready, f"{count} ready pods of {selector}", namespace)

    @contextlib.contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None, name: str = "") -> Iterator[str]:
        """A namespace of a name that was never used before, deleted at the end without waiting for its pods."""
        name = name or f"test-{os.getpid()}-{next(_numbers)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
        try:
            yield name
        finally:
            self.delete("namespace", name, wait=False)

    def story(self, namespace: str) -> str:
        """What a person would ask next: objects, events, and the last lines of each container."""
        if not namespace:
            return self.try_("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp").stdout[-4000:]
        where = _in(namespace)
        parts = [
            self.try_("get", "all,secrets,configmaps,networkpolicies", *where, "-o", "wide").stdout,
            self.try_("describe", "pods", *where).stdout[-8000:],
            self.try_("get", "events", *where, "--sort-by=.lastTimestamp").stdout[-4000:],
        ]
        for pod in self.try_("get", "pods", *where, "-o", "name").stdout.split():
            words = ["logs", pod, *where, "--all-containers", "--prefix", "--tail=30"]
            parts.append(self.try_(*words).stdout[-6000:])
        return "\n".join(part for part in parts if part.strip())

    def requests(self, user: str) -> list[dict[str, Any]]:
        """Every request of *user* so far, from the audit log: verb, objectRef, responseStatus, annotations..."""
        assert self.audit, "the audit log of this cluster is out of reach"
        lines = self.audit.read_text(encoding="utf-8").splitlines()
        wanted = [json.loads(line) for line in lines if user in line]
        return [event for event in wanted if _asker(event) == user]


def is_ready(pod: Manifest) -> bool:
    """Whether a pod's own condition says so."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def verbs_used(events: Sequence[Manifest]) -> set[tuple[str, str, str]]:
    """(group, resource with subresource, verb) of *events*; a server-side apply that creates says patch."""
    used = set()
    for event in events:
        about = event.get("objectRef", {})
        resource = "/".join(filter(None, [about.get("resource", ""), about.get("subresource", "")]))
        used.add((about.get("apiGroup", ""), resource, event["verb"]))
    return used


def forbidden(events: Sequence[Manifest]) -> list[str]:
    """The requests that RBAC refused, in words.  A 403 alone may be admission's: a namespace that is going away."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
    ]


def cel_messages(refusal: str) -> list[str]:
    """The single complaints of a refusal, without the path of kubectl around them."""
    return re.findall(r"(?:Invalid value|Required value|Forbidden|Unsupported value|Too many|Too long)[^,]*", refusal)


def _asker(event: Manifest) -> str:
    """Who the rules were asked about: whoever is impersonated, else who sent it."""
    return str((event.get("impersonatedUser") or event["user"]).get("username", ""))


def _in(namespace: str) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []


def _joined(manifests: Sequence[Manifest | str | Path]) -> str:
    texts = []
    for manifest in manifests:
        if isinstance(manifest, Path):
            texts.append(manifest.read_text(encoding="utf-8"))
        else:
            texts.append(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return "\n---\n".join(texts)
