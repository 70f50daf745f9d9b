"""Where a tunnel's Secrets and ConfigMaps lie: each part, in each namespace, for each service account.

A Secret and the ConfigMap beside it share a name, and a pod mounts the two as one volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_tunnel_operator.desired import names
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.parts import Part, parts_of_tunnel
from mtls_tunnel_operator.model.resources import Key, Tunnel


@dataclass(frozen=True, slots=True)
class Place:
    """One Secret with its ConfigMap; `account` is "" where all pods of the role share one."""

    part: Part
    namespace: str
    account: str = ""

    @property
    def name(self) -> str:
        """The name of both objects."""
        return self.part.object_name(self.namespace, self.account)

    @property
    def secret(self) -> Ref:
        return Ref("secrets", self.namespace, self.name)

    @property
    def config_map(self) -> Ref:
        return Ref("configmaps", self.namespace, self.name)

    @property
    def key(self) -> Key:
        """Tells places of one tunnel apart."""
        return Key(self.namespace, self.name)

    def identity(self, trust_domain: str) -> str:
        """The SPIFFE ID of the pods that mount it."""
        return names.identity(self.part, self.namespace, self.account, trust_domain)


def places_of(tunnel: Tunnel, spaces: Mapping[str, tuple[str, ...]]) -> tuple[Place, ...]:
    """Every place of *tunnel*, the server's first; *spaces* are the namespaces that accepted each client."""
    return tuple(place for part in parts_of_tunnel(tunnel) for place in places_of_part(part, spaces))


def places_of_part(part: Part, spaces: Mapping[str, tuple[str, ...]]) -> tuple[Place, ...]:
    """The places of one part."""
    home = part.tunnel.key.namespace
    where = (home,) if part.client is None else tuple(spaces.get(part.client.name, ()))
    accounts = tuple(dict.fromkeys(part.accounts)) if part.per_account else ("",)
    return tuple(Place(part, namespace, account) for namespace in where for account in accounts)
