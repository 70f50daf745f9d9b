"""The view is compared with the cluster as a whole: at the start, to fill it, and every ten minutes.

A watch may miss a deletion (kopf says none after a 410), and a namespace that opts in brings pods that were
not kept.  What a list has is taken in; what is kept and not in the list, and not newer than it, has gone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.view import MANAGED, WEBHOOK, Change, View
from mtls_tunnel_operator.errors import ApiError, Gone
from mtls_tunnel_operator.model.kinds import KINDS, Ref

LOG = logging.getLogger(__name__)

OURS = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
OPTIONAL = ("certificates", "podmonitors")  # kinds of others' CRDs
# Namespaces first: they decide which pods are kept.
ORDER = ("namespaces", names.DOMAINS, names.TUNNELS, WEBHOOK, *MANAGED, "pods")


class Selection:
    """Which objects are looked at: the same for lists and for watches."""

    def __init__(self, *, webhook: str, namespaces: Iterable[str] = (), unwatched: Iterable[str] = ()) -> None:
        self._webhook = webhook
        self._namespaces = tuple(namespaces)
        self._unwatched = frozenset(unwatched)

    @property
    def plurals(self) -> tuple[str, ...]:
        return tuple(plural for plural in ORDER if plural not in self._unwatched)

    def namespaces(self, plural: str) -> tuple[str, ...]:
        """Where to look; ("",) is everywhere."""
        return self._namespaces or ("",) if KINDS[plural].namespaced else ("",)

    def labels(self, plural: str) -> str:
        """A label selector: objects of users are none of our business (pains 18 and 19).

        Network policies of others are: ours must not open what they have closed.
        """
        return OURS if plural in MANAGED and plural != "networkpolicies" else ""

    def fields(self, plural: str) -> str:
        return f"metadata.name={self._webhook}" if plural == WEBHOOK else ""


class Resync:
    """Compares; `changed` is told what nothing else had told."""

    def __init__(self, api: Api, view: View, selection: Selection, changed: Callable[[Change], None]) -> None:
        self._api = api
        self._view = view
        self._selection = selection
        self._changed = changed

    async def everything(self) -> int:
        """All kinds in order; how many changes were found.

        Raises:
            ApiError: a kind could not be listed; those before it are current.
        """
        found = 0
        for plural in self._selection.plurals:
            for namespace in self._selection.namespaces(plural):
                try:
                    found += await self._again(plural, namespace)
                except ApiError as error:
                    if plural not in OPTIONAL or error.status not in (403, 404):
                        raise
                    LOG.debug("resync: %s are not watched: %s", plural, error)
        return found

    async def space(self, name: str) -> int:
        """The pods of a namespace that has opted in, or out; one that is not ours to watch has none for us."""
        if name not in self._selection.namespaces("pods") and self._selection.namespaces("pods") != ("",):
            return 0
        space = self._view.spaces.get(name)
        if space is None or not space.enabled:
            self._view.forget_pods(name)
            return 0
        return await self._again("pods", name)

    async def _again(self, plural: str, namespace: str) -> int:
        """A list that took too long for the server begins anew, twice."""
        for _ in range(2):
            try:
                return await self._compare(plural, namespace)
            except Gone:
                LOG.info("resync: the list of %s took too long, beginning anew", plural)
        return await self._compare(plural, namespace)

    async def _compare(self, plural: str, namespace: str) -> int:
        listed: set[Ref] = set()
        found = 0
        version = 0
        labels, fields = self._selection.labels(plural), self._selection.fields(plural)
        async for page in self._api.list(plural, namespace, labels, fields):
            version = int(page.resource_version) if page.resource_version.isdecimal() else version
            for raw in page.items:
                metadata = raw["metadata"]
                listed.add(Ref(plural, metadata.get("namespace", ""), metadata["name"]))
                found += self._tell(self._view.put(plural, raw))
            await asyncio.sleep(0)  # a page takes a while: others come in between
        for ref, known in self._view.known(plural, namespace).items():
            if ref not in listed and known <= version:  # what is newer than the list could not be in it
                found += self._tell(self._view.drop(ref))
        return found

    def _tell(self, change: Change | None) -> int:
        if change is None:
            return 0
        self._changed(change)
        return 1
