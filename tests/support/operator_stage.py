"""The operator's reconciler on a stage: a cluster in memory, a real CA, a clock that the test moves.

What is real: the reconciler with all its rooms, the view, the API door with its repetitions.  What stands in:
the API server (`kube_store`), events (kept in a list), and the trust domain, which is one CA that the test may
change at will.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.control.meters import Meters
from mtls_tunnel_operator.control.tunnels.reconcile import Reconciler
from mtls_tunnel_operator.control.view import MANAGED, View
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import CaSpec, Key
from mtls_tunnel_operator.settings import Defaults
from support.kube_api import MemoryApi, cluster
from support.tunnel_resources import NOON

Raw = dict[str, Any]

DOMAIN = "cluster.local"
ORDERS = Key("shop", "orders-db")  # the minimal example
DEFAULTS = Defaults(sidecar_image="registry.example/mtls-tunnel:1")
_SEEN = ("namespaces", names.DOMAINS, names.TUNNELS, *MANAGED, "pods")


class Clock:
    """A clock that only the test moves."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class OneDomain:
    """A trust domain whose signer the test sets."""

    def __init__(self, now: float) -> None:
        self.current: Signer | AuthorityError = signer_of(now)

    def signer(self, name: str) -> Signer:
        if isinstance(self.current, AuthorityError):
            raise self.current
        return self.current

    @property
    def given(self) -> Signer:
        """The signer, where there is one."""
        assert isinstance(self.current, Signer)
        return self.current

    def change(self, **fields: Any) -> None:
        """Another signer, as a rotation or its owner makes it."""
        self.current = replace(self.given, **fields)


def signer_of(now: float, name: str = "default", **fields: Any) -> Signer:
    """A signer with a root of its own."""
    pair = ca.make_root(CaSpec(), DOMAIN, now)
    return Signer(**{"name": name, "trust_domain": DOMAIN, "pair": pair, "bundle": (pair.certificate,), **fields})


@dataclass(frozen=True)
class Said:
    """An event."""

    regarding: Ref
    type: str
    reason: str
    message: str


class Stage:
    """A cluster with one operator; `look(key)` is what the queue does."""

    def __init__(self, *namespaces: str, now: float = NOON, unwatched: tuple[str, ...] = ()) -> None:
        self.clock = Clock(now)
        self.store = cluster(*(namespaces or ("shop",)), now=self.clock)
        domain = {
            "apiVersion": names.API_VERSION,
            "kind": "MtlsTrustDomain",
            "metadata": {"name": "default"},
            "spec": {"trustDomain": DOMAIN},
        }
        self.store.put(domain)
        self.domains = OneDomain(now)
        self.defaults = DEFAULTS
        self.unwatched = unwatched
        self.said: list[Said] = []
        self.restart()

    def restart(self) -> None:
        """A new process: it remembers nothing and sees everything anew."""
        self.view = View(unwatched=self.unwatched)
        self.api = MemoryApi(self.store, observe=self.view.observe, forget=self.view.forget, sleep=_no_sleep)
        self.meters = Meters()
        self.reconciler = Reconciler(
            self.api,
            self.view,
            self.domains,
            events=self,
            meters=self.meters,
            defaults=lambda: self.defaults,
            now=self.clock,
        )

    def post(
        self, regarding: Ref, type: Literal["Normal", "Warning"], reason: str, message: str, *, uid: str = ""
    ) -> None:
        """Keep an event."""
        self.said.append(Said(regarding, type, reason, message))

    def see(self) -> None:
        """Tell the view everything, as watches do."""
        for plural in _SEEN:
            if plural in self.unwatched:
                continue
            there = {}
            for raw in self.store.of(plural):
                meta = raw["metadata"]
                there[Ref(plural, meta.get("namespace", ""), meta["name"])] = raw
                self.view.put(plural, raw)
            for ref in list(self.view.known(plural)):
                if ref not in there:
                    self.view.drop(ref)

    async def look(self, key: Key = ORDERS) -> float | None:
        """See, reconcile."""
        self.see()
        return await self.reconciler.tunnel(key)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing is written in here, and no event is posted."""
        writes, said = len(self.store.writes()), len(self.said)
        yield
        written = [f"{one.verb} {one.ref} {one.body}" for one in self.store.writes()[writes:]]
        assert not written, written
        assert self.said[said:] == []

    def tunnel(self, raw: Raw) -> Key:
        """Create or change a tunnel."""
        made = self.store.put(raw)
        return Key(made["metadata"]["namespace"], made["metadata"]["name"])

    def secret(self, name: str, namespace: str = "shop") -> dict[str, bytes]:
        """The content of a Secret."""
        data = self.store.objects[Ref("secrets", namespace, name)]["data"]
        return {key: base64.b64decode(text) for key, text in data.items()}

    def has(self, plural: str, name: str, namespace: str = "shop") -> bool:
        return Ref(plural, namespace, name) in self.store.objects

    def status(self, key: Key = ORDERS) -> Raw:
        return dict(self.store.objects[Ref(names.TUNNELS, *key)].get("status") or {})

    def condition(self, name: str, key: Key = ORDERS) -> tuple[str, str, str]:
        """Status, reason and message."""
        found = next(item for item in self.status(key)["conditions"] if item["type"] == name)
        return found["status"], found["reason"], found["message"]


async def _no_sleep(_: float) -> None:
    return None
