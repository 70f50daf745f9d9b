"""The injector's numbers, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mtls_tunnel_operator import __version__

PREFIX = "mtls_tunnel_injector"
RESULTS = ("injected", "skipped", "not_selected", "denied", "ignored", "refused")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Meters:
    """Every label value is known beforehand: nothing that a pod says becomes a label."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.injections = Counter(
            f"{PREFIX}_injection_total", "Reviews by what became of the pod.", ["result"], registry=registry
        )
        self.skips = Counter(
            f"{PREFIX}_skipped_total",
            "Pods not injected, and why.",
            ["reason"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{PREFIX}_admission_seconds", "From the request's head to the answer.", buckets=_SECONDS, registry=registry
        )
        self.looks = Counter(
            f"{PREFIX}_live_looks_total", "Lists made because the cache knew no tunnel.", ["result"], registry=registry
        )
        self.objects = Gauge(f"{PREFIX}_cache_objects", "Objects in the cache.", ["kind"], registry=registry)
        self.age = Gauge(f"{PREFIX}_cache_age_seconds", "Since the API server was last heard.", registry=registry)
        self.not_after = Gauge(
            f"{PREFIX}_certificate_not_after_seconds", "When the serving certificate ends (epoch).", registry=registry
        )
        self.swaps = Counter(
            f"{PREFIX}_certificate_loads_total", "New serving certificates.", ["result"], registry=registry
        )
        self.cut = Counter(
            f"{PREFIX}_connections_cut_total", "Connections closed by us.", ["reason"], registry=registry
        )
        self.open = Gauge(f"{PREFIX}_connections", "Open connections.", registry=registry)
        Gauge(f"{PREFIX}_build_info", "1, with the version.", ["version"], registry=registry).labels(__version__).set(1)
        for result in RESULTS:
            self.injections.labels(result)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
