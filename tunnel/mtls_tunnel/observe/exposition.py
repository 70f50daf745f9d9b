"""The numbers of `metrics` become Prometheus text or OpenMetrics, in a registry of their own.

Integers print as mtlsd (Go) prints them, ``1`` and not ``1.0``; there are no ``_created`` series; every
label combination that can occur is there from the start, at 0.

Sources: Prometheus text format 0.0.4; OpenMetrics 1.0.0.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from mtls_tunnel.observe.metrics import Meters, Tally, TunnelMeters
    from mtls_tunnel.observe.router_meters import RouterMeters

_SAMPLE = re.compile(rb"^([^#\n].* )(-?[0-9][0-9.e+-]*)$", re.MULTILINE)
_BOUND = re.compile(rb'(?<=le=")([0-9]+)\.0(?=")')
_EXACT = 2**53
_ROUTER_COUNTERS: "tuple[tuple[str, str, str, Callable[[RouterMeters], dict[str, int]]], ...]" = (
    (
        "router_authentication_failures",
        "Refused for who or what was asked.",
        "reason",
        lambda r: r.authentication_failures,
    ),
    (
        "router_authorization_failures",
        "Refused by the rows of the store.",
        "reason",
        lambda r: r.authorization_failures,
    ),
    ("router_cache", "Questions, by what the cache knew.", "result", lambda r: r.cache),
)


class Exposition(Collector):
    """Reads the *meters* at each `render`."""

    def __init__(self, meters: "Meters") -> None:
        self._meters = meters
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """(content type, body) in the format that *accept* prefers."""
        if prefers_openmetrics(accept):
            # OpenMetrics wants bounds as floats ("1.0"); only the text format has Go's form of them.
            body: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]
            return CONTENT_TYPE_OPENMETRICS, _plain_integers(body)
        body = _plain_integers(generate_latest(self._registry))
        return CONTENT_TYPE_PLAIN_0_0_4, _BOUND.sub(rb"\1", body)

    def collect(self) -> Iterator[Metric]:
        yield from self._connections()
        yield from self._routers()
        yield from self._state()

    def _connections(self) -> Iterator[Metric]:
        tunnels = list(self._meters.tunnels)
        live = {tunnel.name: tunnel.now() for tunnel in tunnels}
        active = self._gauge("active_connections", "Connections open now.", self._labels())
        accepted = self._counter("connections", "Connections accepted, before their handshake.", self._labels())
        proxied = self._counter("bytes_proxied", "Payload bytes passed on.", self._labels("direction"))
        dials = self._counter("dial_errors", "Failed attempts to reach the target.", self._labels())
        for tunnel in tunnels:
            labels = self._values(tunnel)
            now, into, out = live[tunnel.name]
            active.add_metric(labels, now)
            accepted.add_metric(labels, tunnel.connections)
            proxied.add_metric([*labels, "client_to_target"], into)
            proxied.add_metric([*labels, "target_to_client"], out)
            dials.add_metric(labels, tunnel.dial_errors)
        yield from (active, accepted, proxied)
        yield self._histogram("connection_duration_seconds", "How long connections lasted.", lambda t: t.durations)
        yield self._by("acl_decisions", "Decisions of the access rules.", "result", lambda t: t.decisions)
        yield self._histogram("tls_handshake_duration_seconds", "How long handshakes took.", lambda t: t.handshakes)
        yield dials
        yield self._by("handshake_failures", "Failed handshakes.", "reason", lambda t: t.handshake_failures)
        yield self._by("sessions_closed", "Sessions ended.", "reason", lambda t: t.closings)

    def _routers(self) -> Iterator[Metric]:
        routers = [(self._values(tunnel), tunnel.router) for tunnel in self._meters.tunnels if tunnel.router]
        if not routers:
            return
        for name, text, label, counts in _ROUTER_COUNTERS:
            counter = self._counter(name, text, self._labels(label))
            for values, router in routers:
                for word, count in counts(router).items():
                    counter.add_metric([*values, word], count)
            yield counter
        seconds = HistogramMetricFamily(
            f"{self._meters.prefix}_router_store_seconds", "How long lookups took.", labels=self._labels()
        )
        up = self._gauge("router_store_up", "Whether the store answers.", self._labels())
        for values, router in routers:
            seconds.add_metric(values, _cumulative(router.lookups), router.lookups.total)
            up.add_metric(values, router.store_up)
        yield from (seconds, up)

    def _state(self) -> Iterator[Metric]:
        facts = self._meters.facts
        reloads = self._counter("reloads", "Reloads of certificates and configuration.", ["result"])
        for result, count in self._meters.reloads.items():
            reloads.add_metric([result], count)
        yield reloads
        yield from self._validity()
        bundles = self._gauge("trust_bundle_info", "The trust bundles in use.", ["sha256"])
        for sha256 in facts.bundles:
            bundles.add_metric([sha256], 1)
        yield bundles
        next_update = self._gauge("crl_next_update_seconds", "When the first CRL runs out, epoch seconds.", [])
        if facts.crl_next_update is not None:
            next_update.add_metric([], facts.crl_next_update)
        yield next_update
        build = self._gauge("build_info", "Versions in use.", list(facts.build))
        build.add_metric(list(facts.build.values()), 1)
        yield build

    def _validity(self) -> Iterator[Metric]:
        labels = self._labels("role", "name")
        ends = self._gauge("certificate_not_after_seconds", "When a certificate runs out, epoch seconds.", labels)
        starts = self._gauge("certificate_not_before_seconds", "When a certificate begins, epoch seconds.", labels)
        seen: set[tuple[str, ...]] = set()
        # Equal names are one series, a second sample of it would be refused: the one that ends first counts.
        for state in sorted(self._meters.facts.certificates, key=lambda state: state.not_after):
            values = (*([state.tunnel] if self._meters.labelled else []), state.role, state.name)
            if values not in seen:
                seen.add(values)
                ends.add_metric(values, state.not_after)
                starts.add_metric(values, state.not_before)
        yield from (ends, starts)

    def _by(
        self, name: str, text: str, label: str, counts: "Callable[[TunnelMeters], dict[str, int]]"
    ) -> CounterMetricFamily:
        family = self._counter(name, text, self._labels(label))
        for tunnel in self._meters.tunnels:
            for word, count in counts(tunnel).items():
                family.add_metric([*self._values(tunnel), word], count)
        return family

    def _histogram(self, name: str, text: str, tally: "Callable[[TunnelMeters], Tally]") -> HistogramMetricFamily:
        family = HistogramMetricFamily(f"{self._meters.prefix}_{name}", text, labels=self._labels())
        for tunnel in self._meters.tunnels:
            counted = tally(tunnel)
            family.add_metric(self._values(tunnel), _cumulative(counted), counted.total)
        return family

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
        return CounterMetricFamily(f"{self._meters.prefix}_{name}", text, labels=labels)

    def _gauge(self, name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._meters.prefix}_{name}", text, labels=labels)

    def _labels(self, *names: str) -> list[str]:
        return ["tunnel", *names] if self._meters.labelled else [*names]

    def _values(self, tunnel: "TunnelMeters") -> list[str]:
        return [tunnel.name] if self._meters.labelled else []


def prefers_openmetrics(accept: str) -> bool:
    """Whether *accept* ranks OpenMetrics above plain text (RFC 9110 section 12.5.1); text wins a tie."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    return weights["application/openmetrics-text"] > weights["text/plain"]


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _cumulative(tally: "Tally") -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    count = 0
    for bound, here in zip([*map(repr, tally.bounds), "+Inf"], tally.counts, strict=True):
        count += here
        buckets.append((bound, count))
    return buckets


def _plain_integers(body: bytes) -> bytes:
    return _SAMPLE.sub(lambda match: match[1] + _integer(match[2]), body)


def _integer(number: bytes) -> bytes:
    value = float(number)
    return b"%d" % value if value.is_integer() and abs(value) < _EXACT else number
