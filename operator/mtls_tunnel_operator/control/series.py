"""A gauge with many label values that takes little memory: prometheus_client keeps 1 KB for each.

Values stand in a dict; samples are made when the metrics are read.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Series(Collector):
    """One family; values are set and removed by their label values, in the order of *labels*."""

    def __init__(self, name: str, text: str, labels: Iterable[str], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def set(self, value: float, *labels: str) -> None:
        """The value for these labels from now on."""
        self._values[labels] = value

    def remove(self, *first: str) -> None:
        """Forget all whose labels begin like this; with all labels given that is one, and cheap."""
        if len(first) == len(self._labels):
            self._values.pop(first, None)
            return
        for labels in [labels for labels in self._values if labels[: len(first)] == first]:
            del self._values[labels]

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family
