"""The figures by name: what each is called, its unit and digits, and the goal that it has, if any."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """`limit`: at most that much (`below`), or exactly that much."""

    key: str
    title: str
    unit: str = ""
    digits: int = 1
    limit: float | None = None
    sense: Literal["below", "exactly"] = "below"

    def told(self, value: float) -> str:
        return f"{value:,.{self.digits}f}{' ' if self.unit else ''}{self.unit}"

    @property
    def goal(self) -> str:
        if self.limit is None:
            return ""
        wanted = f"{self.limit:,g}{' ' if self.unit else ''}{self.unit}"
        return f"< {wanted}" if self.sense == "below" else wanted

    def met(self, value: float) -> bool | None:
        """None without a goal.  A bucket's end says that everything lies below it, so it may be the limit."""
        if self.limit is None:
            return None
        if self.sense == "exactly":
            return value == self.limit
        return value <= self.limit if "_below_" in self.key else value < self.limit


GROUPS: Mapping[str, tuple[Figure, ...]] = {
    "Admission: the injector called directly, over TLS, at a fixed rate": (
        Figure("admission_kept_own_p99_below_ms", "injector's own time, p99 (end of its bucket)", "ms", 1, 10),
        Figure("admission_kept_own_mean_ms", "injector's own time, mean", "ms", 2),
        Figure("admission_kept_cpu_ms", "injector's CPU for each pod", "ms", 2),
        Figure("admission_kept_p50_ms", "seen by the caller, p50, connections kept", "ms"),
        Figure("admission_kept_p99_ms", "seen by the caller, p99, connections kept", "ms"),
        Figure("admission_new_p50_ms", "seen by the caller, p50, a new connection for each", "ms"),
        Figure("admission_new_p99_ms", "seen by the caller, p99, a new connection for each", "ms"),
        Figure("admission_new_own_p99_below_ms", "injector's own time, p99, new connections (end of its bucket)", "ms"),
        Figure("admission_new_cpu_ms", "injector's CPU for each pod, handshake included", "ms", 2),
    ),
    "Pods created through the API server": (
        Figure("pods_injected", "pods that carry the current sidecar", "", 0),
        Figure("pods_per_second", "pods created in a second", "", 1),
        Figure("webhook_mean_ms", "the webhook as the API server sees it, mean", "ms"),
        Figure("webhook_p99_below_ms", "the webhook as the API server sees it, p99 (end of its bucket)", "ms", 0),
        Figure("pod_created_p50_ms", "whole creation of a pod, p50", "ms"),
        Figure("pod_created_p99_ms", "whole creation of a pod, p99", "ms"),
    ),
    "From an MtlsTunnel to its Secrets": (
        Figure("created_p50_ms", "one tunnel, p50", "ms", 0),
        Figure("created_p99_ms", "one tunnel, p99", "ms", 0, 1000),
        Figure("created_worst_ms", "one tunnel, worst", "ms", 0),
        Figure("fill_seconds", "all tunnels at once, until the last Secret", "s"),
        Figure("requests_per_new_tunnel", "requests to the API server for a new tunnel", "", 2),
    ),
    "A restart with everything there": (
        Figure("restart_seconds", "until each tunnel was looked at, in order", "s", 1, 30),
        Figure("restart_working_seconds", "of these, until it works", "s"),
        Figure("restart_cpu_seconds", "CPU for it", "s"),
        Figure("restart_writes", "writes, since nothing had changed", "", 0, 0, "exactly"),
        Figure("requests_per_look", "requests to the API server for each look at a tunnel", "", 2),
        Figure("repaired_seconds", "the same with objects deleted meanwhile", "s", 1, 30),
        Figure("repaired", "share of those that are back", "", 2, 1, "exactly"),
        Figure("killed_seconds", "the same after SIGKILL, whose Lease must run out first", "s", 1, 30),
        Figure("operator_rss_mb", "operator's memory after it", "MB", 1, 150),
        Figure("operator_peak_mb", "operator's memory at its highest", "MB"),
        Figure("injector_rss_mb", "injector's memory after all admissions", "MB", 1, 80),
        Figure("injector_peak_mb", "injector's memory at its highest", "MB"),
    ),
    "A steady state": (
        Figure("steady_seconds", "watched for", "s", 0),
        Figure("steady_writes", "writes, by the audit log, but for the Lease", "", 0, 0, "exactly"),
        Figure("steady_looks", "looks at tunnels", "", 0),
        Figure("steady_requests_per_minute", "requests in a minute, but for the Lease", "", 1),
        Figure("steady_operator_cpu_ms_per_second", "operator's CPU in a second", "ms", 1),
        Figure("steady_injector_cpu_ms_per_second", "injector's CPU in a second", "ms", 1),
        Figure("steady_operator_rss_mb", "operator's memory after it", "MB", 1, 150),
        Figure("steady_operator_peak_mb", "operator's memory at its highest", "MB"),
        Figure("steady_injector_rss_mb", "injector's memory after it", "MB", 1, 80),
    ),
    "A CA rotation under traffic": (
        Figure("rotation_failures", "failed handshakes", "", 0, 0, "exactly"),
        Figure("rotation_handshakes", "handshakes", "", 0),
        Figure("rotation_pairs", "pairs of versions that met", "", 0),
        Figure("rotation_leaves", "leaves issued anew", "", 0),
        Figure("rotation_writes_per_leaf", "writes for each Secret", "", 2),
        Figure("rotation_seconds", "all four phases", "s"),
        Figure("rotation_distributing_seconds", "Distributing", "s"),
        Figure("rotation_issuing_seconds", "Issuing", "s"),
        Figure("rotation_retiring_seconds", "Retiring", "s"),
    ),
    "Rights": (Figure("refused_requests", "requests that RBAC refused", "", 0, 0, "exactly"),),
}


def measured(found: Mapping[str, float]) -> Iterator[tuple[str, list[tuple[Figure, float]]]]:
    """The groups, with those figures that were measured."""
    for group, figures in GROUPS.items():
        if rows := [(figure, found[figure.key]) for figure in figures if figure.key in found]:
            yield group, rows


def missed(found: Mapping[str, float]) -> list[str]:
    """A sentence for each goal that was not met."""
    return [
        f"{figure.title}: {figure.told(value)}, wanted {figure.goal}"
        for _, rows in measured(found)
        for figure, value in rows
        if figure.met(value) is False
    ]
