"""docs/operator.md describes every reason word that the operator and the injector use, and no other.

The words are read from the code: the first argument of an error, the reason of a condition, an event or a
finding, the words of a verdict and of a renewal.  A new word without a line on the page fails here.
"""

import ast
import re
from collections.abc import Iterator
from typing import get_args

import pytest

from mtls_tunnel_operator.authority.signer import Phase
from mtls_tunnel_operator.control.tunnels.leaves import _Found
from support.processes import REPOSITORY

PACKAGE = REPOSITORY / "operator" / "mtls_tunnel_operator"
ROOMS = ("model", "authority", "desired", "control", "injection", "settings.py")  # cluster has the API server's words
PAGE = (REPOSITORY / "docs" / "operator.md").read_text(encoding="utf-8")
WORD = re.compile(r"[A-Z][A-Za-z]{2,40}")
# Which argument of a call is a reason.
REASON_AT = {
    **dict.fromkeys(("SpecError", "AuthorityError", "Problem", "Refusal", "Finding"), 0),
    "Notice": 1,
    "Condition": 2,
}
POSTS = {"post": 2, "tell_leaves": 2}
RETURNS = ("authority/renewal.py", "injection/verdict.py")
CONDITIONS = {
    *("Ready", "Accepted", "CertificatesReady", "PodsReady", "PlaintextBlocked", "ProxySettingsApplied"),
    *("RotationInProgress", "CAReady", "BundlesReady"),
}


def words(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and WORD.fullmatch(one.value):
            yield one.value


def of_call(call: ast.Call) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    place = REASON_AT.get(name, POSTS.get(name) if isinstance(call.func, ast.Attribute) else None)
    if place is not None and len(call.args) > place:
        yield from words(call.args[place])
    if name == "_Found" and len(call.args) == 4:
        yield from words(call.args[3])


def of_assignment(node: ast.Assign) -> Iterator[str]:
    """`reason = "Word"`, also as the first of two names."""
    (target, *_) = node.targets
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    if not (isinstance(names[0], ast.Name) and names[0].id == "reason"):
        return
    choices = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
    for value in choices:
        yield from words(value.elts[0] if isinstance(value, ast.Tuple) else value)


def used() -> set[str]:
    found = {f"Rotation{phase}" for phase in get_args(Phase)} | set(get_args(Phase)) | {_Found(None).why}
    for path in (
        path for room in ROOMS for path in sorted(PACKAGE.glob(f"{room}/**/*.py" if "." not in room else room))
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found.update(of_call(node))
            elif isinstance(node, ast.Assign):
                found.update(of_assignment(node))
            elif isinstance(node, ast.Return) and node.value and str(path.relative_to(PACKAGE)) in RETURNS:
                for pair in (one for one in ast.walk(node.value) if isinstance(one, ast.Tuple)):
                    found.update(words(pair))
    return found - {"Rotation"}  # the beginning of four


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/operator.md has no section {title}"
    return found[1]


def described() -> set[str]:
    """The words that begin a row of a table, between backticks; several may share a row."""
    cells = re.findall(r"^\| (`[A-Z][^|]*) \|", section("Conditions and reasons"), re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([A-Z]\w+)`", cell)}


def test_every_reason_word_is_described() -> None:
    assert used() - described() == set()


def test_no_word_is_described_that_does_not_exist() -> None:
    assert described() - used() == set()


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_every_condition_has_its_place(name: str) -> None:
    assert re.search(rf"^#+ .*`{name}`|^\*\*`{name}`\*\*", section("Conditions and reasons"), re.MULTILINE)


def test_the_conditions_are_those_of_the_code() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r'Condition\(\s*"(\w+)"', text)) == CONDITIONS
