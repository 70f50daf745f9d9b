"""Text of a YAML file -> a tree of nodes that know where they stand; nothing is interpreted here.

A scalar keeps the characters that were written: what they mean is decided by the key that they belong to, so
that none of YAML 1.1's guesses (``yes`` a boolean, ``22:22`` a number in base 60, ``010`` the number 8) ever
reaches a setting.  Refused: tags, duplicate keys, more than one document, anchors that contain themselves, and
anything beyond the limits below, which also bound what aliases can expand to.

Built on the parser's events (PyYAML), never on its constructors: no object is made from what a file asks for.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import yaml

from mtls_tunnel.config.findings import Findings, Spot, quoted, shown

MAX_CHARACTERS = 1 << 20
MAX_NODES = 100_000  # counted after aliases are expanded
MAX_DEPTH = 32

Kind = Literal["text", "number", "boolean", "null", "date"]

_resolve: Callable[..., str] = yaml.resolver.Resolver().resolve
_KINDS: dict[str, Kind] = {
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:timestamp": "date",
}
# The same grammar twice; libyaml is ten times as fast, and a reload stands in the way of traffic.
Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
LOADER: Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_UNQUOTED_IPV6 = re.compile(r":\s+(\[[0-9A-Fa-f:.%\w]*\]:\d+)\s*(#.*)?$")


@dataclass(frozen=True, slots=True)
class Scalar:
    spot: Spot
    text: str
    kind: Kind  # what YAML 1.1 would take it for; anything in quotes is text


@dataclass(frozen=True, slots=True)
class Listing:
    spot: Spot
    entries: tuple["Node", ...]
    size: int


@dataclass(frozen=True, slots=True)
class Mapping:
    spot: Spot
    entries: dict[str, tuple[Spot, "Node"]]  # the place of the key, then its value
    size: int = 1


Node = Scalar | Listing | Mapping
_Start = yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent


class _Unreadable(Exception):
    """The text cannot be read any further."""

    def __init__(self, spot: Spot, text: str, remedy: str) -> None:
        super().__init__(text)
        self.spot, self.text, self.remedy = spot, text, remedy


def compose(text: str, file: Spot, findings: Findings, *, loader: Loader = LOADER) -> Mapping | None:
    """The top-level mapping of *text*; None, with the reason in *findings*, if there is none."""
    try:
        root = _Composer(text, file, findings, loader).document()
    except _Unreadable as unreadable:
        findings.error(unreadable.spot, unreadable.text, unreadable.remedy)
        return None
    if isinstance(root, Mapping):
        return root
    what = "a list" if isinstance(root, Listing) else "a single value"
    findings.error(file, f"must be a mapping of keys, found {what}", "begin with a line such as mode: server")
    return None


def kind_of(text: str) -> Kind:
    """What YAML 1.1 takes an unquoted *text* for."""
    return _KINDS.get(_resolve(yaml.ScalarNode, text, (True, False)), "text")


class _Composer:
    """One pass over one file's events."""

    def __init__(self, text: str, file: Spot, findings: Findings, loader: Loader) -> None:
        self._loader = loader
        self._text, self._file, self._findings = text, file, findings
        self._anchors: dict[str, Node | None] = {}  # None: still being read
        self._nodes = 0
        self._events = self._parse()

    def document(self) -> Node:
        self._check_characters()
        next(self._events)  # stream start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise self._empty()
        root = self._node(next(self._events), "", 0)
        next(self._events)  # document end
        if not isinstance(after := next(self._events), yaml.StreamEndEvent):
            place = self._line(self._spot(after, "").line)
            raise _Unreadable(place, "a second document begins", "keep one; remove the line ---")
        if isinstance(root, Scalar) and root.kind == "null":
            raise self._empty()
        return root

    def _empty(self) -> _Unreadable:
        return _Unreadable(self._file, "is empty", "it needs at least mode, listen, target and tls")

    def _check_characters(self) -> None:
        """Refuse what is no text before a parser sees it (libyaml cannot even be given a lone surrogate)."""
        if len(self._text) > MAX_CHARACTERS:
            raise _Unreadable(self._file, f"is longer than {MAX_CHARACTERS} characters", "is it the right file?")
        if fault := re.search("[\ud800-\udfff]", self._text):
            raise _Unreadable(self._line_of(fault.start()), "is not UTF-8", "save the file as UTF-8 text")
        if fault := re.search("[^\\t\\n\\r\x20-\x7e\x85\xa0-\ufffd\U00010000-\U0010ffff]", self._text):
            text = f"contains the control character {quoted(fault.group())}"
            raise _Unreadable(self._line_of(fault.start()), text, "remove it; a configuration is plain text")

    def _line_of(self, index: int) -> Spot:
        return self._line(self._text.count("\n", 0, index) + 1)

    def _line(self, line: int) -> Spot:
        return Spot(self._file.order, self._file.file, line, 0, f"line {line}")

    def _parse(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self._text, Loader=self._loader)
        except yaml.MarkedYAMLError as exc:
            raise self._syntax(exc) from exc
        except (yaml.YAMLError, ValueError, OverflowError) as exc:
            # ValueError: the pure parser on an escape such as "\UFFFFFFFF".
            raise _Unreadable(self._file, "is not valid YAML", "check its escapes and characters") from exc

    def _syntax(self, exc: yaml.MarkedYAMLError) -> _Unreadable:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        lines = self._text.splitlines()
        written = lines[line - 1] if line <= len(lines) else ""
        remedy = "check indentation, colons, brackets and quotes there"
        if address := _UNQUOTED_IPV6.search(written):
            remedy = f'quote the address: "{address.group(1)}"'
        elif "\t" in written:
            remedy = "indent with spaces, not with tabs"
        what = " ".join(f"{exc.problem or exc.context or 'it cannot be parsed'}".split())
        return _Unreadable(self._line(line), f"is not valid YAML: {what}", remedy)

    def _spot(self, event: yaml.Event, path: str) -> Spot:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        return Spot(self._file.order, self._file.file, line, column, path)

    def _count(self, spot: Spot, size: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _Unreadable(spot, f"holds more than {MAX_NODES} values", "aliases count each time they are used")

    def _node(self, event: yaml.Event, path: str, depth: int) -> Node:
        spot = self._spot(event, path)
        if depth > MAX_DEPTH:
            raise _Unreadable(spot, f"is nested deeper than {MAX_DEPTH} levels", "no setting needs that")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, spot)
        self._count(spot, 1)
        if not isinstance(event, _Start):
            raise _Unreadable(spot, "is not valid YAML", "")
        if event.tag is not None:
            self._findings.error(spot, f"the YAML tag {quoted(event.tag)} is not supported", "remove it")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._fresh(event, spot, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _fresh(self, event: _Start, spot: Spot, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(spot, event.value, "text" if event.style else kind_of(event.value))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._listing(spot, depth)
        return self._mapping(spot, depth)

    def _alias(self, event: yaml.AliasEvent, spot: Spot) -> Node:
        name = str(event.anchor)
        if name not in self._anchors:
            raise _Unreadable(
                spot, f"the alias *{shown(name)} has no anchor before it", "define the anchor with & first"
            )
        node = self._anchors[name]
        if node is None:
            raise _Unreadable(spot, f"the alias *{shown(name)} contains itself", "write the value out")
        self._count(spot, size_of(node))
        return node

    def _listing(self, spot: Spot, depth: int) -> Listing:
        entries: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            entries.append(self._node(event, f"{spot.path}[{len(entries)}]", depth + 1))
        return Listing(spot, tuple(entries), 1 + sum(map(size_of, entries)))

    def _mapping(self, spot: Spot, depth: int) -> Mapping:
        entries: dict[str, tuple[Spot, Node]] = {}
        merged: list[Mapping] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name, merges = self._key(event, spot, depth)
            key = self._spot(event, f"{spot.path}.{shown(name)}" if spot.path else shown(name))
            node = self._node(next(self._events), key.path, depth + 1)
            if merges:
                merged += self._merged(node)
            elif name in entries:
                text = f"the key stands twice, in line {entries[name][0].line} and in line {key.line}"
                self._findings.error(key, text, "keep one of them")
            else:
                entries[name] = (key, node)
        for base in merged:
            entries = {**base.entries, **entries}
        return Mapping(spot, entries, 1 + sum(1 + size_of(node) for _, node in entries.values()))

    def _key(self, event: yaml.Event, spot: Spot, depth: int) -> tuple[str, bool]:
        """The name that a key's *event* spells, and whether it is YAML's merge key ``<<``."""
        node = self._node(event, spot.path, depth + 1)
        if not isinstance(node, Scalar) or not node.text:
            place = spot if spot.path else self._line(node.spot.line)
            raise _Unreadable(place, "a key must be a plain word", "write it as name: value")
        return node.text, node.text == "<<" and isinstance(event, yaml.ScalarEvent) and not event.style

    def _merged(self, node: Node) -> list[Mapping]:
        """What ``<<: *anchor`` or ``<<: [*first, *second]`` brings in; the first one named wins."""
        given = node.entries if isinstance(node, Listing) else (node,)
        for entry in given:
            if not isinstance(entry, Mapping):
                self._findings.error(entry.spot, "only a mapping can be merged with <<", "name an anchored mapping")
        return [entry for entry in given if isinstance(entry, Mapping)]


def size_of(node: Node) -> int:
    """How many values *node* holds, itself included."""
    return 1 if isinstance(node, Scalar) else node.size


def overlay(base: Mapping, over: Mapping) -> Mapping:
    """*over* laid upon *base*: mappings merge deeply, lists and scalars replace, empty values change nothing."""
    entries = dict(base.entries)
    for key, (spot, node) in over.entries.items():
        beneath = entries.get(key)
        if beneath is not None and isinstance(node, Scalar) and node.kind == "null":
            continue
        if beneath is not None and isinstance(beneath[1], Mapping) and isinstance(node, Mapping):
            entries[key] = (spot, overlay(beneath[1], node))
        else:
            entries[key] = (spot, node)
    return Mapping(over.spot, entries, base.size + over.size)
