"""`tunnel-operator render`: what the operator would apply for the MtlsTunnels of YAML files, without a cluster.

For review before a change, and for tests of one's own manifests.  Printed as YAML, one document for each object
in the order of writing, as for a tunnel that is new.  Of Secrets only the names are printed, in comments: their keys
are made in the cluster and shown nowhere.

Other documents in the files are used where they say something: Namespaces (labels, and the annotation that
accepts tunnels), MtlsTrustDomains, ConfigMaps with CA bundles.  A namespace that no file has is taken as one
that accepts.  What hangs on pods (ports of tunnels that share one, policies of others) is not known here.

Exit code 0; 1 if a resource cannot be carried out; 2 if the input cannot be read.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.inject_yaml import Document, Unreadable, documents
from mtls_tunnel_operator.desired.names import leaf_names
from mtls_tunnel_operator.desired.places import places_of
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.parts import client_spaces
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import domain_of, space_of, tunnel_of
from mtls_tunnel_operator.model.resources import Key, TrustDomain, Tunnel
from mtls_tunnel_operator.settings import Defaults, defaults_of

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

A_TIME = 1.0  # no moment stands in what a new tunnel gets


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "render",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="print what would be applied",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE", help="YAML, - for stdin; may be given again"
    )
    parser.add_argument("--namespace", default="default", help="of objects that name none (default: default)")
    parser.add_argument("--defaults", metavar="FILE", help="the release's ConfigMap NAME-defaults, as YAML")
    parser.set_defaults(run=run)


@dataclass
class Known:
    """What the files say."""

    defaults: Defaults
    namespace: str
    tunnels: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # with the place of each
    spaces: dict[str, Space] = field(default_factory=dict)
    domains: dict[str, TrustDomain] = field(default_factory=dict)
    bundles: dict[Key, str] = field(default_factory=dict)  # ca.crt of each ConfigMap

    def learn(self, document: Document) -> None:
        """Take up a document, or the items of a List.

        Raises:
            Unreadable: it is no Kubernetes object.
        """
        for raw in _objects(document):
            metadata = {"namespace": self.namespace, **_mapping(raw.get("metadata"))}
            kind, ours = raw.get("kind"), str(raw.get("apiVersion")).startswith(f"{names.GROUP}/")
            if kind == "Namespace":
                space = space_of(raw)
                self.spaces[space.name] = space
            elif kind == "ConfigMap":
                key = Key(str(metadata["namespace"]), str(metadata.get("name")))
                self.bundles[key] = str(_mapping(raw.get("data")).get("ca.crt") or "")
            elif kind == "MtlsTrustDomain" and ours:
                domain = _read(document, raw)
                self.domains[domain.name] = domain
            elif kind == "MtlsTunnel" and ours:
                self.tunnels.append((document.place, {**raw, "metadata": metadata}))


def run(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """Print the objects of every tunnel in *args.file*."""
    out = sys.stdout if out is None else out
    known = Known(Defaults(sidecar_image=""), args.namespace)
    try:
        if args.defaults:
            known.defaults = _defaults(args.defaults)
        for name in args.file:
            for document in documents(name):
                known.learn(document)
        if not known.tunnels:
            raise Unreadable(f"no MtlsTunnel in {', '.join(args.file)}")
    except Unreadable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for place, raw in known.tunnels:
        try:
            tunnel = tunnel_of(raw)
            out.write(_rendered(tunnel, known))
        except SpecError as error:
            failed = True
            print(f"error: {place}: MtlsTunnel {raw['metadata'].get('name')}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _rendered(tunnel: Tunnel, known: Known) -> str:
    """All documents of one tunnel, behind a few lines about what is not among them."""
    peers = _peers(tunnel, known)
    made = plan(tunnel, World(peers, pod_monitors=True), A_TIME)
    lines = [f"MtlsTunnel {tunnel.key}", *_about_spaces(tunnel, peers, known)]
    if tunnel.suspend:
        lines.append("is suspended: nothing would be applied")
    else:
        by = "cert-manager" if tunnel.certificate.issuer.group == "cert-manager.io" else "the operator"
        for place in places_of(tunnel, peers.spaces):
            leaf = leaf_names(place.part, place.namespace, place.account, peers.trust_domain, peers.cluster_domain)
            lines.append(f"Secret {place.namespace}/{place.name}, made by {by}: {', '.join((leaf.uri, *leaf.dns))}")
    comments = "".join(f"# {line}\n" for line in lines)
    return comments + "".join(map(_document, made.desired))


def _peers(tunnel: Tunnel, known: Known) -> Peers:
    issuer, defaults = tunnel.certificate.issuer, known.defaults
    name = issuer.name or defaults.trust_domain_name
    domain = known.domains.get(name) if issuer.kind == "MtlsTrustDomain" else None
    if domain is not None and tunnel.certificate.trust_domain not in ("", domain.trust_domain):
        text = f"spec.certificate.trustDomain is not that of MtlsTrustDomain {name}, {domain.trust_domain}: remove it"
        raise SpecError("TrustDomainMismatch", text)
    home = defaults.operator_namespace
    external = tunnel.external.ca_bundle if tunnel.external else ""
    return Peers(
        trust_domain=tunnel.certificate.trust_domain or (domain.trust_domain if domain else defaults.trust_domain),
        cluster_domain=defaults.cluster_domain,
        spaces={client.name: client_spaces(tunnel, client, _spaces(tunnel, known))[0] for client in tunnel.clients},
        federated=tuple(
            (one.trust_domain, _bundle(known, home, one.config_map)) for one in (domain.federated if domain else ())
        ),
        server_ca=_bundle(known, tunnel.key.namespace, external) if external else "",
    )


def _bundle(known: Known, namespace: str, name: str) -> str:
    return known.bundles.get(Key(namespace, name)) or f"# ca.crt of ConfigMap {namespace}/{name}\n"


def _spaces(tunnel: Tunnel, known: Known) -> dict[str, Space]:
    """The namespaces of the files, and those that clients name and no file has."""
    named = {name for client in tunnel.clients for name in client.namespaces.names}
    labels = {names.INJECTION_LABEL: names.ENABLED}
    assumed = {name: Space(name, labels, frozenset({tunnel.key.namespace})) for name in named}
    return assumed | known.spaces


def _about_spaces(tunnel: Tunnel, peers: Peers, known: Known) -> Iterator[str]:
    for client in tunnel.clients:
        refused = client_spaces(tunnel, client, _spaces(tunnel, known))[1]
        if refused:
            yield f"client {client.name}: not accepted by namespace {', '.join(refused)}"
        elif not peers.spaces[client.name]:
            yield f"client {client.name}: no namespace in these files is selected"
        elif unseen := sorted(set(peers.spaces[client.name]) - known.spaces.keys() - {tunnel.key.namespace}):
            yield f"client {client.name}: namespace {', '.join(unseen)} is taken to accept, no file has it"


def _objects(document: Document) -> Iterator[dict[str, Any]]:
    pending = [document.value]
    while pending:
        raw = pending.pop(0)
        if not isinstance(raw, dict):
            raise Unreadable(f"{document.place}: want a Kubernetes object, have {type(raw).__name__}")
        items = raw.get("items")
        if str(raw.get("kind")).endswith("List") and isinstance(items, list):
            pending += items
        else:
            yield raw


def _read(document: Document, raw: dict[str, Any]) -> TrustDomain:
    try:
        return domain_of(raw)
    except SpecError as error:
        raise Unreadable(f"{document.place}: MtlsTrustDomain: {error}") from None


def _defaults(name: str) -> Defaults:
    for document in documents(name):
        raw = _mapping(document.value)
        if isinstance(raw.get("data"), dict):
            home = str(_mapping(raw.get("metadata")).get("namespace") or Defaults("").operator_namespace)
            try:
                found, problems = defaults_of(raw["data"], operator_namespace=home, last=Defaults(sidecar_image=""))
            except SpecError as error:
                raise Unreadable(f"{document.place}: {error}") from None
            for problem in problems:
                print(f"warning: {document.place}: {problem}", file=sys.stderr)
            return found
    raise Unreadable(f"{name}: no ConfigMap with data in it")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Dumper(yaml.SafeDumper):
    """Files inside of ConfigMaps stand as blocks, to be read."""


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_text)


def _document(manifest: dict[str, Any]) -> str:
    written = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"---\n{written}"
