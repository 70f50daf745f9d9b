"""Objects of tunnels that are gone are deleted in namespaces that are not the tunnel's own.

In its own namespace Kubernetes does that by ownerReference; elsewhere an ownerReference would get the object
deleted at once, so it carries the owner's UID in a label.  Before anything is deleted the API server is asked
for the tunnel itself: a view that lacks it is no proof.  No finalizer: what a stopped operator leaves behind is
found at its next start, and at each resync.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.errors import ApiError, Conflict, NotFound
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Key

LOG = logging.getLogger(__name__)

Raw = Mapping[str, Any]


class Copies:
    """Cleans up after tunnels that are gone."""

    def __init__(self, api: Api, view: View) -> None:
        self._api = api
        self._view = view

    async def sweep(self, key: Key | None = None) -> int:
        """Delete the copies of *key* that have no owner any more, or those of all tunnels; how many there were."""
        gone = 0
        for owner, refs in self._orphans(key).items():
            if await self._is_gone(*owner):
                gone += await self.delete(refs)
        return gone

    async def delete(self, refs: Iterable[Ref]) -> int:
        """Delete objects of ours; one that was made anew meanwhile stays.  How many were there."""
        gone = 0
        for ref in refs:
            raw = self._view.objects.get(ref)
            try:
                gone += await self._api.delete(ref, uid=raw["metadata"].get("uid", "") if raw else "")
            except Conflict:
                continue
            LOG.info("%s is deleted: nothing needs it any more", ref)
            if ref.plural == "configmaps" and not self._view.watched("secrets"):
                gone += await self._delete_beside(ref, raw)
        return gone

    def _orphans(self, key: Key | None) -> dict[tuple[Key, str], list[Ref]]:
        """Copies whose owner the view does not know, by that owner."""
        living = {tunnel.uid for tunnel in self._view.tunnels.values()}
        living |= {broken.uid for broken in self._view.broken.values()}
        found: dict[tuple[Key, str], list[Ref]] = {}
        for ref, raw in self._view.copies(key):
            labels = raw["metadata"].get("labels") or {}
            owner = Key(labels.get(names.TUNNEL_NAMESPACE_LABEL, ""), labels.get(names.TUNNEL_LABEL, ""))
            uid = labels.get(names.OWNER_LABEL, "")
            if not uid or not owner.namespace or owner.namespace == ref.namespace or uid in living:
                continue
            if key in (None, owner):
                found.setdefault((owner, uid), []).append(ref)
        return found

    async def _is_gone(self, key: Key, uid: str) -> bool:
        try:
            found = await self._api.get(Ref(names.TUNNELS, *key))
        except NotFound:
            return True
        except ApiError as error:
            LOG.warning("copies of %s stay for now, it cannot be asked for: %s", key, error)
            return False
        return bool(found["metadata"].get("uid") != uid)

    async def _delete_beside(self, ref: Ref, config_map: Raw | None) -> int:
        """The Secret of a ConfigMap's name, where Secrets are read by name only."""
        secret = Ref("secrets", ref.namespace, ref.name)
        try:
            raw = await self._api.get(secret)
        except NotFound:
            return 0
        owner = (raw["metadata"].get("labels") or {}).get(names.OWNER_LABEL)
        if config_map is None or owner != (config_map["metadata"].get("labels") or {}).get(names.OWNER_LABEL):
            return 0
        return int(await self._api.delete(secret, uid=raw["metadata"]["uid"]))
