"""Kubernetes volumes, certbot's links, and directories of configurations and CRLs."""

from pathlib import Path

from support.disk import Certbot, Volume
from support.watching import Watching


def test_a_kubernetes_volume_is_reported_as_a_whole_for_each_swap(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "tls", {"tls.crt": b"cert 1", "tls.key": b"key 1", "ca.crt": b"ca"})
    paths = (volume["tls.crt"], volume["tls.key"])
    with Watching(*paths) as watching:
        for turn in range(2, 6):
            volume.publish({"tls.crt": b"cert %d" % turn, "tls.key": b"key %d" % turn, "ca.crt": b"ca"})
            watching.changed(*paths)


def test_renewed_certbot_links_are_reported(tmp_path: Path) -> None:
    certbot = Certbot(tmp_path, {"fullchain": b"chain 1", "privkey": b"key 1"})
    paths = (certbot["fullchain"], certbot["privkey"])
    with Watching(*paths) as watching:
        for turn in (b"2", b"3"):
            certbot.renew({"fullchain": b"chain " + turn, "privkey": b"key " + turn})
            watching.changed(*paths)


def test_a_directory_of_crls_is_watched_for_what_comes_and_goes(tmp_path: Path) -> None:
    (tmp_path / "one.crl").write_text("1")
    with Watching(str(tmp_path)) as watching:
        watching.after(lambda: (tmp_path / "two.crl").write_text("2"), str(tmp_path))
        watching.after(lambda: (tmp_path / "two.crl").write_text("3"), str(tmp_path))
        watching.after((tmp_path / "one.crl").unlink, str(tmp_path))


def test_a_directory_of_volumes_notices_a_new_part_and_a_swap_inside_one(tmp_path: Path) -> None:
    with Watching(str(tmp_path)) as watching:
        part = Volume(tmp_path / "orders", {"tunnel.yaml": b"listen: 1"})
        watching.changed(str(tmp_path))
        part.publish({"tunnel.yaml": b"listen: 2"})
        watching.changed(str(tmp_path))


def test_a_directory_that_is_a_volume_itself_notices_its_swap(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "conf", {"a.yaml": b"1", "b.yaml": b"1"})
    with Watching(str(volume.root)) as watching:
        volume.publish({"a.yaml": b"2", "b.yaml": b"1"})
        watching.changed(str(volume.root))
