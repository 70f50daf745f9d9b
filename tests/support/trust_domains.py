"""A cluster in memory with trust domains and leaves' Secrets, and the operator's `Domains` over it.

    world = World(); world.domain(propagationSeconds=60)
    await world.look()                 # as often as the queue would
    world.tunnel("shop", "db")         # a tunnel with a Secret, kept as the operator keeps it
    await world.later(600)             # time passes: looks, leaves written
    await at_rest(world)               # as much as a rotation takes

`started` does the first steps.

The API server is the one of `kube_api`; Secrets are written by the real `leaf`, `renewal` and `ca`.
"""

import base64
import uuid
from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca, leaf, renewal, state
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.leaf import Names
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.control.domains.reconcile import Domains
from mtls_tunnel_operator.control.meters import Meters
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.errors import ApiError, AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import CaSpec, Certificate, PrivateKey
from mtls_tunnel_operator.settings import Defaults
from support.clock import NOW, Clock
from support.kube_api import MemoryApi, cluster, namespace

HOME = "mtls-tunnel-system"
CERTIFICATE = Certificate()
Raw = dict[str, Any]

# Parts of a spec: short waits, and a CA that somebody else keeps.
FAST: Raw = {"propagationSeconds": 60, "issuingSeconds": 30}
FROM_SECRET: Raw = {"ca": {"type": "Secret", "secretRef": {"name": "corp-ca"}}}


