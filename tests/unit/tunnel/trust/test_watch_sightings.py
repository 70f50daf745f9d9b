"""What watched paths look like: which changes make a difference, and which directories have to be listened to."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mtls_tunnel.trust.places import Tracer
from mtls_tunnel.trust.sighting import Interest, look
from support.disk import Certbot, Volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf" / "orders").mkdir(parents=True)
    (tmp_path / "conf" / "a.yaml").write_text("a")
    (tmp_path / "conf" / "orders" / "tunnel.yaml").write_text("t")
    (tmp_path / "conf" / "tunnel.log").write_text("log")
    return tmp_path / "conf"


def rewrite_with_the_old_time(path: Path) -> None:
    before = path.stat()
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: (d / "a.yaml").write_text("b"), id="written, same size"),
        pytest.param(lambda d: rewrite_with_the_old_time(d / "a.yaml"), id="written, time put back"),
        pytest.param(lambda d: (d / "a.yaml").chmod(0o600), id="chmod"),
        pytest.param(lambda d: (d / "a.yaml").unlink(), id="removed"),
        pytest.param(lambda d: (d / "b.yaml").touch(), id="another file"),
        pytest.param(lambda d: (d / "orders" / "tunnel.yaml").write_text("u"), id="a file one level down"),
        pytest.param(lambda d: (d / "orders").rename(d / "sales"), id="a directory renamed"),
        pytest.param(lambda d: (d / "link.yaml").symlink_to("nowhere"), id="a dangling link"),
        pytest.param(lambda d: d.rename(d.with_name("gone")), id="the directory is gone"),
    ],
)
def test_these_make_a_difference(folder: Path, change: Callable[[Path], object]) -> None:
    before = look([str(folder)])
    change(folder)
    assert look([str(folder)]).changed_since(before) == {str(folder)}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: None, id="nothing"),
        pytest.param(lambda d: (d / "a.yaml").read_text(), id="read"),
        pytest.param(lambda d: (d / "tunnel.log").write_text("more"), id="a log in the same place"),
        pytest.param(lambda d: (d / ".a.yaml.swp").touch(), id="an editor's file"),
        pytest.param(lambda d: (d / "a.yaml~").touch(), id="a backup"),
        pytest.param(lambda d: (d / "orders" / "deep").mkdir(), id="a directory two levels down"),
    ],
)
def test_these_make_none(folder: Path, change: Callable[[Path], object]) -> None:
    before = look([str(folder)])
    change(folder)
    assert look([str(folder)]).changed_since(before) == frozenset()


def test_a_volume_is_listened_to_at_its_link_and_at_its_generation(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "tls", {"tls.crt": b"1"})
    generation = os.path.realpath(volume.root / "..data")
    plan = look([volume["tls.crt"]]).plan
    assert plan[str(volume.root)] == Interest({"tls.crt", "..data"})
    assert plan[generation] == Interest({"tls.crt"})
    assert plan[str(tmp_path)] == Interest()


def test_certbots_links_are_listened_to_on_both_ends(tmp_path: Path) -> None:
    certbot = Certbot(tmp_path, {"fullchain": b"1"})
    plan = look([certbot["fullchain"]]).plan
    assert plan[str(tmp_path / "live" / "site")].names == {"fullchain.pem"}
    assert plan[str(tmp_path / "archive" / "site")].names == {"fullchain1.pem"}


def test_what_does_not_exist_yet_is_waited_for_where_the_path_ends_now(tmp_path: Path) -> None:
    plan = look([str(tmp_path / "not" / "yet" / "a.pem")]).plan
    assert plan[str(tmp_path)] == Interest({"not"})


def test_a_link_that_leads_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert Tracer().trace(str(tmp_path / "a")).error == errno.ELOOP


@pytest.mark.parametrize(
    "path", ["dir/../file", "./file", "dir/link", "link", "dir//up/file", "absolute"], ids=lambda path: path
)
def test_a_path_is_followed_to_where_the_kernel_leads(tmp_path: Path, path: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("dir/../file")
    (tmp_path / "dir" / "link").symlink_to("../link")
    (tmp_path / "dir" / "up").symlink_to("..")
    (tmp_path / "absolute").symlink_to(tmp_path / "dir" / "link")
    place = Tracer(cwd=str(tmp_path)).trace(path)
    assert (place.error, place.real) == (0, os.path.realpath(tmp_path / path))


def test_a_link_that_two_paths_share_is_read_once(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "tls", {"tls.crt": b"1", "tls.key": b"1"})
    tracer = Tracer()
    cert = tracer.trace(volume["tls.crt"])
    volume.publish({"tls.crt": b"2", "tls.key": b"2"})
    key = tracer.trace(volume["tls.key"])
    assert os.path.dirname(cert.real) == os.path.dirname(key.real)
    assert key.error == errno.ENOENT  # gone, rather than of another generation


@pytest.mark.parametrize(
    ("name", "is_write", "counts"),
    [
        ("a.yaml", True, True),
        ("a.log", True, False),
        ("a.log", False, True),
        (".a.yaml", False, False),
        ("..data", False, True),
    ],
)
def test_newcomers_count_by_name(name: str, is_write: bool, counts: bool) -> None:
    assert Interest({"..data"}, newcomers=True).covers(name, is_write=is_write) is counts
