"""What the injector knows: tunnels, namespaces that have opted in, defaults.  One thread, no I/O.

A tunnel that cannot be read selects nothing; its namespace remembers the sentence, so that pods which come
without a sidecar because of it are told.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.model.parts import Part, parts_of
from mtls_tunnel_operator.model.pods import Space
from mtls_tunnel_operator.model.reading import space_of, tunnel_of
from mtls_tunnel_operator.model.resources import Key, Tunnel
from mtls_tunnel_operator.settings import Defaults, defaults_of

LOG = logging.getLogger(__name__)

Raw = Mapping[str, Any]


class World:
    """Tunnels are kept by namespace: a pod is compared with its own namespace's and those that reach out."""

    def __init__(self, operator_namespace: str) -> None:
        self.spaces: dict[str, Space] = {}
        self.defaults: Defaults | None = None
        self.broken: dict[Key, str] = {}
        self._home: dict[str, dict[str, Tunnel]] = {}
        self._reaching: dict[str, dict[str, Tunnel]] = {}  # those of _home that may have clients elsewhere
        self._seen: dict[Key, tuple[str, int]] = {}  # uid and generation of what is kept
        self._operator_namespace = operator_namespace

    @property
    def tunnels(self) -> int:
        """How many there are that can be read."""
        return sum(map(len, self._home.values()))

    def put_tunnel(self, raw: Raw) -> None:
        """A tunnel as it is now; nothing is done when only its status has changed, which happens often."""
        key, seen = _key(raw), _seen(raw)
        if self._seen.get(key) == seen:
            return
        self._seen[key] = seen
        try:
            tunnel = read_tunnel(raw)
        except SpecError as error:
            self._drop(key)
            self.broken[key] = f"MtlsTunnel {key} is not used: {error}"
            LOG.warning(
                "tunnel cannot be read: it selects nothing",
                extra={"tunnel": key, "reason": error.reason, "error": error},
            )
            return
        self._drop(key)
        self._home.setdefault(key.namespace, {})[key.name] = tunnel
        if reaches_out(tunnel):
            self._reaching.setdefault(key.namespace, {})[key.name] = tunnel

    def drop_tunnel(self, raw: Raw) -> None:
        """It has been deleted; one of that name that was made since then stays."""
        key = _key(raw)
        if key in self._seen and self._seen[key][0] == _seen(raw)[0]:
            del self._seen[key]
            self._drop(key)

    def put_space(self, raw: Raw) -> None:
        """A namespace as it is now; one that has not opted in is not kept."""
        space = space_of(raw)
        if space.enabled:
            self.spaces[space.name] = space
        else:
            self.spaces.pop(space.name, None)

    def drop_space(self, raw: Raw) -> None:
        """It has been deleted, or has opted out."""
        self.spaces.pop(raw["metadata"]["name"], None)

    def put_defaults(self, raw: Raw) -> None:
        """The ConfigMap with the defaults; what cannot be read in it leaves the last good value."""
        try:
            self.defaults, problems = defaults_of(
                raw.get("data") or {}, operator_namespace=self._operator_namespace, last=self.defaults
            )
        except SpecError as error:
            problems = (str(error),)
        for problem in problems:
            LOG.warning("defaults: entry not taken", extra={"error": problem})

    def concerning(self, space: Space, extra: tuple[Tunnel, ...] = ()) -> Iterator[Tunnel]:
        """Tunnels that pods of *space* may have a part in; *extra* are newer than what is known.

        Of other namespaces only those that *space* accepts are looked at, which keeps the work small.
        """
        newer = {tunnel.key for tunnel in extra}
        yield from extra
        for tunnel in self._home.get(space.name, {}).values():
            if tunnel.key not in newer:
                yield tunnel
        for namespace in space.accepts - {space.name}:
            yield from self._reaching.get(namespace, {}).values()

    def unread(self, namespace: str) -> tuple[str, ...]:
        """Sentences about tunnels of *namespace* that cannot be read."""
        return tuple(text for key, text in self.broken.items() if key.namespace == namespace)

    def _drop(self, key: Key) -> None:
        self.broken.pop(key, None)
        for table in (self._home, self._reaching):
            if table.get(key.namespace, {}).pop(key.name, None) and not table[key.namespace]:
                del table[key.namespace]


def read_tunnel(raw: Raw) -> Tunnel:
    """A tunnel without its status, which no pod depends on.

    Raises:
        SpecError: as `tunnel_of`.
    """
    return tunnel_of({key: value for key, value in raw.items() if key != "status"})


def reaches_out(tunnel: Tunnel) -> bool:
    """Whether it may have clients in other namespaces."""
    return any(client.namespaces.source != "Same" for client in tunnel.clients)


def other_account(
    space: Space, labels: Mapping[str, str], parts: tuple[Part, ...], tunnels: Iterable[Tunnel]
) -> tuple[str, ...]:
    """Sentences about tunnels that select the pod beside its *parts*, and do not list its service account."""
    listed = (one for one in tunnels if one.certificate.subject == "PerServiceAccount")
    anyone = [replace(one, certificate=replace(one.certificate, subject="PerRole")) for one in listed]
    has = {part.volume_id for part in parts}
    return tuple(
        f"no part in tunnel {part.tunnel.key}: its {part.client_name or 'server'} does not list the pod's service "
        "account in serviceAccounts, and certificate.subject is PerServiceAccount"
        for part in parts_of(space, labels, "", anyone)
        if part.volume_id not in has
    )


def assumed_space(namespace: str) -> Space:
    """A namespace that nothing is known of: the API server asks only about those that bear the label."""
    return Space(namespace, {names.INJECTION_LABEL: names.ENABLED})


def _key(raw: Raw) -> Key:
    metadata = raw["metadata"]
    return Key(metadata.get("namespace") or "default", metadata["name"])


def _seen(raw: Raw) -> tuple[str, int]:
    """What changes with the spec: a new object has a new uid, a changed one a new generation."""
    metadata = raw["metadata"]
    return str(metadata.get("uid")), metadata.get("generation") or 0
