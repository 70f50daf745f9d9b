"""The file of routes: what is wrong in it ends the start; later it changes nothing, and is said once."""

import base64
from pathlib import Path

import pytest

from support.routed import ORG, USER, Routed
from support.routes import FileRoutes
from support.tunnels import command, write_settings
from support.waiting import eventually

KEPT = 'level=ERROR msg="router: routes not reloaded, keeping those in use"'
BROKEN = [
    pytest.param("users: [", "yaml|expected|flow", id="no YAML"),
    pytest.param("", "is empty", id="empty"),
    pytest.param("users:\n- {user_id: u, org_id: o}\n- {user_id: u, org_id: p}\n", "stands twice", id="a key twice"),
    pytest.param("users: []\nusers: []\n", "twice|duplicate", id="a list twice"),
    pytest.param("users:\n- {user_id: u, orgid: o}\n", "orgid", id="a misspelt column"),
    pytest.param(
        "backend_hosts:\n- {connect_id: h, internal_ip_addr: 'a:b:c', org_id: o}\n", "internal_ip_addr", id="no address"
    ),
    pytest.param("users:\n- {user_id: u, org_id: o, public_keys: ['?']}\n", "base64", id="no base64"),
]


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> FileRoutes:
    return FileRoutes(tmp_path / "routes.yaml")


def test_a_broken_file_keeps_the_last_good_one(tmp_path: Path, file: FileRoutes) -> None:
    with Routed(tmp_path, file) as routed:
        for number, case in enumerate(BROKEN):
            text, _ = map(str, case.values)
            file.path.write_text(text)
            routed.tunnel.wait_for_line(KEPT, times=number + 1)
            assert routed.lets_in(), case.id
        file.path.unlink()
        routed.tunnel.wait_for_line(KEPT, times=len(BROKEN) + 1)
        assert routed.lets_in()
        routed.put_host(user_ids=[])
        eventually(lambda: not routed.lets_in(), "the file counts once it is whole again")
        assert routed.tunnel.alive


@pytest.mark.parametrize(("text", "why"), BROKEN)
def test_a_broken_file_ends_the_start(tmp_path: Path, file: FileRoutes, text: str, why: str) -> None:
    routed = Routed(tmp_path, file)
    with routed:
        settings = routed.tunnel.settings
    file.path.write_text(text)
    ended = command("run", "-c", write_settings(tmp_path / "again.yaml", settings))
    assert ended.returncode == 2
    assert str(file.path) in ended.stderr
    assert any(word in ended.stderr for word in why.split("|")), ended.stderr


def test_every_column_of_the_tables_may_stand_there(tmp_path: Path, file: FileRoutes) -> None:
    key = base64.b64encode(b"ssh-ed25519 AAAA").decode()
    file.put("users", user_id="ann", org_id=ORG, public_keys=[key])
    routed = Routed(tmp_path, file)
    routed.put_host("with-user", host_user="root", user_ids=["ann", USER])
    with routed:
        assert routed.lets_in(routed.person("ann"), "with-user")


def test_a_volume_that_is_swapped_whole_counts(tmp_path: Path, file: FileRoutes) -> None:
    """As Kubernetes writes a ConfigMap or Secret: a link to another folder."""
    volume, old, new = tmp_path / "volume", tmp_path / "..1", tmp_path / "..2"
    for folder in (volume, old, new):
        folder.mkdir()
    routed = Routed(tmp_path, file)
    routed.put_host()
    file.put("users", user_id=USER, org_id=ORG)
    (old / "routes.yaml").write_text(file.path.read_text())
    (new / "routes.yaml").write_text("users: []\nteams: []\nbackend_hosts: []\n")
    (volume / "..data").symlink_to(old)
    (volume / "routes.yaml").symlink_to("..data/routes.yaml")
    routed.over = {"router": {"store": {"file": str(volume / "routes.yaml")}}}
    with routed:
        assert routed.lets_in()
        (volume / "..next").symlink_to(new)
        (volume / "..next").rename(volume / "..data")
        eventually(lambda: not routed.lets_in(), "the new folder counts")
