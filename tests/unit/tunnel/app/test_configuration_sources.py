"""What -c may name: a file, or a directory in name order."""

from pathlib import Path

import pytest

from mtls_tunnel.app import sources
from mtls_tunnel.errors import ConfigError

TUNNEL = "mode: server\nlisten: ':{port}'\ntarget: '127.0.0.1:80'\ntls: {{cert: c.pem, key: k.pem, ca: ca.pem}}\n"


def test_a_directory_is_read_in_name_order_and_names_its_tunnels(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(TUNNEL.format(port=2))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tunnel.yaml").write_text(TUNNEL.format(port=1))
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "tunnel.yaml").write_text("the inside of a mounted volume, not a tunnel")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "tunnel.yaml").write_text("nobody means this one")
    (tmp_path / ".old.yaml").write_text(TUNNEL.format(port=3))
    (tmp_path / ".#b.yaml").symlink_to("an editor's lock, which leads nowhere")
    tunnels = sources.read(str(tmp_path)).config.tunnels
    assert [(one.name, one.listen.port, one.tls.cert) for one in tunnels] == [
        ("a", 1, str(tmp_path / "a" / "c.pem")),
        ("b", 2, str(tmp_path / "c.pem")),
    ]


def test_process_wide_sections_come_from_the_process_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").write_text(TUNNEL.format(port=1) + "logging: {level: warn}\n")
    (tmp_path / "process.yaml").write_text("logging: {level: debug}\n")
    loaded = sources.read(str(tmp_path / "d"), str(tmp_path / "process.yaml"))
    assert loaded.config.logging.level == "debug"


def test_an_empty_path_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(TUNNEL.format(port=1))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="-c: the path is empty - name a file or a directory"):
        sources.read("")


def test_an_empty_directory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration in this directory - put NAME\.yaml"):
        sources.read(str(tmp_path))


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(3 * 1024**3)
    with pytest.raises(ConfigError, match="larger than"):
        sources.read(str(huge))
