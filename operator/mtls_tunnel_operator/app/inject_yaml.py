"""YAML files in, YAML out, with JSON patches in between that touch only what they name.

A document is kept as the nodes that were read, not as Python values: a text that YAML 1.1 and Kubernetes read
differently (12:30, 1e3, y) leaves as it came, quotes and flow style stay, keys keep their order.  Comments are
lost, and anchors are written out where they are used.

Scalars are read as Kubernetes' own reader does (sigs.k8s.io/yaml): no dates, no numbers in base 60, y and n are
booleans.  A key that is given twice is refused, as the API server does.
"""

import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

STDIN = "-"
MOST_NODES = 200_000  # after anchors have been written out

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "bool": r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "null": r"~|null|Null|NULL|",
    "merge": r"<<",
}
# A table by first letter; None stands for all of them.
_RESOLVERS = {None: [(f"{_TAG}{kind}", re.compile(f"(?:{form})\\Z")) for kind, form in _SCALARS.items()]}


class Unreadable(Exception):
    """A file cannot be read; the text names it and the place in it."""


class Document:
    """One document: `place` for people, `value` as Python has it; `patch` changes it, `text` writes it."""

    def __init__(self, place: str, node: Node) -> None:
        self.place = place
        self._node = node
        self.value = _value(node)

    def patch(self, prefix: Sequence[str | int], ops: Iterable[dict[str, Any]]) -> None:
        """Apply add and remove operations below *prefix*; `value` stays what it was."""
        for op in ops:
            steps = [part.replace("~1", "/").replace("~0", "~") for part in op["path"].split("/")[1:]]
            way, last = [*prefix, *steps[:-1]], steps[-1]
            parent: Node = self._node
            for step in way:
                parent = _child(parent, step)
            (_remove if op["op"] == "remove" else _add)(parent, last, op.get("value"))

    def text(self) -> str:
        """The document as YAML, with `---` in front."""
        written: str = yaml.serialize(
            self._node, Dumper=_Dumper, explicit_start=True, allow_unicode=True, width=1_000_000
        )
        return written


def documents(name: str) -> list[Document]:
    """The documents of the file *name* (`-` is standard input); empty ones are left out.

    Raises:
        Unreadable: no such file, no YAML, or nested without end.
    """
    shown = "standard input" if name == STDIN else name
    try:
        text = sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
        nodes = [_tree(node, [0]) for node in yaml.compose_all(text, Loader=_Loader)]
        found = [Document(f"{shown}: document {number}", node) for number, node in enumerate(nodes, 1)]
    except (OSError, ValueError) as error:  # not UTF-8, a number that is none
        raise Unreadable(f"{shown}: {error}") from None
    except yaml.YAMLError as error:
        raise Unreadable(f"{shown}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Unreadable(f"{shown}: nested too deeply, or contains itself") from None
    return [document for document in found if document.value is not None]


class _Loader(yaml.SafeLoader):
    """Composes nodes, and makes values of them."""

    yaml_implicit_resolvers = _RESOLVERS
    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def construct_yaml_int(self, node: ScalarNode) -> int:
        text = node.value.replace("_", "")
        return int(text, 0) if re.match(r"[-+]?0[box]", text) else super().construct_yaml_int(node)


class _Dumper(yaml.SafeDumper):
    """Lists are indented as people write them; nothing becomes an anchor."""

    yaml_implicit_resolvers = _RESOLVERS

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)


def _tree(node: Node, count: list[int]) -> Node:
    """A copy in which nothing is shared, so that a change in one place is one change."""
    count[0] += 1
    if count[0] > MOST_NODES:
        raise ValueError("too large when anchors are written out")
    marks = node.start_mark, node.end_mark
    if isinstance(node, ScalarNode):
        return ScalarNode(node.tag, node.value, *marks, style=node.style)
    if isinstance(node, SequenceNode):
        return SequenceNode(node.tag, [_tree(item, count) for item in node.value], *marks, flow_style=node.flow_style)
    assert isinstance(node, MappingNode)
    keys = [key.value for key, _ in node.value if isinstance(key, ScalarNode) and key.tag != f"{_TAG}merge"]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} is given twice", node.start_mark)
    pairs = [(_tree(key, count), _tree(item, count)) for key, item in node.value]
    return MappingNode(node.tag, pairs, *marks, flow_style=node.flow_style)


def _value(node: Node) -> Any:
    return _Loader("").construct_document(node)


def _node(value: Any) -> Node:
    """A value of ours as nodes."""
    return _Dumper(io.StringIO(), sort_keys=False).represent_data(value)


def _index(parent: CollectionNode, step: str | int) -> int:
    if isinstance(parent, SequenceNode):
        return len(parent.value) if step == "-" else int(step)
    return next((at for at, (key, _) in enumerate(parent.value) if key.value == str(step)), len(parent.value))


def _child(parent: Node, step: str | int) -> Node:
    assert isinstance(parent, CollectionNode)
    found = parent.value[_index(parent, step)]
    child: Node = found if isinstance(parent, SequenceNode) else found[1]
    return child


def _remove(parent: Node, step: str | int, _: object) -> None:
    assert isinstance(parent, CollectionNode)
    del parent.value[_index(parent, step)]


def _add(parent: Node, step: str | int, value: Any) -> None:
    assert isinstance(parent, CollectionNode)
    at, node = _index(parent, step), _node(value)
    if isinstance(parent, SequenceNode):
        parent.value.insert(at, node)
    else:
        parent.value[at : at + 1] = [(_node(str(step)), node)]
