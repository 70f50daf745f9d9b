"""A CA file that is missing, empty or broken: exit 2 with a sentence, nothing listens, no roots of the system.

`tunnel check` says the same.  A directory in place of the file stands for "cannot be read", because root
reads everything else.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.guarded import server_settings
from support.pki import Folder
from support.ports import free_port, listening
from support.tunnels import command, write_settings


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xffnot a certificate\n")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def one_bad_of_two(path: Path) -> None:
    pem = path.read_bytes()
    path.write_bytes(pem + pem.replace(b"MII", b"AAA"))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS = [pytest.param(fault, id=fault.__name__) for fault in (remove, empty, garbage, half, one_bad_of_two, directory)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_it_ends_with_a_sentence_and_exit_code_2(tmp_path: Path, fault: Callable[[Path], None], verb: str) -> None:
    files = Folder(tmp_path / "pki")
    port = free_port()
    path = write_settings(tmp_path / "server.yaml", server_settings(files, port, "127.0.0.1:1"))
    fault(Path(files.ca))
    ended = command(verb, "-c", path, cwd=tmp_path)
    assert ended.returncode == 2
    assert not listening(port)
    assert "Traceback" not in ended.stderr + ended.stdout
    (line,) = [line for line in ended.stderr.splitlines() if "ca.pem" in line]
    assert line.startswith(f"{path}: tls.ca: ") or line.startswith(f"{files.ca}: "), line
