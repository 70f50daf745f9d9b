"""What happened, in plain numbers: counted by the tunnels, read when somebody scrapes.

Counting happens on the event loop only, so a counter is an integer and costs an addition; no locks, no
label look-ups.  Bytes and connections still open are asked of the tunnels at scrape time, so that they
are exact, and never step back when a connection ends or a tunnel goes away.  A peer's name is never a
label, and a reason word that is not known counts as the general one, so the number of series is bounded.

Turning these numbers into Prometheus text is the work of `exposition`, which is loaded when first needed:
a sidecar without metrics does not pay for the library.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mtls_tunnel.observe.health import CertificateState

if TYPE_CHECKING:
    from mtls_tunnel.observe.exposition import Exposition
    from mtls_tunnel.observe.router_meters import RouterMeters

ACL_RESULTS = ("allow", "deny", "audit_deny")
RELOAD_RESULTS = ("ok", "failed")
HANDSHAKE_REASONS = (
    "no_certificate", "unknown_ca", "expired", "not_yet_valid", "revoked", "crl_unavailable", "wrong_purpose",
    "bad_certificate", "name_mismatch", "protocol_version", "no_shared_cipher", "bad_sni", "not_tls", "timeout",
    "closed", "other",
)  # fmt: skip
CLOSE_REASONS = (
    "eof", "truncated", "reset", "idle", "half_close", "lifetime", "reauthorized", "expired", "dial_failed",
    "error", "drain",
)  # fmt: skip

# Go's default buckets, as mtlsd has them; above ten seconds a long connection is a long connection.
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A handshake costs about a millisecond of CPU and a round trip or two.
HANDSHAKE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Live = Callable[[], tuple[int, int, int]]
"""Asked at scrape time: connections open now, their bytes client to target, and target to client."""

AclResult = Literal["allow", "deny", "audit_deny"]


class Tally:
    """A histogram: how many observations up to each bound (seconds), their number and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class TunnelMeters:
    """The counts of one tunnel, since this process started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = 0
        self.dial_errors = 0
        self.handshake_failures = dict.fromkeys(HANDSHAKE_REASONS, 0)
        self.decisions = dict.fromkeys(ACL_RESULTS, 0)
        self.closings = dict.fromkeys(CLOSE_REASONS, 0)
        self.durations = Tally(DURATION_BUCKETS)
        self.handshakes = Tally(HANDSHAKE_BUCKETS)
        self._bytes_closed = (0, 0)
        self._bytes_shown = (0, 0)
        self._live: list[Live] = []
        self.router: RouterMeters | None = None

    def routed(self) -> "RouterMeters":
        """The further counts of a tunnel in mode router."""
        if self.router is None:
            from mtls_tunnel.observe.router_meters import RouterMeters

            self.router = RouterMeters()
        return self.router

    def accepted(self) -> None:
        """A connection was accepted; its handshake has not begun."""
        self.connections += 1

    def handshake(self, seconds: float) -> None:
        """A handshake succeeded."""
        self.handshakes.observe(seconds)

    def handshake_failed(self, reason: str) -> None:
        """A handshake failed; a *reason* not in HANDSHAKE_REASONS counts as ``other``."""
        self.handshake_failures[reason if reason in self.handshake_failures else "other"] += 1

    def decided(self, result: AclResult) -> None:
        """The access rules were asked, be there any or not."""
        self.decisions[result] += 1

    def dial_failed(self) -> None:
        """The upstream could not be reached."""
        self.dial_errors += 1

    def closed(self, reason: str, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """A session ended after *seconds*; *bytes_in* came from the accepting side, *bytes_out* went to it.

        A *reason* not in CLOSE_REASONS counts as ``error``.
        """
        self.closings[reason if reason in self.closings else "error"] += 1
        self.durations.observe(seconds)
        into, out = self._bytes_closed
        self._bytes_closed = into + bytes_in, out + bytes_out

    def watch_live(self, live: Live) -> Callable[[], None]:
        """Ask *live* at each scrape from now on; the returned function ends that (all its sessions closed)."""
        self._live.append(live)
        return lambda: self._live.remove(live)

    def now(self) -> tuple[int, int, int]:
        """Connections open, and bytes client to target and target to client since the start.

        Bytes never decrease, not even between a session's last byte and its `closed`.
        """
        alive = [live() for live in self._live]
        into, out = self._bytes_closed
        self._bytes_shown = (
            max(self._bytes_shown[0], into + sum(bytes_in for _, bytes_in, _ in alive)),
            max(self._bytes_shown[1], out + sum(bytes_out for _, _, bytes_out in alive)),
        )
        return sum(active for active, _, _ in alive), *self._bytes_shown


class NullTunnelMeters(TunnelMeters):
    """Takes every count and keeps none."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)

    def accepted(self) -> None: ...
    def handshake(self, seconds: float) -> None: ...
    def handshake_failed(self, reason: str) -> None: ...
    def decided(self, result: AclResult) -> None: ...
    def dial_failed(self) -> None: ...
    def closed(self, reason: str, seconds: float, bytes_in: int, bytes_out: int) -> None: ...
    def watch_live(self, live: Live) -> Callable[[], None]:
        return lambda: None


@dataclass(slots=True)
class Facts:
    """What is true now, as opposed to what was counted."""

    certificates: tuple[CertificateState, ...] = ()
    bundles: tuple[str, ...] = ()
    crl_next_update: float | None = None
    build: dict[str, str] = field(default_factory=dict)


class Meters:
    """All counts of the process.  With *labelled* each tunnel's series carry its name, else all count as one."""

    def __init__(self, prefix: str = "mtlsd", *, labelled: bool = False, build: dict[str, str] | None = None) -> None:
        self.prefix = prefix
        self.labelled = labelled
        self.reloads = dict.fromkeys(RELOAD_RESULTS, 0)
        self.facts = Facts(build=build or {})
        self._tunnels: dict[str, TunnelMeters] = {}
        self._exposition: Exposition | None = None

    @property
    def tunnels(self) -> Iterable[TunnelMeters]:
        return self._tunnels.values()

    def tunnel(self, name: str) -> TunnelMeters:
        """The counts of the tunnel *name*: the same ones again after a reload, so that nothing steps back."""
        key = name if self.labelled else ""
        if key not in self._tunnels:
            self._tunnels[key] = TunnelMeters(key)
        return self._tunnels[key]

    def reloaded(self, result: Literal["ok", "failed"]) -> None:
        self.reloads[result] += 1

    def certificates(self, certificates: Iterable[CertificateState]) -> None:
        """The certificates in use, leaves and CAs, in place of those said before."""
        self.facts.certificates = tuple(certificates)

    def bundle(self, *sha256: str) -> None:
        """The digests of the trust bundles in use, in place of those said before."""
        self.facts.bundles = tuple(dict.fromkeys(sha256))

    def crl_next_update(self, seconds: float | None) -> None:
        """When the first of the CRLs in use runs out (epoch seconds); None without CRLs."""
        self.facts.crl_next_update = seconds

    def warm(self) -> "Exposition":
        """Load what `render` needs, so that the first scrape does not hold up the connections."""
        if self._exposition is None:
            # Imported late: prometheus-client costs 5 MB that a process without metrics can spare.
            from mtls_tunnel.observe.exposition import Exposition

            self._exposition = Exposition(self)
        return self._exposition

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, body): OpenMetrics if the Accept header prefers it, else Prometheus text."""
        return self.warm().render(accept)
