"""The store on real (temporary) files: what is read together belongs together; what cannot be read is named."""

import errno
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mtls_tunnel.config.schema import Tls, TrustDomain
from mtls_tunnel.errors import MaterialError
from mtls_tunnel.trust import store
from support.clock import NOW
from support.disk import Certbot, Volume
from support.pki import Folder


def no_pause(seconds: float) -> None:
    """Stands in for time.sleep."""


def huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 65 << 20)


@pytest.fixture
def files(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "pki", now=NOW)


@pytest.fixture
def tls(files: Folder) -> Tls:
    return Tls(files.server.cert, files.server.key, (files.ca,))


def problems_of(tls: Tls) -> list[str]:
    with pytest.raises(MaterialError) as caught:
        store.read(tls, pause=no_pause)
    return [str(problem) for problem in caught.value.problems]


def test_every_file_is_read_whole_and_named_as_configured(files: Folder, tls: Tls) -> None:
    read = store.read(replace(tls, trust=(TrustDomain("example.org", (files.ca,)),)))
    assert (read.cert.path, read.cert.content) == (files.server.cert, files.server_credential.cert_pem)
    assert (read.key.path, read.key.content) == (files.server.key, files.server_credential.key_pem)
    assert [file.content for file in read.ca] == [files.authority.pem]
    assert [(domain, [file.content for file in cas]) for domain, cas in read.trust] == [
        ("example.org", [files.authority.pem])
    ]
    assert read.crls is None


def test_load_gives_material_of_a_good_set(files: Folder, tls: Tls) -> None:
    assert store.load(tls, now=NOW, strict=True).leaf == files.server_credential.certificate


def test_all_missing_files_are_named_at_once_each_with_what_it_should_be(tls: Tls) -> None:
    missing = Tls("no/cert.pem", "no/key.pem", ("no/ca.pem", "no/ca2.pem"), crl="no/crl.pem")
    assert problems_of(missing) == [
        "tls.cert: no such file: no/cert.pem - the certificate that this side presents",
        "tls.key: no such file: no/key.pem - the private key of tls.cert",
        "tls.ca: no such file: no/ca.pem - the CA bundle that signs the peers",
        "tls.ca: no such file: no/ca2.pem - the CA bundle that signs the peers",
        "tls.crl: no such file: no/crl.pem - the revocation list, a file or a directory of them",
    ]


def test_a_missing_file_counts_once_however_often_it_is_named(tls: Tls) -> None:
    assert len(problems_of(replace(tls, ca=("no.pem", "no.pem")))) == 1


def test_the_place_of_the_section_stands_in_the_problem() -> None:
    with pytest.raises(MaterialError, match=r"^outbound\.cert: no such file: none\.pem"):
        store.read(Tls("none.pem", "none.pem", ()), place="outbound")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda path: path.write_bytes(b""), "tls.ca: empty file: {}", id="empty"),
        pytest.param(lambda path: path.mkdir(), "tls.ca: a directory, not a file: {}", id="directory"),
        pytest.param(os.mkfifo, "tls.ca: not a regular file: {}", id="named pipe"),
        pytest.param(lambda path: path.symlink_to(path), "tls.ca: cannot be read: {}: Too many levels", id="link loop"),
        pytest.param(lambda path: path.symlink_to("nowhere"), "tls.ca: no such file: {}", id="dangling link"),
        pytest.param(huge_file, "tls.ca: larger than 64", id="huge"),
    ],
)
def test_what_is_no_readable_file_is_said_so(
    tmp_path: Path, tls: Tls, make: Callable[[Path], object], text: str
) -> None:
    path = tmp_path / "odd"
    make(path)
    (problem,) = problems_of(replace(tls, ca=(str(path),)))
    assert problem.startswith(text.format(path))


