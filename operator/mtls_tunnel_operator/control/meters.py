"""The operator's numbers, in a registry of their own; names follow controller-runtime's where it has one.

Labels are bounded by the objects that exist: whoever deletes one calls `forget_tunnel` or `forget_domain`.
"""

import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mtls_tunnel_operator import __version__

PREFIX = "mtls_tunnel_operator"
PHASES = ("Stable", "Distributing", "Issuing", "Retiring")
POD_STATES = ("selected", "injected", "updated")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Every number that the operator tells."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        kinds = ["kind"]
        self._reconciles = Counter(
            f"{PREFIX}_reconcile_total", "Reconciliations by result.", ["kind", "result"], registry=registry
        )
        self._errors = Counter(f"{PREFIX}_reconcile_errors_total", "Failed ones.", kinds, registry=registry)
        self._seconds = Histogram(
            f"{PREFIX}_reconcile_time_seconds", "How long one takes.", kinds, buckets=_SECONDS, registry=registry
        )
        self._depth = Gauge(f"{PREFIX}_workqueue_depth", "Keys ready or being worked on.", registry=registry)
        self._waiting = Gauge(f"{PREFIX}_workqueue_waiting", "Keys with a time in the future.", registry=registry)
        self._requests = Counter(
            f"{PREFIX}_api_requests_total",
            "Requests to the API server.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self._not_after = Gauge(
            f"{PREFIX}_certificate_not_after_seconds",
            "When a leaf ends (epoch).",
            ["namespace", "name", "role", "account"],
            registry=registry,
        )
        self._failures = Gauge(
            f"{PREFIX}_certificate_renewal_failures",
            "Failed renewals in a row, worst of a tunnel.",
            ["namespace", "name"],
            registry=registry,
        )
        self._pods = Gauge(
            f"{PREFIX}_pods", "Pods of a tunnel by state.", ["namespace", "name", "state"], registry=registry
        )
        self._ready = Gauge(
            f"{PREFIX}_tunnel_ready", "1 Ready, 0 not, -1 unknown.", ["namespace", "name"], registry=registry
        )
        self._phase = Gauge(
            f"{PREFIX}_rotation_phase", "1 for the phase it is in.", ["domain", "phase"], registry=registry
        )
        self._phase_since = Gauge(
            f"{PREFIX}_rotation_phase_since_seconds", "When the phase began (epoch).", ["domain"], registry=registry
        )
        self._ca_not_after = Gauge(
            f"{PREFIX}_ca_not_after_seconds", "When the signing CA ends (epoch).", ["domain"], registry=registry
        )
        self._webhook = Gauge(
            f"{PREFIX}_webhook_certificate_not_after_seconds",
            "When the injector's certificate ends.",
            registry=registry,
        )
        self._resync = Gauge(f"{PREFIX}_last_resync_seconds", "When everything was last compared.", registry=registry)
        self._corrections = Counter(
            f"{PREFIX}_resync_corrections_total", "Objects of which no event had told.", ["resource"], registry=registry
        )
        self._leader = Gauge(f"{PREFIX}_leader", "1 while this process is the active one.", registry=registry)
        build = Gauge(f"{PREFIX}_build_info", "1, with the version.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    # The queue, the API, the process.

    def worked(self, key: object, result: str, seconds: float) -> None:
        """One piece of work of the queue."""
        kind = str(getattr(key, "kind", "other"))
        self._reconciles.labels(kind, result).inc()
        self._seconds.labels(kind).observe(seconds)
        if result == "error":
            self._errors.labels(kind).inc()

    def watch_queue(self, depth: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Ask for these when the metrics are read."""
        self._depth.set_function(depth)
        self._waiting.set_function(waiting)

    def answered(self, verb: str, plural: str, status: int) -> None:
        """An answer of the API server; status 0: none."""
        self._requests.labels(verb, plural or "none", str(status)).inc()

    def leads(self, leading: bool) -> None:
        self._leader.set(int(leading))

    def resynced(self, now: float) -> None:
        self._resync.set(now)

    def corrected(self, plural: str, number: int = 1) -> None:
        self._corrections.labels(plural).inc(number)

    # Tunnels.

    def certificate(self, namespace: str, name: str, role: str, account: str, not_after: float) -> None:
        """A leaf that is stored; role is "server" or the client's name."""
        self._not_after.labels(namespace, name, role, account).set(not_after)

    def renewal_failures(self, namespace: str, name: str, failures: int) -> None:
        self._failures.labels(namespace, name).set(failures)

    def pods(self, namespace: str, name: str, selected: int, injected: int, updated: int) -> None:
        for state, number in zip(POD_STATES, (selected, injected, updated), strict=True):
            self._pods.labels(namespace, name, state).set(number)

    def ready(self, namespace: str, name: str, status: str) -> None:
        """The status of the condition Ready."""
        self._ready.labels(namespace, name).set({"True": 1, "False": 0}.get(status, -1))

    def forget_tunnel(self, namespace: str, name: str) -> None:
        """Its series end with it."""
        for family in (self._not_after, self._failures, self._pods, self._ready):
            family.remove_by_labels({"namespace": namespace, "name": name})

    def forget_certificate(self, namespace: str, name: str, role: str, account: str) -> None:
        """Of a role or account that the tunnel has no more."""
        with contextlib.suppress(KeyError):
            self._not_after.remove(namespace, name, role, account)

    # Trust domains and the webhook.

    def rotation(self, domain: str, phase: str, since: float) -> None:
        for each in PHASES:
            self._phase.labels(domain, each).set(int(each == phase))
        self._phase_since.labels(domain).set(since)

    def authority(self, domain: str, not_after: float) -> None:
        self._ca_not_after.labels(domain).set(not_after)

    def forget_domain(self, domain: str) -> None:
        for family in (self._phase, self._phase_since, self._ca_not_after):
            family.remove_by_labels({"domain": domain})

    def webhook_certificate(self, not_after: float) -> None:
        self._webhook.set(not_after)
