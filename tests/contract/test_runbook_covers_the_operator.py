"""docs/runbook.md has each alert of the chart, each line that operator and injector log at WARN or ERROR, and each
subject of `tunnel-operator check`; and names none that is not there."""

import ast
import re
from collections.abc import Iterator

import yaml

from support import charts
from support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "operator" / "mtls_tunnel_operator"
ANYTHING = "…"  # where a value stands
LOUD = ("warning", "error", "exception", "critical")
DYNAMIC = ("cluster/watch.py", "cluster/lease.py")  # LOG.log with a level that may be WARNING


def part(title: str) -> str:
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/runbook.md has no part {title}"
    return found[1]


def first_cells(text: str) -> set[str]:
    """What stands between backticks in the first column."""
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def said(node: ast.AST) -> str:
    """A message with every value replaced by one sign."""
    if isinstance(node, ast.Constant):
        return re.sub(r"%(\.\d)?[sdf]", ANYTHING, str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(said(one) if isinstance(one, ast.Constant) else ANYTHING for one in node.values)
    raise AssertionError(f"a log line that cannot be read from the code: {ast.dump(node)}")


def loud_lines() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        dynamic = str(path.relative_to(PACKAGE)) in DYNAMIC
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "LOG":
                if node.func.attr in LOUD:
                    yield said(node.args[0])
                elif node.func.attr == "log" and dynamic:
                    yield said(node.args[1])


def subjects() -> set[str]:
    """The constant beginnings of what `check` calls its subjects."""
    where = {"Finding": 1, "guarded": 0, "_deployment": 3}
    given: list[ast.AST] = []
    for path in sorted((PACKAGE / "app").glob("check*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in where:
                given.append(node.args[where[node.func.id]])
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                given += [node.value] if node.targets[0].id in ("SUBJECT", "subject") else []
    told = (said(one) for one in given if isinstance(one, ast.Constant | ast.JoinedStr))
    return {text.partition(f" {ANYTHING}")[0] for text in told}


def test_every_alert_of_the_chart_has_its_line_and_no_other() -> None:
    groups = yaml.safe_load((charts.CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    assert first_cells(part("Alerts of the chart")) == {rule["alert"] for group in groups for rule in group["rules"]}


def test_every_loud_log_line_is_explained_and_no_other() -> None:
    lines = set(loud_lines())
    assert len(lines) > 20
    assert first_cells(part("Log lines of operator and injector")) == lines


def test_every_subject_of_check_is_explained() -> None:
    found = subjects()
    assert {"clock", "CRDs", "operator", "injector", "webhook", "tunnel", "pods", "namespace"} <= found
    assert first_cells(part("What `tunnel-operator check` says")) == found