class Heard:
    """The events that were posted."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def post(self, regarding: Ref, type: str, reason: str, message: str, *, uid: str = "") -> None:
        self.said.append((type, reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.said]


class World:
    def __init__(self, *, now: float = NOW, **defaults: Any) -> None:
        self.clock = Clock(now)
        self.store = cluster("shop", "bi", now=self.clock)
        self.defaults = Defaults(sidecar_image="tunnel", **defaults)
        self.leaves: dict[Ref, str] = {}  # and the domain that signs for them
        self.changed: list[str] = []
        self.again: float | None = None
        self._read: dict[Ref, Any] = {}
        self.start()

    def start(self) -> None:
        """A new process: it knows what the API server says and nothing else."""
        self.view = View()
        self.api = MemoryApi(self.store, observe=self.view.observe, forget=self.view.forget, sleep=_at_once)
        self.events = Heard()
        self.meters = Meters()
        self.domains = Domains(
            self.api,
            self.view,
            self.events,  # type: ignore[arg-type]
            defaults=lambda: self.defaults,
            namespace=HOME,
            now=self.clock,
            meters=self.meters,
            changed=self.changed.append,
        )
        self.watch()

    def watch(self) -> None:
        """What the watches would have brought by now."""
        for ref, raw in list(self.store.objects.items()):
            self.view.put(ref.plural, raw)
        for plural in ("secrets", "configmaps", names.DOMAINS, names.TUNNELS):
            for ref in self.view.known(plural):
                if ref not in self.store.objects:
                    self.view.drop(ref)

    # What users do.

    def domain(self, name: str = "default", annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        rotation = {key: spec.pop(key) for key in ("propagationSeconds", "issuingSeconds") if key in spec}
        wanted = {"trustDomain": "cluster.local", "rotation": rotation, **spec}
        self.put(_manifest("MtlsTrustDomain", name, spec=wanted, annotations=dict(annotations or {})))

    def annotate(self, name: str = "default", **annotations: str) -> None:
        raw = self.store.objects[Ref(names.DOMAINS, "", name)]
        said = {f"{names.GROUP}/{key}": value for key, value in annotations.items()}
        self.put({**raw, "metadata": {**raw["metadata"], "annotations": said}})

    def put(self, manifest: Raw) -> None:
        self.store.put(manifest)
        self.watch()

    def delete(self, plural: str, name: str, where: str = HOME) -> None:
        self.store.remove(Ref(plural, where, name))
        self.watch()

    def secret(self, name: str, cert: bytes, key: bytes, **others: bytes) -> None:
        """A Secret of somebody else in the operator's namespace."""
        held = {"tls.crt": cert, "tls.key": key, **others}
        coded = {entry: base64.b64encode(content).decode() for entry, content in held.items()}
        self.put({**_manifest("Secret", name, namespace=HOME), "data": coded})

    def config_map(self, name: str, text: str) -> None:
        self.put({**_manifest("ConfigMap", name, namespace=HOME), "data": {"ca.crt": text}})

    def tunnel(self, space: str, name: str, domain: str = "default", role: leaf.Usage = "server") -> None:
        """A tunnel of which the Secret of one role is kept from now on."""
        spec = {
            "server": {"workload": {"selector": {"matchLabels": {"app": name}}}, "ports": [_PORT]},
            "certificate": {"issuerRef": {"group": names.GROUP, "kind": "MtlsTrustDomain", "name": domain}},
        }
        self.put(_manifest("MtlsTunnel", name, namespace=space, spec=spec))
        self.leaves[Ref("secrets", space, f"{name}-mtls-{role}")] = domain

    # What the operator does.

    async def look(self, name: str = "default") -> None:
        """One reconciliation; the next one is due at `again`."""
        self.again = await self.domains.reconcile(name)
        self.watch()

    async def later(self, seconds: float, *, name: str = "default", tick: float = 5.0) -> None:
        """Let time pass: leaves are kept, and the domain is looked at when it asked for that."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(tick)
            if self.again is not None and self.again <= self.clock.now:
                try:
                    await self.look(name)
                except ApiError:
                    self.watch()  # the queue asks again; `again` is over
            await self.keep()

    async def keep(self) -> None:
        """What the reconciliation of tunnels does about Secrets, in short."""
        for ref, domain in self.leaves.items():
            try:
                signer = self.domains.signer(domain)
                await self.keep_one(ref, signer)
            except (AuthorityError, ApiError):
                continue
        self.watch()

    async def keep_one(self, ref: Ref, signer: Signer) -> None:
        raw = self.store.objects.get(ref)
        cert, key = (state.entry(raw, "tls.crt"), state.entry(raw, "tls.key")) if raw else (b"", b"")
        tunnel, _, role = ref.name.partition("-mtls-")
        usage: leaf.Usage = "server" if role == "server" else "client"
        wanted = Names(f"spiffe://{signer.trust_domain}/ns/{ref.namespace}/mtlstunnel/{tunnel}/{role}")
        issuer, due = "", 0.0
        if raw is not None:
            stamp = (raw["metadata"]["resourceVersion"], signer.fingerprints)
            if self._read.get(ref, (None,))[0] != stamp:
                self._read[ref] = (stamp, leaf.read_pair(cert, key, signer))
            facts = self._read[ref][1]
            due, _ = renewal.renew_at(facts, CERTIFICATE, signer, str(ref), self.clock.now, names=wanted)
            issuer = facts.issuer_fingerprint
        if raw is None or due <= self.clock.now:
            try:
                made = leaf.issue(signer, wanted, 86400, CERTIFICATE.private_key, usage, self.clock.now)
                cert, key, issuer = made.cert_pem, made.key_pem, made.issuer_fingerprint
            except AuthorityError:
                if raw is None:
                    raise
        held = {"tls.crt": cert, "tls.key": key, "ca.crt": signer.bundle_pem}
        if raw is not None and all(state.entry(raw, entry) == content for entry, content in held.items()):
            return
        annotations = {
            names.DOMAIN_ANNOTATION: signer.name,
            names.ISSUER_ANNOTATION: issuer,
            names.BUNDLE_ANNOTATION: signer.bundle_fingerprint,
        }
        owner = self.store.objects[Ref(names.TUNNELS, ref.namespace, tunnel)]["metadata"]["uid"]
        labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.OWNER_LABEL: owner, names.TUNNEL_LABEL: tunnel}
        manifest = _manifest("Secret", ref.name, namespace=ref.namespace, labels=labels, annotations=annotations)
        await self.api.apply(
            {**manifest, "data": {name: base64.b64encode(content).decode() for name, content in held.items()}}
        )

    # What is there.

    def status(self, name: str = "default") -> Raw:
        return self.store.objects[Ref(names.DOMAINS, "", name)].get("status") or {}

    def condition(self, type_: str, name: str = "default") -> tuple[str, str, str]:
        found = next(one for one in self.status(name)["conditions"] if one["type"] == type_)
        return found["status"], found["reason"], found["message"]

    def phase(self, name: str = "default") -> str:
        return str(self.status(name)["rotation"]["phase"])

    def cas(self, name: str = "default") -> dict[str, str]:
        """Fingerprint and role of the stored CAs."""
        found = (state.authority_of(raw, name) for raw in self.store.of("secrets", HOME))
        return {one.fingerprint: one.role for one in found if one is not None}

    def held(self) -> list[tuple[str, tuple[str, ...]]]:
        """Issuer and bundle of each leaf's Secret, as a pod reads it."""
        found = []
        for ref in self.leaves:
            raw = self.store.objects.get(ref)
            if raw is None:
                continue
            bundle = ca.bundle_of(state.entry(raw, "ca.crt"), str(ref))
            issuer = raw["metadata"]["annotations"][names.ISSUER_ANNOTATION]
            found.append((issuer, tuple(ca.fingerprint(one) for one in bundle)))
        return found

    def writes(self) -> list[str]:
        """What was written since the last time this was asked."""
        said = [
            f"{one.verb} {one.ref}" for one in self.store.asked if one.verb not in ("get", "list") and one.status < 300
        ]
        self.store.asked.clear()
        return said


