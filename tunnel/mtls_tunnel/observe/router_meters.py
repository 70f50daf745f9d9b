"""What a router counts beside its tunnel: refusals by reason, lookups, how often the cache answered.

Who was refused and where to is in the log; as labels they would be as many series as there are users.
"""

from typing import Literal

from mtls_tunnel.observe.metrics import Tally

# Identity: the server name and the certificate.  Authorization: the rows.
AUTHENTICATION_REASONS = ("no_sni", "bad_sni", "no_spiffe_id", "bad_spiffe_id", "wrong_issuer")
AUTHORIZATION_REASONS = ("unknown_user", "wrong_org", "unknown_host", "not_allowed", "store_unavailable")
CACHE_RESULTS = ("hit", "miss", "stale")
STORE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RouterMeters:
    """The counts of one router, since this process started."""

    def __init__(self) -> None:
        self.authentication_failures: dict[str, int] = dict.fromkeys(AUTHENTICATION_REASONS, 0)
        self.authorization_failures: dict[str, int] = dict.fromkeys(AUTHORIZATION_REASONS, 0)
        self.lookups = Tally(STORE_BUCKETS)
        self.cache: dict[str, int] = dict.fromkeys(CACHE_RESULTS, 0)
        self.store_up = 0

    def refused(self, reason: str) -> None:
        """A connection was led nowhere, for one of the reasons above."""
        kind = self.authentication_failures if reason in self.authentication_failures else self.authorization_failures
        kind[reason] += 1

    def looked_up(self, seconds: float) -> None:
        """The store answered, or failed to, after *seconds*."""
        self.lookups.observe(seconds)

    def cached(self, result: Literal["hit", "miss", "stale"]) -> None:
        """What the cache knew of a question."""
        self.cache[result] += 1
