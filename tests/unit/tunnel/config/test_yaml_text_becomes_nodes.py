"""The YAML reader: what a file may say, what it may not, and that nothing in it is guessed at."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel.config import yaml_source
from mtls_tunnel.config.dump import dump
from mtls_tunnel.config.findings import Findings, Spot
from mtls_tunnel.config.schema import Config
from mtls_tunnel.config.yaml_source import Listing, Mapping, Node, Scalar, compose, overlay
from mtls_tunnel.errors import ConfigError, Problem
from support.configs import configs

Plain = str | list["Plain"] | dict[str, "Plain"]


def composed(text: str) -> Mapping:
    """The tree of a text in which nothing is wrong."""
    findings = Findings()
    node = compose(text, Spot(1, "f.yaml"), findings)
    findings.verdict(strict=True)
    assert node is not None
    return node


def plain(node: Node) -> Plain:
    """A node without its places."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Listing):
        return [plain(entry) for entry in node.entries]
    return {key: plain(value) for key, (_, value) in node.entries.items()}


def faults(text: str) -> list[str]:
    findings = Findings()
    compose(text, Spot(1, "f.yaml"), findings)
    with pytest.raises(ConfigError) as caught:
        findings.verdict(strict=True)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "written", ["22:22", "010", "0x1F", "yes", "1e3", "1_000", "2026-01-01", ".inf", "127.0.0.1:8443", ":8443", "="]
)
def test_a_value_keeps_the_characters_that_were_written(written: str) -> None:
    assert plain(composed(f"listen: {written}\n")) == {"listen": written}


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("22:22", "number"),
        ("010", "number"),
        ("1.5", "number"),
        ("yes", "boolean"),
        ("off", "boolean"),
        ("~", "null"),
        ("", "null"),
        ("2026-01-01", "date"),
        ("127.0.0.1:8443", "text"),
        ("y", "text"),
        ('"yes"', "text"),
        ("'1'", "text"),
        ('""', "text"),
    ],
)
def test_what_yaml_would_take_a_value_for_is_known(written: str, kind: str) -> None:
    node = composed(f"key: {written}\n").entries["key"][1]

    assert isinstance(node, Scalar)
    assert node.kind == kind


def test_every_node_knows_its_line_and_its_path() -> None:
    root = composed("tunnels:\n- name: a\n  tls:\n    ca:\n    - x\n    - y\n")

    tunnels = root.entries["tunnels"][1]
    assert isinstance(tunnels, Listing)
    first = tunnels.entries[0]
    assert isinstance(first, Mapping)
    tls = first.entries["tls"][1]
    assert isinstance(tls, Mapping)
    ca = tls.entries["ca"][1]
    assert isinstance(ca, Listing)
    assert [(entry.spot.path, entry.spot.line) for entry in ca.entries] == [
        ("tunnels[0].tls.ca[0]", 5),
        ("tunnels[0].tls.ca[1]", 6),
    ]


