"""In-place writes, mv over, deletion and re-creation, chmod: each is reported, with inotify alone (interval 0)."""

import os
import shutil
from pathlib import Path

import pytest

from support.watching import Watching


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    path = tmp_path / "tls" / "server.pem"
    path.parent.mkdir()
    path.write_text("first")
    return path


def test_a_write_in_place(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        watching.after(lambda: cert.write_text("second"), str(cert))


def test_a_file_moved_over(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        for turn in range(3):
            fresh = cert.with_name(f"fresh{turn}")
            fresh.write_text(f"turn {turn}")
            watching.after(lambda fresh=fresh: fresh.rename(cert), str(cert))  # type: ignore[misc]


def test_a_file_deleted_and_made_again(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        watching.after(cert.unlink, str(cert))
        watching.after(lambda: cert.write_text("again"), str(cert))


def test_a_directory_deleted_and_made_again(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        watching.after(lambda: shutil.rmtree(cert.parent), str(cert))
        cert.parent.mkdir()
        watching.after(lambda: cert.write_text("again"), str(cert))
        watching.after(lambda: cert.write_text("and again"), str(cert))


def test_a_directory_replaced_by_another(cert: Path) -> None:
    fresh = cert.parent.with_name("fresh")
    fresh.mkdir()
    (fresh / cert.name).write_text("other")

    def swap() -> None:
        cert.parent.rename(cert.parent.with_name("old"))
        fresh.rename(cert.parent)

    with Watching(str(cert)) as watching:
        watching.after(swap, str(cert))
        watching.after(lambda: cert.write_text("in the new directory"), str(cert))


def test_the_directory_above_replaced_by_another(tmp_path: Path) -> None:
    for name in ("etc", "fresh"):
        (tmp_path / name / "tls").mkdir(parents=True)
        (tmp_path / name / "tls" / "a.pem").write_text(name)
    path = tmp_path / "etc" / "tls" / "a.pem"

    def swap() -> None:
        (tmp_path / "etc").rename(tmp_path / "old")
        (tmp_path / "fresh").rename(tmp_path / "etc")

    with Watching(str(path)) as watching:
        watching.after(swap, str(path))


def test_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "there.pem"
    with Watching(str(path)) as watching:
        path.parent.mkdir(parents=True)
        watching.after(lambda: path.write_text("now"), str(path))


def test_a_chmod(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        watching.after(lambda: cert.chmod(0o600), str(cert))


def test_a_link_pointed_elsewhere(cert: Path) -> None:
    link = cert.parent.parent / "current.pem"
    link.symlink_to(cert)
    other = cert.with_name("other.pem")
    other.write_text("other")

    def swap() -> None:
        new = link.with_name("new")
        new.symlink_to(other)
        new.rename(link)

    with Watching(str(link)) as watching:
        watching.after(swap, str(link))
        watching.after(lambda: other.write_text("behind the link"), str(link))


def test_only_what_changed_is_named(cert: Path) -> None:
    key = cert.with_name("server-key.pem")
    key.write_text("key")
    with Watching(str(cert), str(key)) as watching:
        key.write_text("new key")
        watching.changed(str(key))
        cert.with_name("unrelated").write_text("x")
        cert.write_text("new cert")
        watching.changed(str(cert))


def test_a_relative_path_is_one_of_the_working_directory(cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cert.parent)
    with Watching("server.pem") as watching:
        watching.after(lambda: cert.write_text("second"), "server.pem")


def test_many_small_writes_are_one_report_of_the_whole(cert: Path) -> None:
    with Watching(str(cert)) as watching:
        with cert.open("w") as file:
            for _ in range(200):
                file.write("line\n")
                file.flush()
                os.fsync(file.fileno())
        watching.changed(str(cert))
        watching.after(lambda: cert.write_text("last"), str(cert))
    assert watching.seen == []
