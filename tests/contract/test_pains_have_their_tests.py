"""docs/operator-pains.md: all 34 pains are there, and every test that it names exists and bears the number."""

import ast
import re

import pytest

from support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operator-pains.md").read_text(encoding="utf-8")
COUNT = 34
PAINS = {
    int(number): text for number, text in re.findall(r"^### (\d+)\. (.*?)(?=^###? |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def existing() -> set[str]:
    return {
        node.name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


EXISTING = existing()


def numbers_of(name: str) -> set[int]:
    """The pains that the name of a test speaks of: test_pain_06_07_... or test_pain_04_and_05_..."""
    head = re.match(r"test_pain_((?:(?:and_)?\d\d_)+)", name)
    return {int(number) for number in re.findall(r"\d\d", head[1])} if head else set()


def test_all_pains_are_there_once_and_in_order() -> None:
    assert [int(number) for number in re.findall(r"^### (\d+)\.", PAGE, re.MULTILINE)] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_each_pain_names_tests_that_exist(number: int) -> None:
    named = set(re.findall(r"^\* `(test_\w+)`$", PAINS[number], re.MULTILINE))
    assert named - EXISTING == set()
    assert any(number in numbers_of(name) for name in named)


def test_no_test_is_named_after_a_pain_that_is_none() -> None:
    assert {number for name in EXISTING for number in numbers_of(name)} <= set(range(1, COUNT + 1))
