"""The commands of the workspace: the Makefile, `.ci/run`, and the image with its example."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import healthcheck
from mtls_tunnel.config.load import Source, load
from support.processes import REPOSITORY
from support.tools import need

TARGETS = ("demo", "test", "check", "bench", "fuzz", "clean", "image", "lock")
EXAMPLE = REPOSITORY / "tunnel" / "examples" / "compose"


def test_make_alone_lists_every_target() -> None:
    asked = subprocess.run([need("make")], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert set(re.findall(r"make (\w+) ", asked.stdout)) >= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_planned(target: str) -> None:
    """Dry: what a target would run exists where it is looked for."""
    asked = subprocess.run([need("make"), "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    scripts = re.findall(r"[\w/]+/\w+\.py", asked.stdout)
    assert [name for name in scripts if not (REPOSITORY / name).exists()] == []


def test_ci_installs_every_package_that_a_skipped_test_asks_for() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    installed = set(re.findall(r"[\w.+-]+", script[script.index("packages=(") : script.index("\n)")]))
    asked = set()
    for file in sorted((REPOSITORY / "tests").rglob("*.py")):
        for words in re.findall(r"\bneed(?:_file)?\(([^()]*)\)", file.read_text()):
            names = re.findall(r'"([^"]+)"', words)
            asked.update(names[-1:])
    assert asked - installed == set()


def test_ci_is_a_script_that_bash_understands() -> None:
    subprocess.run(["bash", "-n", REPOSITORY / ".ci" / "run"], check=True)
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111


def test_bandit_finds_nothing_of_medium_severity() -> None:
    command = [sys.executable, "-m", "bandit", "-c", "pyproject.toml", "-q", "-r", "-ll"]
    asked = subprocess.run(
        [*command, "tunnel/mtls_tunnel", "operator/mtls_tunnel_operator", "scripts"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout


def test_the_compose_example_gives_its_tunnels_no_right_and_only_files_that_exist() -> None:
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    for role in ("server", "client"):
        service = services[role]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        mounted = [volume.split(":")[0] for volume in service["volumes"]]
        assert [name for name in mounted if name.startswith("./") and not (EXAMPLE / name).exists()] == []


@pytest.mark.parametrize("role", ["server", "client"])
def test_the_compose_examples_configurations_mean_what_they_say(role: str) -> None:
    loaded = load([Source(f"{role}.yaml", (EXAMPLE / f"{role}.yaml").read_text())])
    assert loaded.warnings == ()
    assert [tunnel.mode for tunnel in loaded.config.tunnels] == [role]


def test_the_health_check_asks_the_kernel_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.getsockname()[1] in healthcheck.listening(Path("/proc"))


def test_the_health_check_fails_where_nothing_listens(tmp_path: Path) -> None:
    assert healthcheck.main(tmp_path) == "nothing listens"
