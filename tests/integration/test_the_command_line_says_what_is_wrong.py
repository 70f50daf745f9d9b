"""Exit codes and sentences: all errors of a file at once, each with file, place and remedy, never a traceback."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.guarded import server_settings
from support.pki import Authority, Folder
from support.ports import free_port, listening
from support.servers import Echo
from support.tunnels import command, merged, write_settings


def judged(folder: Path, over: dict[str, Any], verb: str = "check") -> subprocess.CompletedProcess[str]:
    files = Folder(folder / "pki")
    settings = merged(server_settings(files, free_port(), "127.0.0.1:1"), over)
    ended: subprocess.CompletedProcess[str] = command(verb, "-c", write_settings(folder / "server.yaml", settings))
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended


def test_check_of_a_good_file_says_what_would_be_served(tmp_path: Path) -> None:
    ended = judged(tmp_path, {})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "127.0.0.1:1" in ended.stdout
    assert "localhost" in ended.stdout


def test_check_opens_no_port_and_resolves_nothing(tmp_path: Path) -> None:
    with Echo() as squatter:
        over = {"listen": f"127.0.0.1:{squatter.port}", "target": "name.that.does.not.exist.invalid:1"}
        assert judged(tmp_path, over).returncode == 0


FAULTS = [
    pytest.param({"mode": "serve"}, "mode", id="an unknown mode"),
    pytest.param({"listen": "8443"}, "listen", id="no port in an address"),
    pytest.param({"listen": "127.0.0.1:99999"}, "listen", id="no such port"),
    pytest.param({"listen": None}, "listen", id="a required key is missing"),
    pytest.param({"tls": {"ca": "absent.pem"}}, "tls.ca", id="no such CA file"),
    pytest.param({"tls": {"cert": "absent.pem"}}, "tls.cert", id="no such certificate"),
    pytest.param({"tls": {"key": "absent.pem"}}, "tls.key", id="no such key"),
    pytest.param({"tls": {"min_version": "TLS1.1"}}, "tls.min_version", id="a version too old"),
    pytest.param({"tls": {"client_auth": "sometimes"}}, "tls.client_auth", id="an unknown choice"),
    pytest.param({"tls": {"cert": ["a.pem", "b.pem"]}}, "tls.cert", id="a list where a string belongs"),
    pytest.param({"proxy": {"dial_timeout": "10 apples"}}, "proxy.dial_timeout", id="no duration"),
    pytest.param({"proxy": {"dial_timeout": "-1s"}}, "proxy.dial_timeout", id="a negative duration"),
    pytest.param({"proxy": {"max_connections": 0}}, "proxy.max_connections", id="no connections at all"),
    pytest.param({"proxy": {"max_connections": "many"}}, "proxy.max_connections", id="no number"),
    pytest.param({"acl": {"allow_role": ["nobody"]}}, "acl.allow_role", id="an unknown role"),
    pytest.param({"acl": {"allow_fingerprint": ["12:34"]}}, "acl.allow_fingerprint", id="no fingerprint"),
    pytest.param({"acl": {"allow_dns": ["a.*.example"]}}, "acl.allow_dns", id="an impossible pattern"),
    pytest.param({"acl": {"allow_uri": ["spiffe://a/**/b"]}}, "acl.allow_uri", id="a double star in the middle"),
    pytest.param({"acl": {"allow_ip": ["10.0.0.0/33"]}}, "acl.allow_ip", id="no network"),
    pytest.param({"logging": {"level": "loud"}}, "logging.level", id="an unknown level"),
    pytest.param({"outbound": {"server_name": "x"}}, "outbound", id="a section of another mode"),
    pytest.param({"tunnels": [{"name": "a"}]}, "", id="one tunnel and several"),
]


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(("over", "place"), FAULTS)
def test_a_fault_names_file_place_and_remedy(tmp_path: Path, over: dict[str, Any], place: str, verb: str) -> None:
    ended = judged(tmp_path, over, verb)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert any(line.startswith(f"{tmp_path / 'server.yaml'}: {place}") for line in lines), ended.stderr


def test_all_errors_of_a_file_come_at_once(tmp_path: Path) -> None:
    over = {"mode": "serve", "proxy": {"dial_timeout": "soon"}, "logging": {"level": "loud"}, "tls": {"min_version": 1}}
    ended = judged(tmp_path, over)
    assert ended.returncode == 2
    for place in ("mode", "proxy.dial_timeout", "logging.level", "tls.min_version"):
        assert f"server.yaml: {place}: " in ended.stderr


def test_duplicate_keys_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("mode: server\nmode: client\n")
    ended = command("check", "-c", path)
    assert ended.returncode == 2
    assert "mode" in ended.stderr
    assert "twice.yaml" in ended.stderr


def test_a_port_clash_between_tunnels_is_an_error(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    settings = server_settings(files, free_port(), "127.0.0.1:1")
    one = {key: settings.pop(key) for key in ("mode", "listen", "target")}
    settings["tunnels"] = [{"name": "a", **one}, {"name": "b", **one}]
    ended = command("check", "-c", write_settings(tmp_path / "clash.yaml", settings))
    assert ended.returncode == 2
    assert one["listen"] in ended.stderr


@pytest.mark.parametrize("strict", [False, True])
def test_an_unknown_key_is_a_warning_with_the_nearest_and_an_error_with_strict(tmp_path: Path, strict: bool) -> None:
    ended = judged(tmp_path, {"proxy": {"idle_timeuot": "1s"}, "strict": strict})
    assert ended.returncode == (2 if strict else 0)
    assert "proxy.idle_timeuot" in ended.stderr
    assert "idle_timeout" in ended.stderr


def test_strict_turns_each_warning_into_an_error(tmp_path: Path) -> None:
    """A key that others can read, a chain out of order, a leaf without SAN."""
    files = Folder(tmp_path / "pki")
    below = Authority().intermediate()
    leaf = below.server()
    Path(files.server.key).chmod(0o644)
    settings = server_settings(files, free_port(), "127.0.0.1:1")
    for over in ({}, {"strict": True}):
        ended = command("check", "-c", write_settings(tmp_path / "server.yaml", merged(settings, over)))
        assert ended.returncode == (2 if over else 0)
        assert "server-key.pem" in ended.stderr
    files.write("server", leaf)
    certs = leaf.cert_pem.split(b"-----END CERTIFICATE-----\n")
    files.put("server.pem", b"".join(cert + b"-----END CERTIFICATE-----\n" for cert in reversed(certs[:2])))
    Path(files.server.key).chmod(0o600)
    for over in ({}, {"strict": True}):
        ended = command("check", "-c", write_settings(tmp_path / "server.yaml", merged(settings, over)))
        assert ended.returncode == (2 if over else 0), ended.stderr
        assert "order" in ended.stderr


def test_check_refuses_an_own_leaf_that_has_expired(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    files.write("server", files.authority.expired("localhost"))
    settings = server_settings(files, free_port(), "127.0.0.1:1")
    ended = command("check", "-c", write_settings(tmp_path / "server.yaml", settings))
    assert ended.returncode == 2
    assert "expired" in ended.stderr


def test_a_port_in_use_is_exit_code_1(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    with Echo() as squatter:
        settings = server_settings(files, squatter.port, "127.0.0.1:1")
        ended = command("run", "-c", write_settings(tmp_path / "server.yaml", settings))
    assert ended.returncode == 1
    assert str(squatter.port) in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_the_router_command_runs_routers_only(tmp_path: Path) -> None:
    ended = judged(tmp_path, {}, "router")
    assert ended.returncode == 2
    assert ended.stderr == f"error: {(path := tmp_path / 'server.yaml')} has mode server: tunnel run -c {path}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ca-certs=ca.pem", "-server-cert=s.pem"], "--server-key missing"),
        (["-c", "router.yaml", "--cache=1s"], "--cache beside -c"),
        (["-c", "router.yaml", "--apply"], "--apply beside -c"),
        (
            ["--ca-certs=ca.pem", "--server-cert=s", "--server-key=k", "--apply"],
            "--apply belongs to: tunnel router init-db",
        ),
    ],
)
def test_flags_of_the_router_that_do_not_go_together(words: list[str], said: str) -> None:
    ended = command("router", *words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr


@pytest.mark.parametrize("words", [["sing"], ["run"], ["run", "-x"], [], ["-config"], ["certs"]])
def test_unknown_commands_and_flags_are_exit_code_2(words: list[str]) -> None:
    ended = command(*words)
    assert ended.returncode == 2
    assert "usage" in ended.stderr.lower()
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("form", [["-config"], ["--config"], ["run", "-c"], ["-config="], ["--config="]])
def test_every_form_of_naming_the_file_is_understood(tmp_path: Path, form: list[str]) -> None:
    path = tmp_path / "absent.yaml"
    *words, last = form
    ended = command(*([*words, f"{last}{path}"] if last.endswith("=") else [*form, path]))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{path}: no such file")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["check", "--help"], ["certs", "--help"], ["status", "--help"], ["demo", "--help"]],
)
def test_help_has_examples_and_exit_code_0(words: list[str]) -> None:
    ended = command(*words)
    assert ended.returncode == 0
    assert "tunnel " in ended.stdout


def test_version_names_tunnel_python_and_openssl() -> None:
    ended = command("version")
    assert ended.returncode == 0
    for word in ("mtls-tunnel", "Python", "OpenSSL"):
        assert word in ended.stdout


def test_nothing_is_bound_when_one_part_fails(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    fine = free_port()
    with Echo() as squatter:
        settings = server_settings(files, 1, "127.0.0.1:1")
        one = {"mode": settings.pop("mode"), "target": settings.pop("target")}
        del settings["listen"]
        settings["tunnels"] = [
            {"name": "fine", "listen": f"127.0.0.1:{fine}", **one},
            {"name": "clash", "listen": squatter.address, **one},
        ]
        ended = command("run", "-c", write_settings(tmp_path / "server.yaml", settings))
    assert ended.returncode == 1
    assert not listening(fine)
