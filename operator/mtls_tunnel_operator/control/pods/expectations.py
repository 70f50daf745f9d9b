"""What each pod should carry, answered quickly: thousands of pods share a few hundred shapes.

Tunnels are found by the labels that their selectors ask for, so that a pod is not compared with every tunnel of
the cluster.  Answers are kept until a tunnel, a namespace or the defaults change.  No I/O, no clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from mtls_tunnel_operator.control.pods.census import Expected
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.model.parts import clashes, parts_of
from mtls_tunnel_operator.model.pods import Pod, Space
from mtls_tunnel_operator.model.resources import Key, Tunnel
from mtls_tunnel_operator.model.revision import revision, sidecar
from mtls_tunnel_operator.model.selectors import Selector
from mtls_tunnel_operator.settings import Defaults

_Label = tuple[str, str]
_ANY: _Label = ("", "")  # no pod has this label: here stand tunnels that cannot be found by one
_NOTHING = Expected((), "")


class Reach:
    """Which tunnels may concern a pod, by its labels: a superset that `parts_of` then judges."""

    def __init__(self, tunnels: Iterable[Tunnel]) -> None:
        # "" stands for every namespace: a client's selector may lead anywhere.
        self._found: dict[str, dict[_Label, dict[Key, Tunnel]]] = defaultdict(lambda: defaultdict(dict))
        for tunnel in tunnels:
            for namespace, selector in _selectors(tunnel):
                for label in _labels_asked(selector):
                    self._found[namespace][label][tunnel.key] = tunnel

    def of(self, namespace: str, labels: Mapping[str, str]) -> list[Tunnel]:
        """The tunnels that may concern a pod of *namespace* with *labels*."""
        found: dict[Key, Tunnel] = {}
        for where in (namespace, ""):
            table = self._found.get(where)
            if table:
                for label in (_ANY, *labels.items()):
                    found |= table.get(label, {})
        return list(found.values())


class Expectations:
    """`of(pod)` for the view as it is now."""

    def __init__(self, view: View, defaults: Callable[[], Defaults]) -> None:
        self._view = view
        self._defaults = defaults
        self._stamp: tuple[dict[Key, Tunnel], dict[str, Space], Defaults] | None = None
        self._reach = Reach(())
        self._known: dict[tuple[object, ...], Expected] = {}

    def refresh(self) -> None:
        """Forget answers that a change has made wrong; to be called before each look at a tunnel."""
        stamp = (dict(self._view.tunnels), dict(self._view.spaces), self._defaults())
        changed = stamp != self._stamp  # the same objects are compared by identity: cheap
        self._stamp = stamp  # also an equal one: a status that was written has made new objects
        if changed:
            self._reach = Reach(stamp[0].values())
            self._known.clear()

    def of(self, pod: Pod) -> Expected:
        """What *pod* should carry."""
        shape = (pod.namespace, frozenset(pod.labels.items()), pod.account, pod.ports)
        if (known := self._known.get(shape)) is None:
            known = self._known[shape] = self._of(pod)
        return known

    def _of(self, pod: Pod) -> Expected:
        space = self._view.spaces.get(pod.namespace)
        if space is None:
            return _NOTHING
        parts = parts_of(space, pod.labels, pod.account, self._reach.of(pod.namespace, pod.labels))
        if not parts:
            return _NOTHING
        defaults = self._defaults()
        made = sidecar(parts, defaults)
        return Expected(parts, revision(parts, pod.account, defaults), clashes(parts, pod.ports), made.ignored)


def _selectors(tunnel: Tunnel) -> Iterator[tuple[str, Selector]]:
    """Where each selector of *tunnel* is asked."""
    home = tunnel.key.namespace
    if tunnel.workload is not None:
        yield home, tunnel.workload.selector
    for client in tunnel.clients:
        if client.namespaces.source == "Same":
            yield home, client.selector
        elif client.namespaces.source == "Names":
            for name in client.namespaces.names:
                yield name, client.selector
        else:
            yield "", client.selector


def _labels_asked(selector: Selector) -> tuple[_Label, ...]:
    """Labels of which every pod that matches has one: those of the `In` with the fewest values."""
    choices = [one for one in selector.requirements if one.operator == "In"]
    if not choices:
        return (_ANY,)
    best = min(choices, key=lambda one: len(one.values))
    return tuple((best.key, value) for value in best.values)
