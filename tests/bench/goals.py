"""The goals of the tunnel, figure by figure, and whether a run met them.

A goal beside a peer is judged by the median of the per-round ratios, because a machine's speed drifts between
rounds and hardly within one; an absolute goal by the median itself.
"""

from dataclasses import dataclass

from bench.summary import TUNNEL, Summary

BEST = "best peer"


@dataclass(frozen=True, slots=True)
class Goal:
    """At most *limit* (at least, if `least`): times the figure of the peer *against*, or in the figure's own unit."""

    case: str
    figure: str
    limit: float
    against: str = ""
    least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what was measured.  `value` is in the goal's own terms."""

    goal: Goal
    peer: str
    value: float

    @property
    def met(self) -> bool:
        return self.value >= self.goal.limit if self.goal.least else self.value <= self.goal.limit


GOALS = (
    *(Goal(f"{way}{n}", "cpu_s_per_gb", 1.0, BEST) for n in (1, 16) for way in ("up", "down")),
    *(Goal(f"client-{way}{n}", "cpu_s_per_gb", 1.0, BEST) for n in (1, 16) for way in ("up", "down")),
    *(
        Goal(f"echo1{placement}", figure, 1.15, "haproxy")
        for placement in ("", "-together")
        for figure in ("cpu_us", "added_p50_us")
    ),
    *(Goal(f"full{placement}", "cpu_ms", 0.85, "nginx") for placement in ("", "-together")),
    *(Goal(f"resumed{placement}", "cpu_ms", 0.90, "nginx") for placement in ("", "-together")),
    *(Goal(f"client-resumed{placement}", "cpu_ms", 1.5, "haproxy") for placement in ("", "-together")),
    *(Goal(case, figure, 35) for case in ("idle1000", "idle10000") for figure in ("rss_kb", "moved_rss_kb")),
    *(Goal("client-idle1000", figure, 35) for figure in ("rss_kb", "moved_rss_kb")),
    Goal("idle10000", "held", 10_000, least=True),
    Goal("start", "rss_mb", 40),
    Goal("start", "ready_s", 0.5),
)


def judge(summary: Summary) -> list[Verdict]:
    """Return a verdict for each goal whose figures were measured."""
    found = (_verdict(goal, summary) for goal in GOALS)
    return [verdict for verdict in found if verdict is not None]


def _verdict(goal: Goal, summary: Summary) -> Verdict | None:
    own = summary.cell(goal.case, TUNNEL, goal.figure)
    if own is None:
        return None
    if not goal.against:
        return Verdict(goal, "", own.median)
    peer = summary.best_peer(goal.case, goal.figure) if goal.against == BEST else goal.against
    if peer is None:
        return None
    ratio = summary.ratio(goal.case, goal.figure, peer)
    return Verdict(goal, peer, ratio.median) if ratio else None