_PORT = {"name": "tcp", "targetPort": 5432, "tlsPort": 15432}


def _manifest(kind: str, name: str, **fields: Any) -> Raw:
    given: Raw = {key: fields.pop(key) for key in ("namespace", "labels", "annotations") if key in fields}
    metadata: Raw = {"name": name, **given}
    ours = kind.startswith("Mtls")
    if ours:
        identity = f"{kind}/{metadata.get('namespace', '')}/{name}"
        metadata |= {"uid": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)), "generation": 1}
    return {"apiVersion": names.API_VERSION if ours else "v1", "kind": kind, "metadata": metadata, **fields}


async def started(**spec: Any) -> World:
    """A domain with short waits that has come to rest, and a tunnel in each of two namespaces."""
    world = World()
    world.domain(**{**FAST, **spec})
    await world.look()
    world.tunnel("shop", "db")
    world.tunnel("bi", "reports")
    await world.later(150)
    return world


async def at_rest(world: World) -> None:
    """Let time pass until the rotation is over: one CA is stored, and every leaf's Secret trusts it alone."""
    world.again = world.clock.now
    for _ in range(100):
        await world.later(15, tick=15)
        if (
            world.phase() == "Stable"
            and world.condition("RotationInProgress")[1] == "Stable"
            and world.again is not None
        ):
            bundles = {bundle for _, bundle in world.held()}
            if bundles <= {world.domains.signer("").fingerprints} and len(world.cas()) == 1:
                return
    raise AssertionError(world.status())


def sign(world: World) -> leaf.Leaf:
    """A new leaf of the CA that signs now.  Raises AuthorityError."""
    wanted = Names("spiffe://cluster.local/ns/shop/sa/new")
    return leaf.issue(world.domains.signer(""), wanted, 3600, PrivateKey(), "client", world.clock.now)


def corp() -> Pair:
    """A new CA of somebody else."""
    return ca.make_root(CaSpec(), "cluster.local", NOW)


def put_ca(world: World, pair: Pair, name: str = "corp-ca") -> None:
    """Its owner puts *pair* where the domain looks for it."""
    world.secret(name, pair.cert_pem, pair.key_pem)


def leaving(world: World, name: str) -> None:
    """The namespace is being deleted."""
    raw = namespace(name, {"mtlstunnel.dev/injection": "enabled"})
    metadata = {**raw["metadata"], "deletionTimestamp": "2026-11-21T12:00:00Z"}
    world.put({**raw, "status": {"phase": "Terminating"}, "metadata": metadata})


async def _at_once(_: float) -> None:
    return None
