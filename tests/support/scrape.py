"""Reading a running tunnel from outside: HTTP endpoints and Prometheus samples."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


def get(port: int, path: str, *, host: str = "127.0.0.1", seconds: float = 30.0, **headers: str) -> Answer:
    """Ask an admin listener for *path*."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read().decode())
    finally:
        connection.close()


class Samples:
    """One scrape.  A sample that is absent reads as 0, as Prometheus' own rate() would have it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of all samples of *name* that carry *labels*."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(sample.labels) for sample in self._samples if sample.name == name]


def samples(port: int) -> Samples:
    """Scrape `/metrics` of an admin listener."""
    return Samples(get(port, "/metrics").body)
