"""The API server's audit log as figures: who asked what, when it arrived and when it was answered.

Its clock is one clock for all, and reading it costs neither the server nor the operator anything.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Request:
    """One that was answered.  Times are epoch seconds."""

    user: str
    verb: str
    resource: str  # with its subresource: "pods/status"
    namespace: str
    name: str
    code: int
    arrived: float
    answered: float

    @property
    def is_write(self) -> bool:
        return self.verb not in READS


class Audit:
    """A log that grows; `mark` is a place in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        return self._path.stat().st_size

    def since(self, mark: int, *words: str) -> list[Request]:
        """The requests after *mark* whose line holds one of *words* (all, without any)."""
        return list(self._read(mark, [word.encode() for word in words]))

    def _read(self, mark: int, words: list[bytes]) -> Iterator[Request]:
        with open(self._path, "rb") as log:
            log.seek(mark)
            for line in log:
                if b'"ResponseComplete"' in line and (not words or any(word in line for word in words)):
                    yield _request(json.loads(line))


def writes(requests: list[Request], user: str) -> list[Request]:
    """What *user* wrote, but for its Lease."""
    return [one for one in requests if one.user == user and one.is_write and one.resource != "leases"]


def refused(requests: list[Request], user: str) -> list[Request]:
    """What *user* was not allowed."""
    return [one for one in requests if one.user == user and one.code == 403]


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef", {})
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(filter(None, (about.get("resource", ""), about.get("subresource", "")))),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=int(event.get("responseStatus", {}).get("code", 0)),
        arrived=_seconds(event["requestReceivedTimestamp"]),
        answered=_seconds(event["stageTimestamp"]),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
