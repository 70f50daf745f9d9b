"""The example configurations as they are in the repository, on ports that are free here.

Only the ports are changed: every `127.0.0.1:PORT` of the files gets another number, the same one everywhere.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from support.ports import free_port
from support.processes import REPOSITORY

EXAMPLES = REPOSITORY / "tunnel" / "examples"
_ADDRESS = re.compile(r"(127\.0\.0\.1|0\.0\.0\.0):(\d+)")


def example_copy(name: str, folder: Path) -> Path:
    """A copy of one example's folder to work in."""
    return Path(shutil.copytree(EXAMPLES / name, folder / name))


def moved(folder: Path, *, keep: Mapping[int, int] | None = None) -> dict[int, int]:
    """Move the *.yaml files of *folder* to free ports; *keep* says where some of them must lead.

    The result maps each port of the example to the one in use now.
    """
    ports = dict(keep or {})

    def other(match: re.Match[str]) -> str:
        port = ports.setdefault(int(match[2]), free_port())
        return f"127.0.0.1:{port}"

    for path in sorted(folder.glob("*.yaml")):
        path.write_text(_ADDRESS.sub(other, path.read_text()))
    return ports
