"""Reading one mapping key by key: each method asks for a key, says what belongs there, records what is wrong.

Asking is declaring: the keys that were asked for are the known ones, and `close` reports the rest with the nearest
known name.  A fault never stops the reading; the value that comes back then is a placeholder, and the load fails
in the end.  An empty value (``key:``) counts as not given, as in Go.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from mtls_tunnel.config import addresses, durations
from mtls_tunnel.config.findings import Findings, Spot, quoted, shown
from mtls_tunnel.config.schema import Address
from mtls_tunnel.config.yaml_source import Listing, Mapping, Node, Scalar, overlay

Word = TypeVar("Word", bound=str)
Check = Callable[[str], str]

SHORTEST_TIMER = 0.001  # seconds; a timer below that would only burn CPU
_TRUE = frozenset({"true", "yes", "on", "y"})  # Go's YAML reads these into a bool, so mtlsd did
_FALSE = frozenset({"false", "no", "off", "n"})
_COUNT = re.compile(r"0|[1-9][0-9]{0,17}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FOUND = {"number": "a number", "boolean": "a yes-or-no value", "date": "a date"}


def as_written(text: str) -> str:
    """The check that accepts every text."""
    return text


class Section:
    """One mapping while it is read; an absent one is an empty mapping that stands where it would stand."""

    def __init__(self, mapping: Mapping, findings: Findings) -> None:
        self._mapping, self._findings = mapping, findings
        self._asked: dict[str, None] = {}

    @property
    def spot(self) -> Spot:
        return self._mapping.spot

    @property
    def is_empty(self) -> bool:
        return not self._mapping.entries

    def over(self, base: "Section", keys: tuple[str, ...]) -> "Section":
        """This mapping laid over *keys* of *base*, which count as asked for there."""
        shared = {key: entry for key, entry in base._mapping.entries.items() if key in keys}
        base.ask(*keys)
        return Section(overlay(Mapping(base.spot, shared), self._mapping), self._findings)

    def spot_of(self, key: str) -> Spot:
        """Where *key* stands, or would stand; the mapping itself for ""."""
        found = self._mapping.entries.get(key)
        if found is None:
            return self.spot.key(key) if key else self.spot
        return found[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that stand here, in file order."""
        return tuple(self._mapping.entries)

    def node(self, key: str) -> Node | None:
        """What stands under *key*; None for nothing and for an empty value."""
        self._asked[key] = None
        found = self._mapping.entries.get(key)
        if found is None or (isinstance(found[1], Scalar) and found[1].kind == "null"):
            return None
        return found[1]

    def ask(self, *keys: str) -> None:
        """Make *keys* known without reading them."""
        self._asked.update(dict.fromkeys(keys))

    def is_blank(self, key: str) -> bool:
        """Whether nothing stands under *key*, or an empty list or mapping."""
        node = self.node(key)
        return node is None or (not isinstance(node, Scalar) and not node.entries)

    def has(self, key: str) -> bool:
        """Whether anything stands under *key*."""
        return self.node(key) is not None

    def error(self, key: str, text: str, remedy: str = "") -> None:
        self._findings.error(self.spot_of(key), text, remedy)

    def text(self, key: str, default: str = "", *, check: Check = as_written) -> str:
        node = self.node(key)
        return default if node is None else self._text(node, check)

    def required(self, key: str, remedy: str, *, check: Check = as_written) -> str:
        """A string that must be there; whether it may be empty is *check*'s business."""
        node = self.node(key)
        if node is None:
            self.error(key, "is missing", remedy)
            return ""
        return self._text(node, check)

    def secret(self, key: str, *, check: Check = as_written) -> str | None:
        """As `text`, but what stands there is never shown, be it right or wrong."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node, Scalar) or node.kind != "text":
            self._findings.error(node.spot, "must be a single string", "put it into quotes")
            return None
        try:
            return check(node.text)
        except ValueError as exc:
            self._findings.refusal(node.spot, exc)
            return None

    def texts(self, key: str, check: Check, *, or_one: bool = False) -> tuple[str, ...]:
        """A list of strings, each put through *check*; one string in place of a list only with *or_one*."""
        node = self.node(key)
        if node is None:
            return ()
        if isinstance(node, Listing):
            return tuple(self._text(entry, check) for entry in node.entries)
        if or_one:
            return (self._text(node, check),)
        remedy = f"write [{quoted(node.text)}]" if isinstance(node, Scalar) else ""
        self._findings.error(node.spot, "must be a list of strings", remedy)
        return ()

    def choice(self, key: str, words: tuple[Word, ...], default: Word) -> Word:
        """One of *words*, exactly as spelled there."""
        node = self.node(key)
        scalar = None if node is None else self._scalar(node, "a single word")
        if scalar is None:
            return default
        for word in words:
            if word == scalar.text:
                return word
        nearest = nearest_of(scalar.text, words)
        hint = f"did you mean {nearest}?" if nearest else ""
        self._findings.error(scalar.spot, f"must be {_listed(words)}, found {quoted(scalar.text)}", hint)
        return default

    def flag(self, key: str, default: bool) -> bool:
        node = self.node(key)
        scalar = None if node is None else self._scalar(node, "true or false")
        if scalar is None:
            return default
        word = scalar.text.lower()
        # In quotes it is a text; y and n are texts to YAML's resolver in any case.
        if word not in _TRUE | _FALSE or (scalar.kind == "text" and word not in {"y", "n"}):
            remedy = "remove the quotes" if word in _TRUE | _FALSE else ""
            self._findings.error(scalar.spot, f"must be true or false, found {quoted(scalar.text)}", remedy)
        return word in _TRUE

    def count(self, key: str, default: int, *, least: int, most: int) -> int:
        """A whole number in plain decimals: neither 010 nor 0x10 nor 1e3 is guessed at."""
        node = self.node(key)
        scalar = None if node is None else self._scalar(node, "a whole number")
        if scalar is None:
            return default
        plain = _COUNT.fullmatch(scalar.text) is not None
        if plain and scalar.kind == "number" and least <= int(scalar.text) <= most:
            return int(scalar.text)
        remedy = "" if plain else "write it in plain digits"
        if plain and scalar.kind == "text":
            remedy = "remove the quotes"
        text = f"must be a whole number from {least} to {most}, found {quoted(scalar.text)}"
        self._findings.error(scalar.spot, text, remedy)
        return default

    def seconds(
        self, key: str, default: float, *, zero: bool, least: float = SHORTEST_TIMER, blank: bool = False
    ) -> float:
        """A duration; 0 only where *zero* says that it has a meaning, "" only where *blank* means the default."""
        node = self.node(key)
        scalar = None if node is None else self._scalar(node, "a duration such as 10s")
        if scalar is None or (blank and not scalar.text):
            return default
        try:
            seconds = durations.parse(scalar.text)
        except ValueError as exc:
            self._findings.refusal(scalar.spot, ValueError(f"{quoted(scalar.text)} {exc}"))
            return default
        if seconds < least and not (zero and seconds == 0):
            text = f"must be at least {durations.text(least)}{', or 0' if zero else ''}"
            self._findings.error(scalar.spot, f"{text}, found {quoted(scalar.text)}", "write for example 10s")
        return seconds

    def address(self, key: str, default: Address | None, *, listening: bool, remedy: str = "") -> Address:
        """HOST:PORT; required when *default* is None."""
        node = self.node(key)
        if node is None:
            if default is None:
                self.error(key, "is missing", remedy)
            return default or Address("", 0)
        scalar = self._scalar(node, "an address such as 127.0.0.1:8443")
        if scalar is None:
            return default or Address("", 0)
        try:
            return addresses.parse(scalar.text, listening=listening)
        except ValueError as exc:
            self._findings.refusal(scalar.spot, ValueError(f"{quoted(scalar.text)} {exc}"))
            return default or Address("", 0)

    def section(self, key: str) -> "Section":
        node = self.node(key)
        if isinstance(node, Mapping):
            return Section(node, self._findings)
        if node is not None:
            self._findings.error(node.spot, "must be a mapping of keys", "put its settings below it, indented")
        return Section(Mapping(self.spot.key(key), {}), self._findings)

    def sections(self, key: str) -> Iterator["Section"]:
        """The mappings of a list of mappings; what is none is reported and left out."""
        node = self.node(key)
        if node is not None and not isinstance(node, Listing):
            self._findings.error(node.spot, "must be a list", 'begin each entry with "- "')
        for entry in node.entries if isinstance(node, Listing) else ():
            if isinstance(entry, Mapping):
                yield Section(entry, self._findings)
            else:
                self._findings.error(entry.spot, "must be a mapping of keys", "an entry looks like - key: value")

    def close(self, elsewhere: Callable[[str], str] = lambda key: "") -> None:
        """Report the keys that nobody asked for; *elsewhere* may name the section where one belongs."""
        known = tuple(self._asked)
        for key, (spot, _) in self._mapping.entries.items():
            if key not in self._asked:
                nearest = nearest_of(key, known) if self._findings.want_hints else ""
                self._findings.unknown(spot, elsewhere(key) or nearest)

    def _scalar(self, node: Node, wanted: str) -> Scalar | None:
        if isinstance(node, Scalar):
            return node
        found = "a list" if isinstance(node, Listing) else "a mapping"
        self._findings.error(node.spot, f"must be {wanted}, found {found}")
        return None

    def _text(self, node: Node, check: Check) -> str:
        scalar = self._scalar(node, "a single string")
        if scalar is None:
            return ""
        if scalar.kind == "null":
            self._findings.error(scalar.spot, "is empty", "write a string or remove it")
        elif scalar.kind != "text":
            text = f"must be a string, but YAML takes {shown(scalar.text)} for {_FOUND[scalar.kind]}"
            self._findings.error(scalar.spot, text, f"quote it: {quoted(scalar.text)}")
        elif fault := _UNPRINTABLE.search(scalar.text):
            self._findings.error(scalar.spot, f"contains the control character {quoted(fault.group())}", "remove it")
        else:
            return self._checked(scalar, check)
        return ""

    def _checked(self, scalar: Scalar, check: Check) -> str:
        try:
            return check(scalar.text)
        except ValueError as exc:
            subject = f"{quoted(scalar.text)} " if scalar.text else ""
            self._findings.refusal(scalar.spot, ValueError(f"{subject}{exc}"))
            return ""


def nearest_of(word: str, known: tuple[str, ...]) -> str:
    """The one of *known* that *word* was probably meant to be, or nothing."""
    from difflib import get_close_matches  # imported late: a configuration without a misspelt key never needs it

    folded = {name.lower().replace("-", "_"): name for name in known}
    close = get_close_matches(word.lower().replace("-", "_")[:100], folded, n=1)
    return folded[close[0]] if close else ""


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