def test_a_file_that_the_tunnel_may_not_read_names_the_user_who_must_be_let(files: Folder, tls: Tls) -> None:
    def closed_key(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "server-key.pem":
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.open(path, flags, dir_fd=dir_fd)

    with pytest.raises(MaterialError) as caught:
        store.read(tls, open_file=closed_key, pause=no_pause)
    remedy = f"let user {os.geteuid()}, who runs the tunnel, read it"
    assert str(caught.value) == f"tls.key: permission denied: {files.server.key} - {remedy}"


def test_a_path_with_a_nul_is_refused_in_words(tls: Tls) -> None:
    (problem,) = problems_of(replace(tls, ca=("a\0b",)))
    assert problem.startswith("tls.ca: cannot be read: a\0b")


@pytest.mark.parametrize(
    ("mode", "others"),
    [(0o600, False), (0o400, False), (0o440, False), (0o640, False), (0o644, True), (0o444, True), (0o604, True)],
    ids=oct,
)
def test_only_others_count_as_others(files: Folder, tls: Tls, mode: int, others: bool) -> None:
    """A Kubernetes volume with an fsGroup shows keys as 0440 or 0640: the group is the pod itself."""
    Path(files.server.key).chmod(mode)
    read = store.read(tls)
    assert (read.key.readable_by_others, read.cert.readable_by_others) == (others, False)


def test_in_a_kubernetes_volume_everybody_is_the_pod_itself(files: Folder, tls: Tls, tmp_path: Path) -> None:
    """Without an fsGroup a container of another user reads nothing but what everybody may read."""
    held = {name: Path(path).read_bytes() for name, path in (("crt", files.server.cert), ("key", files.server.key))}
    volume = Volume(tmp_path / "volume", held, mode=0o444)

    read = store.read(replace(tls, cert=volume["crt"], key=volume["key"]))
    assert not read.key.readable_by_others


def test_a_directory_of_crls_is_read_in_name_order_without_what_is_none(files: Folder, tls: Tls) -> None:
    folder = files.path / "crls"
    folder.mkdir()
    for name in ("b.crl", "a.pem", "c.der", "notes.txt", ".hidden.pem"):
        (folder / name).write_bytes(name.encode())
    (folder / "sub.pem").mkdir()
    crls = store.read(replace(tls, crl=str(folder))).crls
    assert crls is not None
    assert [file.content for file in crls] == [b"a.pem", b"b.crl", b"c.der"]


def test_an_empty_directory_of_crls_is_no_crl_rather_than_no_check(files: Folder, tls: Tls) -> None:
    (files.path / "crls").mkdir()
    assert store.read(replace(tls, crl=str(files.path / "crls"))).crls == ()


def test_a_directory_that_allows_passage_but_no_listing_is_enough(files: Folder, tls: Tls) -> None:
    files.path.chmod(0o100)
    try:
        assert store.read(tls).cert.content == files.server_credential.cert_pem
    finally:
        files.path.chmod(0o700)


def test_the_paths_to_watch_are_named_once_each(files: Folder, tls: Tls) -> None:
    both = replace(tls, crl="crls", trust=(TrustDomain("example.org", (files.ca, "other.pem")),))
    assert sorted(store.paths(both)) == sorted([files.server.cert, files.server.key, files.ca, "crls", "other.pem"])


class Interruption:
    """os.open, but before the nth call somebody changes the files."""

    def __init__(self, at: int, change: Callable[[], None]) -> None:
        self.left = at
        self.change = change

    def __call__(self, path: str, flags: int, *, dir_fd: int | None = None) -> int:
        self.left -= 1
        if self.left == 0:
            self.change()
        return os.open(path, flags, dir_fd=dir_fd)


MOMENTS = range(1, 9)  # three files and one or two directories, and again if it is read a second time


@pytest.mark.parametrize("at", MOMENTS)
def test_a_volume_swapped_at_any_moment_never_gives_a_mixed_set(tmp_path: Path, at: int) -> None:
    names = ("tls.crt", "tls.key", "ca.crt")
    volume = Volume(tmp_path / "tls", dict.fromkeys(names, b"generation 1"))
    swap = Interruption(at, lambda: volume.publish(dict.fromkeys(names, b"generation 2")))
    tls = Tls(volume["tls.crt"], volume["tls.key"], (volume["ca.crt"],))
    read = store.read(tls, open_file=swap, pause=no_pause)
    wanted = b"generation 1" if swap.left > 0 else b"generation 2"
    assert [read.cert.content, read.key.content, read.ca[0].content] == [wanted] * 3


@pytest.mark.parametrize("at", MOMENTS)
def test_files_moved_over_at_any_moment_never_give_a_mixed_set(tmp_path: Path, at: int) -> None:
    paths = [tmp_path / name for name in ("cert", "key", "ca")]
    for path in paths:
        path.write_bytes(b"old")

    def move_over() -> None:
        for path in paths:
            path.with_suffix(".new").write_bytes(b"new")
            path.with_suffix(".new").rename(path)

    cert, key, ca = map(str, paths)
    read = store.read(Tls(cert, key, (ca,)), open_file=Interruption(at, move_over), pause=no_pause)
    assert len({read.cert.content, read.key.content, read.ca[0].content}) == 1


@pytest.mark.parametrize("at", MOMENTS)
def test_a_directory_of_crls_that_changes_is_read_again(files: Folder, tls: Tls, at: int) -> None:
    folder = files.path / "crls"
    folder.mkdir()
    (folder / "1.pem").write_bytes(b"1")

    def exchange() -> None:
        (folder / "2.pem").write_bytes(b"2")
        (folder / "1.pem").unlink()

    crls = store.read(replace(tls, crl=str(folder)), open_file=Interruption(at, exchange), pause=no_pause).crls
    assert crls is not None
    assert [file.content for file in crls] in ([b"1"], [b"2"])


def test_files_that_never_hold_still_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "busy"
    path.write_bytes(b"0")
    turn = itertools.count(1)

    def busy(name: str, flags: int, *, dir_fd: int | None = None) -> int:
        path.write_bytes(b"x" * next(turn))
        return os.open(name, flags, dir_fd=dir_fd)

    with pytest.raises(MaterialError, match="keep changing"):
        store.read(Tls(str(path), str(path), ()), open_file=busy, pause=no_pause)


def test_certbot_links_are_followed(tmp_path: Path) -> None:
    certbot = Certbot(tmp_path, {"fullchain": b"cert", "privkey": b"key", "chain": b"ca"})
    read = store.read(Tls(certbot["fullchain"], certbot["privkey"], (certbot["chain"],)))
    assert (read.cert.content, read.key.content) == (b"cert", b"key")


def test_no_descriptor_stays_open(files: Folder, tls: Tls) -> None:
    before = os.listdir("/proc/self/fd")
    store.read(tls)
    problems_of(replace(tls, key="no.pem"))
    assert os.listdir("/proc/self/fd") == before
