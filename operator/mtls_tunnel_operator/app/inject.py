"""`tunnel-operator inject`: the pods of YAML files with their sidecars, without a cluster.

For review (what would the webhook do?) and for repositories that hold what runs.  The webhook changes nothing
in a pod that was injected here with the same tunnels and defaults.

Every document comes out, in its place and with its keys in their order; comments are lost.  Pods are found by
their shape (`spec.template`, `spec.jobTemplate.spec.template`), not by a list of kinds; items of Lists are
looked into.  Tunnels and Namespaces may stand in the same files or in --tunnels.  A namespace that no file has
is taken as opted in.

Exit code 0; 1 if a pod that must be injected (label mtlstunnel.dev/inject: "true") cannot be; 2 if the input
cannot be read.  What was done is said on standard error.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.inject_yaml import Document, Unreadable, documents
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.injection import shape
from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.injection.world import assumed_space, other_account, read_tunnel
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import pod_of, space_of
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.settings import Defaults, defaults_of

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

Way = tuple[str | int, ...]

_TEMPLATES = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"), ("template",))


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inject",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="print injected pods",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE", help="YAML, - for stdin; may be given again"
    )
    parser.add_argument(
        "--tunnels", action="append", default=[], metavar="FILE", help="MtlsTunnels, Namespaces; may be given again"
    )
    parser.add_argument("--namespace", default="default", help="of objects that name none (default: default)")
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--defaults", metavar="FILE", help="the release's ConfigMap NAME-defaults, as YAML")
    image.add_argument(
        "--sidecar-image", metavar="IMAGE", help="in place of --defaults: the image, with all else as built in"
    )
    parser.set_defaults(run=run)


@dataclass
class Known:
    """What the files say beside pods."""

    defaults: Defaults
    namespace: str
    tunnels: list[Tunnel] = field(default_factory=list)
    spaces: dict[str, Space] = field(default_factory=dict)

    def learn(self, document: Document) -> None:
        """Take up tunnels and namespaces.

        Raises:
            Unreadable: a tunnel that is none.
        """
        for _, raw in _objects(document.value):
            metadata = raw.get("metadata") if isinstance(raw, dict) else None
            if not isinstance(metadata, dict):
                continue
            if raw.get("kind") == "Namespace":
                space = space_of(raw)
                self.spaces[space.name] = space
            if raw.get("kind") == "MtlsTunnel" and str(raw.get("apiVersion")).startswith(f"{names.GROUP}/"):
                try:
                    tunnel = read_tunnel({**raw, "metadata": {"namespace": self.namespace, **metadata}})
                except SpecError as error:
                    raise Unreadable(f"{document.place}: MtlsTunnel {metadata.get('name')}: {error}") from None
                self.tunnels.append(tunnel)


def run(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """Print the documents of *args.file* with their pods injected."""
    out = sys.stdout if out is None else out
    try:
        given = [document for name in args.file for document in documents(name)]
        known = Known(_defaults(args), args.namespace)
        for document in [*given, *(one for name in args.tunnels for one in documents(name))]:
            known.learn(document)
        if not known.tunnels:
            raise Unreadable("no MtlsTunnel in these files: name the file that has it with --tunnels")
        denied = [subject for document in given for subject in _inject(document, known)]
    except Unreadable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out.writelines(document.text() for document in given)
    return 1 if denied else 0


def _defaults(args: argparse.Namespace) -> Defaults:
    if args.sidecar_image:
        return Defaults(sidecar_image=args.sidecar_image)
    for document in documents(args.defaults):
        entries = document.value.get("data") if isinstance(document.value, dict) else None
        if isinstance(entries, dict):
            home = (document.value.get("metadata") or {}).get("namespace") or Defaults("").operator_namespace
            try:
                defaults, problems = defaults_of(entries, operator_namespace=home, last=None)
            except SpecError as error:
                raise Unreadable(f"{document.place}: {error}") from None
            for problem in problems:
                print(f"warning: {document.place}: {problem}", file=sys.stderr)
            return defaults
    raise Unreadable(f"{args.defaults}: no ConfigMap with data in it")


def _objects(value: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """The objects of a document and the way to each: itself, or the items of a List."""
    items = value.get("items") if isinstance(value, dict) and str(value.get("kind")).endswith("List") else None
    if not isinstance(items, list):
        yield way, value
        return
    for index, item in enumerate(items):
        yield from _objects(item, (*way, "items", index))


def _inject(document: Document, known: Known) -> Iterator[str]:
    """Inject all pods of a document; the names of those that are refused."""
    for way, raw in _objects(document.value):
        if not isinstance(raw, dict):
            raise Unreadable(f"{document.place}: want a Kubernetes object, have {type(raw).__name__}")
        path = _pod_path(raw)
        if path is None:
            continue
        metadata = _at(raw, ("metadata",))
        namespace = str(metadata.get("namespace") or known.namespace)
        subject = f"{raw.get('kind')} {namespace}/{metadata.get('name') or metadata.get('generateName')}"
        pod = _at(raw, path)
        if pod.get("metadata") is None:  # a template may leave it out
            document.patch((*way, *path), [{"op": "add", "path": "/metadata", "value": {}}])
            pod = {**pod, "metadata": {}}
        try:
            result = _decide(pod, namespace, known)
        except SpecError as error:
            raise Unreadable(f"{document.place}: {subject}: {error}") from None
        document.patch((*way, *path), result.ops)
        _say(subject, result)
        if result.denied:
            yield subject


def _decide(pod: Mapping[str, Any], namespace: str, known: Known) -> Injection:
    space = known.spaces.get(namespace) or assumed_space(namespace)
    labels, account = shape.labels_of(pod), pod_of(pod).account
    parts = parts_of(space, labels, account, known.tunnels)
    result = inject(pod, parts, space, known.defaults)
    return replace(result, warnings=(*result.warnings, *other_account(space, labels, parts, known.tunnels)))


def _say(subject: str, result: Injection) -> None:
    if result.denied:
        print(f"error: {subject}: {result.denied}", file=sys.stderr)
    elif result.skipped:
        print(f"{subject}: not injected ({result.skipped})", file=sys.stderr)
    else:
        tunnels = result.pod["metadata"]["annotations"][names.TUNNELS_ANNOTATION]
        print(f"{subject}: {'injected' if result.ops else 'unchanged'} ({tunnels})", file=sys.stderr)
    for warning in result.warnings:
        print(f"warning: {subject}: {warning}", file=sys.stderr)


def _pod_path(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Where the pod is: () for a Pod, the way to the template of whatever makes pods, None where there is none."""
    if document.get("kind") == "Pod":
        return ()
    for path in _TEMPLATES:
        spec = _at(_at(document, path), ("spec",))
        if isinstance(spec.get("containers"), list):
            return path
    return None


def _at(document: Mapping[str, Any], path: Iterable[str]) -> Mapping[str, Any]:
    for key in path:
        below = document.get(key)
        if not isinstance(below, Mapping):
            return {}
        document = below
    return document
