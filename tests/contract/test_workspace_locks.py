"""The locks hold what the pyproject.toml files ask for, by hash, and agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.processes import REPOSITORY

LOCKS = (
    "requirements.lock",
    "requirements-fuzz.lock",
    "tunnel/requirements.lock",
    "tunnel/build.lock",
    "operator/requirements.lock",
)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)[^\n]*((?:\\\n\s+--hash=sha256:[0-9a-f]{64} ?)+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """Name to version, for what is pinned *with hashes*."""
    return {canonicalize_name(name): version for name, version, _ in PIN.findall((REPOSITORY / lock).read_text())}


def asked(file: str) -> list[Requirement]:
    """What a pyproject.toml asks for, its extras and groups of tools included."""
    table = tomllib.loads((REPOSITORY / file).read_text())
    project = table.get("project", {})
    words = list(project.get("dependencies", []))
    words += [word for extra in project.get("optional-dependencies", {}).values() for word in extra]
    groups = table.get("dependency-groups", {})
    words += [word for name, group in groups.items() if name != "fuzz" for word in group]
    return [requirement for requirement in map(Requirement, words) if requirement.name != "mtls-tunnel"]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_pinned_with_hashes(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    named = re.findall(r"(?m)^[A-Za-z0-9].*?(?=[=\s])", text)
    assert named
    assert len(named) == len(PIN.findall(text))
    assert "://" not in text


@pytest.mark.parametrize("file", ["pyproject.toml", "tunnel/pyproject.toml", "operator/pyproject.toml"])
def test_the_lock_satisfies_everything_asked_for(file: str) -> None:
    held = pins("requirements.lock")
    unmet = [
        str(requirement)
        for requirement in asked(file)
        if not requirement.specifier.contains(Version(held.get(canonicalize_name(requirement.name), "0")))
    ]
    assert unmet == []


@pytest.mark.parametrize("lock", LOCKS[2:])
def test_the_image_runs_the_versions_that_are_tested(lock: str) -> None:
    tested = pins("requirements.lock")
    assert {name: tested.get(name) for name in pins(lock)} == pins(lock)


def test_the_image_gets_only_what_the_tunnel_needs() -> None:
    wanted = {canonicalize_name(requirement.name) for requirement in asked("tunnel/pyproject.toml")}
    brought = {"cffi", "pycparser", "typing-extensions"}  # by cryptography and pyOpenSSL
    assert set(pins("tunnel/requirements.lock")) == wanted | brought


def test_installed_is_what_is_locked() -> None:
    """The tests speak of the versions that the lock names."""
    from importlib.metadata import PackageNotFoundError, version

    for name, pinned in pins("tunnel/requirements.lock").items():
        try:
            assert version(name) == pinned, name
        except PackageNotFoundError:
            assert name == "typing-extensions"  # only for older Pythons
    assert Path(REPOSITORY, "requirements.lock").stat().st_size > 0