def test_aliases_and_merge_keys_stand_for_what_they_name() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: *a\nd: {<<: *a, y: 5}\ne: {<<: [*a, *b]}\n"

    assert plain(composed(text)) == {
        "a": {"x": "1", "y": "2"},
        "b": {"y": "3", "z": "4"},
        "c": {"x": "1", "y": "2"},
        "d": {"x": "1", "y": "5"},
        "e": {"x": "1", "y": "2", "z": "4"},
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", ["f.yaml: is empty - it needs at least mode, listen, target and tls"], id="empty"),
        pytest.param("# only\n", ["f.yaml: is empty - it needs at least mode, listen, target and tls"], id="comment"),
        pytest.param("---\n", ["f.yaml: is empty - it needs at least mode, listen, target and tls"], id="null"),
        pytest.param(
            "- a\n",
            ["f.yaml: must be a mapping of keys, found a list - begin with a line such as mode: server"],
            id="a list",
        ),
        pytest.param(
            "server\n",
            ["f.yaml: must be a mapping of keys, found a single value - begin with a line such as mode: server"],
            id="a word",
        ),
        pytest.param(
            "a: 1\n---\nb: 2\n", ["f.yaml: line 2: a second document begins - keep one; remove the line ---"], id="two"
        ),
        pytest.param(
            "tls:\n  ca: a\n  key: k\n  ca: b\n",
            ["f.yaml: tls.ca: the key stands twice, in line 2 and in line 4 - keep one of them"],
            id="a key twice",
        ),
        pytest.param(
            "a: 1\n'a': 2\nb: {c: 1, c: 2}\n",
            [
                "f.yaml: a: the key stands twice, in line 1 and in line 2 - keep one of them",
                "f.yaml: b.c: the key stands twice, in line 3 and in line 3 - keep one of them",
            ],
            id="two keys twice",
        ),
        pytest.param(
            "a: !!python/object/apply:os.system [x]\n",
            ['f.yaml: a: the YAML tag "tag:yaml.org,2002:python/object/apply:os.system" is not supported - remove it'],
            id="a tag that would run a program",
        ),
        pytest.param("a: !x 1\n", ['f.yaml: a: the YAML tag "!x" is not supported - remove it'], id="a tag"),
        pytest.param(
            "a: *b\n",
            ["f.yaml: a: the alias *b has no anchor before it - define the anchor with & first"],
            id="an alias to nothing",
        ),
        pytest.param(
            "a: &a [*a]\n", ["f.yaml: a[0]: the alias *a contains itself - write the value out"], id="a circle"
        ),
        pytest.param(
            "a: {<<: 1}\n",
            ['f.yaml: a."<<": only a mapping can be merged with << - name an anchored mapping'],
            id="a merge of nothing",
        ),
        pytest.param(
            "? [a]\n: 1\n", ["f.yaml: line 1: a key must be a plain word - write it as name: value"], id="a list as key"
        ),
        pytest.param(
            "tls:\n  '': 1\n", ["f.yaml: tls: a key must be a plain word - write it as name: value"], id="no key"
        ),
        pytest.param("mode: \udcff\n", ["f.yaml: line 1: is not UTF-8 - save the file as UTF-8 text"], id="not UTF-8"),
        pytest.param(
            "mode: a\nb: \x00\n",
            ['f.yaml: line 2: contains the control character "\\u0000" - remove it; a configuration is plain text'],
            id="NUL",
        ),
        pytest.param(
            "listen: [::1]:8443 # here\n",
            ['f.yaml: line 1: is not valid YAML: did not find expected node content - quote the address: "[::1]:8443"'],
            id="an IPv6 address without quotes",
        ),
        pytest.param(
            "a" * 70 + ": {b: 1, b: 2}\n",
            [f'f.yaml: "{"a" * 60}...".b: the key stands twice, in line 1 and in line 1 - keep one of them'],
            id="a long key is cut",
        ),
    ],
)
def test_each_fault_has_its_line(text: str, told: list[str]) -> None:
    assert faults(text) == told


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a:\n\t- b\n", "indent with spaces, not with tabs"),
        ("a: b: c\n", "check indentation, colons, brackets and quotes there"),
        ('a: "b\n', "check indentation, colons, brackets and quotes there"),
        ("a: {b\n", "check indentation, colons, brackets and quotes there"),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line_with_its_number(text: str, remedy: str) -> None:
    (told,) = faults(text)

    assert told.startswith("f.yaml: line ")
    assert told.endswith(f" - {remedy}")
    assert told.isprintable()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param(BOMB, "holds more than 100000 values", id="a billion laughs"),
        pytest.param("a: " + "[" * 40 + "]" * 40, "nested deeper than 32 levels", id="deep"),
        pytest.param("a: " + "[" * 500_000, "nested deeper than 32 levels", id="half a million brackets"),
        pytest.param("a: " + "{" * 500_000, "nested deeper than 32 levels", id="half a million braces"),
        pytest.param("a: [" + "x, " * 100_001 + "]", "holds more than 100000 values", id="a long list"),
        pytest.param("a: " + "x" * 2**20, "longer than 1048576 characters", id="a long file"),
    ],
)
def test_a_file_made_to_exhaust_the_reader_is_refused_soon(text: str, part: str) -> None:
    began = time.process_time()

    (told,) = faults(text)

    assert part in told
    assert time.process_time() - began < 10  # a bound on the kind of cost, not a measurement


def test_a_long_key_does_not_grow_with_what_stands_below_it() -> None:
    root = composed("? " + "k" * 500_000 + "\n: [x]\n")

    _, below = root.entries["k" * 500_000]
    assert isinstance(below, Listing)
    assert below.entries[0].spot.path == f'"{"k" * 60}..."[0]'


@given(configs())
@settings(max_examples=20)
def test_both_parsers_read_the_same_tree(config: Config) -> None:
    text, spot, findings = dump(config), Spot(1, "f.yaml"), Findings()

    pure = compose(text, spot, findings, loader=yaml.SafeLoader)
    fast = compose(text, spot, findings, loader=yaml.CSafeLoader)

    assert pure == fast
    assert pure is not None
    assert findings.verdict(strict=True) == ()


Keys = st.text("abc", min_size=1, max_size=2)
Values: st.SearchStrategy[Plain] = st.recursive(
    st.text("abc \u00e9\"'#:-", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(Keys, inner, max_size=3),
    max_leaves=8,
)
Mappings = st.dictionaries(Keys, Values, max_size=4)


def as_mapping(values: dict[str, Plain], line: int) -> Mapping:
    node = as_node(values, line)
    assert isinstance(node, Mapping)
    return node


def as_node(value: Plain, line: int) -> Node:
    spot = Spot(1, "f.yaml", line)
    if isinstance(value, str):
        return Scalar(spot, value, "text")
    if isinstance(value, list):
        return Listing(spot, tuple(as_node(entry, line) for entry in value), 1)
    return Mapping(spot, {key: (spot, as_node(entry, line)) for key, entry in value.items()})


def laid(base: Plain, over: Plain) -> Plain:
    """The rule of the overlay in its plainest form."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: laid(base[key], over[key]) if key in base else over[key] for key in over}}
    return over


@given(Mappings, Mappings)
def test_an_overlay_merges_mappings_and_replaces_the_rest(base: dict[str, Plain], over: dict[str, Plain]) -> None:
    assert plain(overlay(as_mapping(base, 1), as_mapping(over, 2))) == laid(base, over)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
@given(text=st.text(max_size=60) | st.text("ab:[]{}&*<!|>-#\"'? \n\t%@\\U8", max_size=60))
def test_any_text_is_a_tree_or_a_fault_of_one_line(loader: yaml_source.Loader, text: str) -> None:
    findings = Findings()
    node = compose(text, Spot(1, "f.yaml"), findings, loader=loader)
    told: tuple[Problem, ...] = ()
    try:
        findings.verdict(strict=True)
    except ConfigError as error:
        told = error.problems

    assert (node is not None) or told
    assert all(str(problem).isprintable() for problem in told)
