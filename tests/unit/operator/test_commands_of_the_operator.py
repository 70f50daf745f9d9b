"""`tunnel-operator`: its commands, what they refuse, and what they do not load."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from mtls_tunnel_operator.app.cli import COMMANDS, main, parser_of
from support.processes import REPOSITORY

RUN = ["run", "--namespace", "mtls-tunnel-system", "--name", "mtls-tunnel"]


def refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"tunnel-operator {command}" in capsys.readouterr().out


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"\n    {command} " in listed for command in COMMANDS)


def test_version_names_what_security_depends_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    said = capsys.readouterr().out
    assert "OpenSSL" in said
    assert "cryptography" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--namespace", "x"], "the following arguments are required: --name"),
        ([*RUN, "--health-listen", "8080"], "'8080' is no address: write :8080 or 127.0.0.1:8080"),
        ([*RUN, "--metrics-listen", ":99999"], "':99999' is no address"),
        ([*RUN, "--log-level", "loud"], "invalid choice: 'loud'"),
        ([*RUN, "--scope", "Namespaces"], "--watch-namespaces is needed with --scope Namespaces, and only then"),
        ([*RUN, "--watch-namespaces", "a"], "--watch-namespaces is needed with --scope Namespaces, and only then"),
        ([*RUN, "--secrets", "All"], "invalid choice: 'All'"),
        ([*RUN, "--optional-kinds", "certificates,pods"], "--optional-kinds: pods: only certificates and podmonitors"),
        ([*RUN, "--sco", "Cluster"], "unrecognized arguments: --sco Cluster"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_with_the_remedy(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(words, capsys)


@pytest.mark.parametrize(
    ("text", "read"),
    [(":8080", (None, 8080)), ("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:8080", ("::1", 8080))],
)
def test_addresses_may_leave_the_host_out(text: str, read: tuple[str | None, int]) -> None:
    assert parser_of(RUN).parse_args([*RUN, "--health-listen", text]).health_listen == read


def loaded(command: str) -> set[str]:
    """The top-level packages that are there once a command's module has been read."""
    code = (
        "import sys; from mtls_tunnel_operator.app.cli import parser_of;"
        f"parser_of([{command!r}]); print(*{{name.partition('.')[0] for name in sys.modules}})"
    )
    path = f"{REPOSITORY / 'operator'}:{REPOSITORY / 'tunnel'}"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("command", "never"),
    [
        ("run", {"kubernetes", "requests", "pydantic", "pykube"}),
        ("injector", {"kopf", "kubernetes", "requests", "pydantic"}),
        ("inject", {"kopf", "kubernetes", "aiohttp"}),
        ("version", {"kopf", "kubernetes", "aiohttp", "cryptography"}),
    ],
)
def test_a_command_loads_only_what_it_needs(command: str, never: set[str]) -> None:
    assert loaded(command) & never == set()
