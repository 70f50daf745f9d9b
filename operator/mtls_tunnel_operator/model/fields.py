"""A raw mapping read key by key: each value is checked for its kind, and what is wrong is named by its place.

A key that is absent or null takes the default; the API server fills defaults in, but a file that is
rendered offline, or an object stored under older rules, may lack them.  Unknown keys are left alone: a
newer CRD may have them.  Everything wrong is one `SpecError` of the reason the reader was made with.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

from mtls_tunnel_operator.errors import SpecError

OWN_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")  # of an object of ours; it becomes part of other names
OWN_NAME_WORDS = "name of 1 to 50 letters, digits and dashes that begins with a letter"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
ANY = re.compile(r".*", re.DOTALL)

_Choice = TypeVar("_Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Field:
    """A mapping and where it stands (`spec.server`)."""

    raw: Mapping[str, Any]
    place: str = ""
    reason: str = "InvalidSpec"

    def at(self, key: str) -> str:
        """The place of *key*."""
        return f"{self.place}.{key}" if self.place else key

    def wrong(self, key: str, what: str) -> NoReturn:
        """Refuse the value of *key*; *what* ends with the remedy."""
        raise SpecError(self.reason, f"{self.at(key)}: {what}")

    def has(self, key: str) -> bool:
        """Whether *key* is given."""
        return self.raw.get(key) is not None

    def below(self, key: str) -> "Field":
        """The mapping at *key*; an absent one is empty."""
        value = self.raw.get(key)
        return Field(_mapping(self, key, {} if value is None else value), self.at(key), self.reason)

    def each(self, key: str) -> Iterator["Field"]:
        """The mappings of the list at *key*."""
        for index, item in enumerate(self._list(key)):
            at = f"{key}[{index}]"
            yield Field(_mapping(self, at, item), self.at(at), self.reason)

    def text(self, key: str, default: str | None = "", form: re.Pattern[str] = ANY, want: str = "") -> str:
        """A string that *form* matches whole; without a default it must be given."""
        value = self.raw.get(key)
        if value is None:
            if default is None:
                self.wrong(key, "is missing: add it")
            return default
        return self._text(key, value, form, want)

    def texts(self, key: str, form: re.Pattern[str] = ANY, want: str = "") -> tuple[str, ...]:
        """A list of strings, in its order, each once.

        An empty list is refused: whether it means all or nobody is nothing to guess.
        """
        if self.raw.get(key) in ([], ()):
            self.wrong(key, "is empty: name one at least, or leave it out")
        found = (self._text(f"{key}[{index}]", item, form, want) for index, item in enumerate(self._list(key)))
        return tuple(dict.fromkeys(found))

    def choice(self, key: str, options: Sequence[_Choice], default: _Choice | None = None) -> _Choice:
        """One of *options*; the first is the default unless another is given."""
        value = self.raw.get(key)
        if value is None:
            return options[0] if default is None else default
        if value not in options:
            self.wrong(key, f"{value!r} is unknown: use {' or '.join(option or repr(option) for option in options)}")
        return cast(_Choice, value)

    def flag(self, key: str) -> bool:
        """A bool, false when absent."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, f"want true or false, have {value!r}")
        return bool(value)

    def number(self, key: str, default: int | None, least: int, most: int = 2**31 - 1) -> int:
        """An integer from *least* to *most*; without a default it must be given."""
        value = self.raw.get(key)
        if value is None:
            if default is None:
                self.wrong(key, f"is missing: give a number from {least} to {most}")
            return default
        # A bool is an int to Python, and not to anybody who writes YAML.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(key, f"want an integer from {least} to {most}, have {value!r}")
        return value

    def number_if_given(self, key: str, least: int, most: int = 2**31 - 1) -> int | None:
        """As `number`, or None when absent."""
        return self.number(key, 0, least, most) if self.has(key) else None

    def _text(self, key: str, value: object, form: re.Pattern[str], want: str) -> str:
        if not isinstance(value, str):
            self.wrong(key, f"want a string, have {value!r}")
        if not form.fullmatch(value):
            self.wrong(key, f"{value[:80]!r} is no {want or 'possible value'}: correct it")
        return value

    def _list(self, key: str) -> Sequence[Any]:
        value = self.raw.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.wrong(key, f"want a list, have {value!r}")
        return value


def _mapping(field: Field, key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        field.wrong(key, f"want a mapping, have {value!r}")
    return value
