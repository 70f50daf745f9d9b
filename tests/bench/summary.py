"""Rounds of figures become medians, minima and ratios per round.  Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.cases import Case, Figure

TUNNEL = "tunnel"
Rounds = list[dict[str, float] | None]  # None: that round failed for that proxy


@dataclass(frozen=True, slots=True)
class Cell:
    """What several rounds of one figure come to."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Cell":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Summary:
    """All results of a run: case name -> proxy name -> rounds, in the order in which they were measured."""

    cases: tuple[Case, ...]
    results: dict[str, dict[str, Rounds]] = field(default_factory=dict)

    def values(self, case: str, proxy: str, figure: str) -> list[float]:
        return [one[figure] for one in self.results.get(case, {}).get(proxy, []) if one is not None]

    def cell(self, case: str, proxy: str, figure: str) -> Cell | None:
        values = self.values(case, proxy, figure)
        return Cell.of(values) if values else None

    def ratio(self, case: str, figure: str, peer: str) -> Cell | None:
        """The tunnel's figure over that of *peer*, round by round; rounds in which either failed do not count."""
        rounds = self.results.get(case, {})
        pairs = zip(rounds.get(TUNNEL, []), rounds.get(peer, []), strict=False)
        ratios = [own[figure] / other[figure] for own, other in pairs if own and other and other[figure] > 0]
        return Cell.of(ratios) if ratios else None

    def best_peer(self, case: str, figure: str) -> str | None:
        """The proxy other than the tunnel with the lowest median."""
        medians = {
            name: cell.median
            for name in self.results.get(case, {})
            if name != TUNNEL and (cell := self.cell(case, name, figure))
        }
        return min(medians, key=medians.__getitem__) if medians else None

    def measured(self) -> list[tuple[Case, Figure]]:
        """Every figure of which there is at least one value, in the order of the cases."""
        return [
            (case, figure)
            for case in self.cases
            for figure in case.figures
            if any(self.values(case.name, proxy, figure.key) for proxy in self.results.get(case.name, {}))
        ]
