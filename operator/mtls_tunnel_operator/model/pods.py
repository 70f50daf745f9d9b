"""A pod or a namespace, reduced to what the operator keeps of it: clusters have tens of thousands."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of a pod."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Pod:
    """`injected` means that our container is there; labels and annotations are no proof."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    account: str = "default"
    phase: str = "Pending"
    created: float = 0.0
    owner: Owner | None = None
    injected: bool = False
    foreign_container: bool = False  # somebody else's container bears the name of ours
    ready: bool = False
    deleting: bool = False
    host_network: bool = False
    windows: bool = False
    revision: str = ""  # annotation mtlstunnel.dev/revision
    tunnels: tuple[str, ...] = ()  # annotation mtlstunnel.dev/tunnels, "namespace/name" each
    ports: tuple[int, ...] = ()  # container ports, ours left out
    node: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    accepts: frozenset[str] = frozenset()  # annotation mtlstunnel.dev/accept-tunnels-from
    terminating: bool = False

    @property
    def enabled(self) -> bool:
        """Whether the namespace has opted in to injection."""
        return self.labels.get("mtlstunnel.dev/injection") == "enabled"
