"""docs/runbook.md explains each line that the tunnel logs at WARN or ERROR, each reason and each metric; and names none
that is not there."""

import ast
import re
from collections.abc import Iterator

import pytest

from mtls_tunnel.observe import metrics
from mtls_tunnel.observe.metrics import Meters
from support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
PACKAGE = REPOSITORY / "tunnel" / "mtls_tunnel"
QUIET = {"INFO", "DEBUG"}
# What is logged through a variable begins with the part of the program that says it.
SUBJECT = re.compile(r"(certstore|config|session|proxy|listener|router|acl|log|tls handshake)\b[^\n]*[a-z)]")


def part(title: str, page: str = "runbook.md") -> str:
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/{page} has no part {title}"
    return found[1]


def first_cells(text: str) -> set[str]:
    """What stands between backticks in the first column."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def level_of(call: ast.Call) -> set[str]:
    names = (node for node in ast.walk(call.args[0]) if isinstance(node, ast.Name | ast.Attribute))
    return {node.id if isinstance(node, ast.Name) else node.attr for node in names}


def emitted(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        named = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and isinstance(named, ast.Name) and named.id == "emit":
            yield node


def loud_lines() -> set[str]:
    """Messages given to `emit` at once, and those that reach it by way of a constant or an argument."""
    loud: set[str] = set()
    quiet: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in emitted(tree):
            if isinstance(message := call.args[1], ast.Constant):
                (quiet if level_of(call) & QUIET else loud).add(str(message.value))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            named = call.func.id if isinstance(call.func, ast.Name) else attribute
            if named in ("_refuse", "_judged", "_say", "_tell", "shape"):
                texts = {one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)}
                calm = any(isinstance(one, ast.Name) and one.id in QUIET for one in call.args)
                (quiet if calm else loud).update(filter(SUBJECT.fullmatch, texts))
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(value := node.value, ast.Constant):
                loud.update(filter(SUBJECT.fullmatch, [str(value.value)]))
    return loud - quiet


def test_every_loud_log_line_is_explained() -> None:
    lines = loud_lines()
    assert len(lines) > 20
    text = part("Peers are refused") + part("Log lines at WARN and ERROR")
    told = set(re.findall(r"`([^`]+)`", text))
    assert {line for line in lines if not any(line == one or line.startswith(f"{one}:") for one in told)} == set()


def test_no_log_line_is_explained_that_nobody_writes() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    told = first_cells(part("Log lines at WARN and ERROR"))
    assert {line for line in told if line not in code and line.removeprefix("config: ") not in code} == set()


@pytest.mark.parametrize("router", [False, True], ids=["tunnel", "router"])
def test_every_metric_is_explained_and_no_other(router: bool) -> None:
    meters = Meters("mtlsd", labelled=True, build={"version": "0"})
    counts = meters.tunnel("db")
    told = first_cells(part("Metrics"))
    if router:
        counts.routed()
        told |= first_cells(part("Metrics", "router.md"))
    there = set(re.findall(r"^# TYPE (mtlsd_\S+)", meters.render()[1].decode(), re.MULTILINE))
    assert there == {one.partition("{")[0] for one in told if one.startswith("mtlsd_")}


@pytest.mark.parametrize(
    ("words", "title"),
    [(metrics.HANDSHAKE_REASONS, "Peers are refused"), (metrics.CLOSE_REASONS, "Metrics")],
    ids=["handshakes", "sessions"],
)
def test_every_reason_is_explained(words: tuple[str, ...], title: str) -> None:
    assert set(words) - first_cells(part(title)) == set()
