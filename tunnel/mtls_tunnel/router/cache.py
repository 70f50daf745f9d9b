"""What lookups have found, kept for a while: bounded, expired by time, forgotten at once when a row has changed.

PURE: the clock (monotonic, seconds) is passed in.  An expired answer stays until it is too stale to serve even with
the store away.  A lookup that was under way while a row that may concern it was forgotten may have read that row
before the change, so it must not be kept: `begin` before it, and `keep` refuses what was spoiled since then.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mtls_tunnel.router.rows import Found

MOST_ENTRIES = 10_000
Table = Literal["backend_hosts", "teams", "users"]


class Question(NamedTuple):
    """What is looked up: a host, its `connect_id` in lower case, and a user."""

    connect_id: str
    user_id: str


class Change(NamedTuple):
    """A row that was written, by its primary key."""

    table: Table
    key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`fresh` is false for one that may only serve while the store is away."""

    found: Found
    fresh: bool


@dataclass(slots=True, eq=False)
class Lookup:
    """A question that the store is being asked; `spoiled` when a row has changed that the answer may depend on."""

    question: Question
    spoiled: bool = False


@dataclass(slots=True)
class _Entry:
    found: Found
    expires: float
    names: tuple[Change, ...]  # the rows that it depends on, whether they are there or not


class Cache:
    """Answers by question; the least recently kept leaves first."""

    def __init__(self, *, seconds: float, stale_seconds: float, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._under_way: set[Lookup] = set()
        self.keep_for(seconds, stale_seconds)
        self._entries: OrderedDict[Question, _Entry] = OrderedDict()
        self._by_row: defaultdict[Change, set[Question]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._entries)

    def keep_for(self, seconds: float, stale_seconds: float) -> None:
        """How long what is kept from now on serves, and how long beyond that with the store away."""
        self._seconds = seconds
        self._stale = stale_seconds

    def answer(self, question: Question, now: float) -> Answer | None:
        """What is known, if it may still serve."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if now < entry.expires:
            return Answer(entry.found, fresh=True)
        if now < entry.expires + self._stale:
            return Answer(entry.found, fresh=False)
        self._drop(question)
        return None

    def begin(self, question: Question) -> Lookup:
        """A lookup begins; `keep` or `give_up` ends it."""
        lookup = Lookup(question)
        self._under_way.add(lookup)
        return lookup

    def give_up(self, lookup: Lookup) -> None:
        """It has found nothing, or is of no use any more.  May be called again."""
        self._under_way.discard(lookup)

    def keep(self, lookup: Lookup, found: Found, now: float) -> bool:
        """Keep what *lookup* has *found*; False if it may be out of date already."""
        self.give_up(lookup)
        if lookup.spoiled:
            return False
        question = lookup.question
        self._drop(question)
        entry = _Entry(found, now + self._seconds, _depends_on(question, found))
        self._entries[question] = entry
        for row in entry.names:
            self._by_row[row].add(question)
        while len(self._entries) > self._most:
            self._drop(next(iter(self._entries)))
        return True

    def forget(self, change: Change) -> frozenset[Question]:
        """A row has changed: nothing that depends on it may serve again.  Returns what did."""
        self._spoil(lambda question: may_concern(change, question))
        hit = frozenset(self._by_row.get(_folded(change), ()))
        for question in hit:
            self._drop(question)
        return hit

    def expire(self, now: float) -> None:
        """Nothing is fresh any more; it may serve as something stale."""
        self._spoil(lambda question: True)
        for entry in self._entries.values():
            entry.expires = min(entry.expires, now)

    def may_serve(self, now: float) -> bool:
        """Whether anything is left that may serve, stale or not."""
        last = next(reversed(self._entries.values()), None)
        return last is not None and now < last.expires + self._stale

    def flush(self) -> None:
        """Anything may have changed."""
        self._spoil(lambda question: True)
        self._entries.clear()
        self._by_row.clear()

    def _spoil(self, concerned: Callable[[Question], bool]) -> None:
        for lookup in self._under_way:
            lookup.spoiled = lookup.spoiled or concerned(lookup.question)

    def _drop(self, question: Question) -> None:
        entry = self._entries.pop(question, None)
        for row in () if entry is None else entry.names:
            depending = self._by_row[row]
            depending.discard(question)
            if not depending:
                del self._by_row[row]


def _depends_on(question: Question, found: Found) -> tuple[Change, ...]:
    teams: Iterable[str] = {team for host in found.hosts for team in host.team_ids}
    return (
        Change("backend_hosts", question.connect_id),
        Change("users", question.user_id),
        *(Change("teams", team) for team in teams),
    )


def may_concern(change: Change, question: Question) -> bool:
    """Whether an answer to *question* may depend on a row; which teams a host names is known only from its row."""
    if change.table == "backend_hosts":
        return question.connect_id == change.key.lower()
    return change.table == "teams" or question.user_id == change.key


def _folded(change: Change) -> Change:
    """Hosts are asked for in lower case, whatever the row says."""
    return Change(change.table, change.key.lower()) if change.table == "backend_hosts" else change
