"""Programs that a test needs from the machine.

A missing one skips the test and says which package has it.
"""

import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

_PLACES = (None, "/usr/sbin:/sbin:/usr/local/sbin")


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the calling test."""
    pytest.skip(f"{what} is missing - {remedy}")


def need(program: str, package: str = "") -> str:
    """The path of *program*, looked for in PATH and where Debian keeps servers."""
    for place in _PLACES:
        if found := shutil.which(program, path=place):
            return found
    missing(program, f"apt-get install {package or program}")


def need_file(path: str, package: str) -> str:
    """*path*, if it is there; a pattern gives the last match in name order."""
    found = sorted(Path("/").glob(path.lstrip("/")))
    if not found:
        missing(path, f"apt-get install {package}")
    return str(found[-1])


def need_free_ports(*ports: int) -> None:
    """Skip where somebody else listens on one of *ports*: the files under test name them."""
    taken = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    if taken:
        missing(f"a free port {', '.join(map(str, taken))}", "stop what listens there")
