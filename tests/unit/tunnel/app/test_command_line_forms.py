"""The command line: mtlsd's spelling, exit codes, help for every command."""

import pytest

from mtls_tunnel.app.cli import COMMANDS, main, mtlsd_form


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-config", "a.yaml"], id="one dash, a space"),
        pytest.param(["-config=a.yaml"], id="one dash, equals"),
        pytest.param(["--config", "a.yaml"], id="two dashes, a space"),
        pytest.param(["--config=a.yaml"], id="two dashes, equals"),
    ],
)
def test_mtlsds_flag_means_run(words: list[str]) -> None:
    assert mtlsd_form(words) == ["run", "-c", "a.yaml"]


def test_a_command_keeps_its_own_flags() -> None:
    words = ["check", "--config=a.yaml"]
    assert mtlsd_form(words) == words


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["fly"], id="unknown command"),
        pytest.param(["version", "--loud"], id="unknown flag"),
        pytest.param(["run"], id="no configuration"),
        pytest.param(["-config"], id="mtlsd's flag without a file"),
    ],
)
def test_wrong_usage_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: tunnel" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: tunnel {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_configuration_is_one_plain_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "-c", "no-such.yaml"]) == 2
    assert capsys.readouterr().err == "no-such.yaml: no such file - give the path of a configuration after -c\n"


def test_version_names_the_openssl_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mtls-tunnel", "Python", "OpenSSL"]
