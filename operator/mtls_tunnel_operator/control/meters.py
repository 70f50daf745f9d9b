"""The operator's numbers, in a registry of their own; names follow controller-runtime's where it has one.

Labels are bounded by the objects that exist: whoever deletes one calls `forget_tunnel` or `forget_domain`.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mtls_tunnel_operator import __version__
from mtls_tunnel_operator.control.series import Series

PREFIX = "mtls_tunnel_operator"
PHASES = ("Stable", "Distributing", "Issuing", "Retiring")
POD_STATES = ("selected", "injected", "updated")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Every number that the operator tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_work()
        self._measure_tunnels()
        self._measure_domains()
        self._leader = self._gauge("leader", "1 while this process is the active one.")
        self._resync = self._gauge("last_resync_seconds", "When everything was last compared.")
        build = Gauge(f"{PREFIX}_build_info", "1, with the version.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _count_work(self) -> None:
        self._reconciles = self._counter("reconcile_total", "Reconciliations by result.", "kind", "result")
        self._errors = self._counter("reconcile_errors_total", "Failed ones.", "kind")
        name, text = f"{PREFIX}_reconcile_time_seconds", "How long one takes."
        self._seconds = Histogram(name, text, ["kind"], buckets=_SECONDS, registry=self.registry)
        self._depth = self._gauge("workqueue_depth", "Keys ready or being worked on.")
        self._waiting = self._gauge("workqueue_waiting", "Keys with a time in the future.")
        self._requests = self._counter("api_requests_total", "Requests to the API server.", "verb", "resource", "code")
        self._corrections = self._counter("resync_corrections_total", "Objects of which no event had told.", "resource")

    def _measure_tunnels(self) -> None:
        tunnel = ("namespace", "name")
        self._not_after = self._series(
            "certificate_not_after_seconds", "When a leaf ends (epoch).", *tunnel, "role", "account"
        )
        text = "Failed renewals in a row, worst of a tunnel."
        self._failures = self._series("certificate_renewal_failures", text, *tunnel)
        self._pods = self._series("pods", "Pods of a tunnel by state.", *tunnel, "state")
        self._ready = self._series("tunnel_ready", "1 Ready, 0 not, -1 unknown.", *tunnel)

    def _measure_domains(self) -> None:
        self._phase = self._series("rotation_phase", "1 for the phase it is in.", "domain", "phase")
        text = "When the phase began (epoch)."
        self._phase_since = self._series("rotation_phase_since_seconds", text, "domain")
        self._ca_not_after = self._series("ca_not_after_seconds", "When the signing CA ends (epoch).", "domain")
        self._webhook = self._gauge("webhook_certificate_not_after_seconds", "When the injector's certificate ends.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, registry=self.registry)

    def _series(self, name: str, text: str, *labels: str) -> Series:
        return Series(f"{PREFIX}_{name}", text, labels, self.registry)

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
        self._not_after.set(not_after, namespace, name, role, account)

    def renewal_failures(self, namespace: str, name: str, failures: int) -> None:
        self._failures.set(failures, namespace, name)

    def pods(self, namespace: str, name: str, selected: int, injected: int, updated: int) -> None:
        for state, number in zip(POD_STATES, (selected, injected, updated), strict=True):
            self._pods.set(number, namespace, name, state)

    def ready(self, namespace: str, name: str, status: str) -> None:
        """The status of the condition Ready."""
        self._ready.set({"True": 1, "False": 0}.get(status, -1), namespace, name)

    def forget_tunnel(self, namespace: str, name: str) -> None:
        """Its series end with it."""
        for family in (self._not_after, self._failures, self._pods, self._ready):
            family.remove(namespace, name)

    def forget_certificate(self, namespace: str, name: str, role: str, account: str) -> None:
        """Of a role or account that the tunnel has no more."""
        self._not_after.remove(namespace, name, role, account)

    # Trust domains and the webhook.

    def rotation(self, domain: str, phase: str, since: float) -> None:
        for each in PHASES:
            self._phase.set(int(each == phase), domain, each)
        self._phase_since.set(since, domain)

    def authority(self, domain: str, not_after: float) -> None:
        self._ca_not_after.set(not_after, domain)

    def forget_domain(self, domain: str) -> None:
        for family in (self._phase, self._phase_since, self._ca_not_after):
            family.remove(domain)

    def webhook_certificate(self, not_after: float) -> None:
        self._webhook.set(not_after)
