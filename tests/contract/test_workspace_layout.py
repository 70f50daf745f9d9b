"""What the folders promise to each other, to the standard library and to whoever reads them elsewhere."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.processes import REPOSITORY

DISTRIBUTIONS = {"tunnel": "mtls_tunnel", "operator": "mtls_tunnel_operator"}
# Made up from halves, so that this file passes its own test.
INDEXES = (
    "py" + "pi.org",
    "python" + "hosted",
    "registry." + "npmjs",
    "crates" + ".io",
    "proxy." + "golang",
    "deb." + "debian",
)
MACHINES = ("/" + "root/", "/" + "home/", "/" + "work/", "/tmp/" + "ws")


def committed() -> list[Path]:
    """The text files that a commit would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and b"\0" not in file.read_bytes()]


def project(folder: str) -> dict[str, Any]:
    return dict(tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"])


def test_the_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert not (REPOSITORY / "operator" / "__init__.py").exists()
    program = "import sys; sys.path.insert(0, ''); import operator, collections; print(operator.__file__)"
    asked = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not asked.stdout.startswith(str(REPOSITORY / "operator"))


def test_no_folder_of_tests_is_a_package() -> None:
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("package", DISTRIBUTIONS.values())
def test_every_module_opens_with_what_it_is_for(package: str) -> None:
    folder = next(REPOSITORY / name for name, held in DISTRIBUTIONS.items() if held == package)
    silent = [
        str(file.relative_to(REPOSITORY))
        for file in sorted((folder / package).rglob("*.py"))
        if not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("package", DISTRIBUTIONS.values())
def test_files_and_functions_stay_small(package: str) -> None:
    """At 400 lines a file is split; a function of more than 40 lines does two things."""
    folder = next(REPOSITORY / name for name, held in DISTRIBUTIONS.items() if held == package)
    large = []
    for file in sorted((folder / package).rglob("*.py")):
        text = file.read_text()
        if len(text.splitlines()) > 400:
            large.append(f"{file.relative_to(REPOSITORY)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _code_lines(node)
                if lines > 40:
                    large.append(f"{file.relative_to(REPOSITORY)}: {node.name} has {lines} lines")
    assert large == []


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its lines without the docstring."""
    start = node.lineno
    if ast.get_docstring(node) and (end := node.body[0].end_lineno):
        start = end
    return (node.end_lineno or start) - start + 1


def test_both_distributions_carry_one_version_and_are_typed() -> None:
    versions = set()
    for folder, package in DISTRIBUTIONS.items():
        text = (REPOSITORY / folder / package / "__init__.py").read_text()
        versions.update(re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE))
        assert (REPOSITORY / folder / package / "py.typed").exists()
        assert project(folder)["requires-python"] == ">=3.11"
    assert len(versions) == 1
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[(Unreleased|{re.escape(versions.pop())})\]", changelog, re.MULTILINE)


def test_the_tunnel_depends_on_six_distributions_and_no_more() -> None:
    names = {re.split(r"[<>=!~; ]", need)[0].lower() for need in project("tunnel")["dependencies"]}
    assert names == {"pyopenssl", "cryptography", "pyyaml", "prometheus-client", "h11", "asyncinotify"}


def test_a_running_tunnel_loads_nothing_of_kubernetes() -> None:
    program = (
        "import sys, mtls_tunnel.app.run, mtls_tunnel.app.server\n"
        "kept_out = ('kopf', 'kubernetes', 'aiohttp', 'mtls_tunnel_operator')\n"
        "print([name for name in sys.modules if name.split('.')[0] in kept_out])"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY / "tunnel", capture_output=True, text=True, check=False
    )
    assert asked.stdout.strip() == "[]", asked.stderr


def test_no_committed_file_names_an_index_or_somebodys_machine() -> None:
    found = [
        f"{file.relative_to(REPOSITORY)}: {word}"
        for file in committed()
        for word in (*INDEXES, *MACHINES)
        if word in file.read_text(errors="replace")
    ]
    assert found == []
