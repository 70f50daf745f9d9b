"""What `-c` and `--process` name becomes configuration texts: one file, or the files of a directory.

A directory stands for `DIR/*.yaml` and `DIR/*/tunnel.yaml`, without hidden ones and in name order; paths
inside those files are relative to the file that holds them.  Paths of a single file stay relative to the
working directory, as in mtlsd.  What the texts mean is `config.load`'s business.
"""

import argparse
from pathlib import Path

from mtls_tunnel.config.load import Loaded, Source, load
from mtls_tunnel.errors import ConfigError, Problem

MAX_BYTES = 4 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say where the configuration is, for every command that takes one."""
    parser.add_argument("-c", "--config", metavar="FILE", required=True, help="a configuration file or directory")
    parser.add_argument("--process", metavar="FILE", default="", help="where the process-wide sections come from")


def read(path: str, process: str = "") -> Loaded:
    """Read and judge the configuration that *path* names, with process-wide sections from *process*.

    Raises:
        ConfigError: a file is missing, unreadable, or says something that cannot be taken.
    """
    return load(_sources(path), process=Source.of(process, _content(process)) if process else None)


def files(path: str) -> list[str]:
    """The files that *path* stands for.

    Raises:
        ConfigError: a directory without a single configuration file.
    """
    if not path:
        raise ConfigError(Problem("-c", "", "the path is empty", "name a file or a directory"))
    root = Path(path)
    if not root.is_dir():
        return [path]
    # What is hidden is not meant: a mounted volume's inside, an editor's backup or lock.
    visible = (file for file in root.glob("*.yaml") if not file.name.startswith("."))
    nested = (file for file in root.glob("*/tunnel.yaml") if not file.parent.name.startswith("."))
    found = sorted(str(file) for file in (*visible, *nested))
    if not found:
        raise ConfigError(
            Problem(path, "", "no configuration in this directory", "put NAME.yaml or NAME/tunnel.yaml in it")
        )
    return found


def _sources(path: str) -> list[Source]:
    make = Source.of_directory if Path(path).is_dir() else Source.of
    return [make(file, _content(file)) for file in files(path)]


def watched(path: str, process: str = "") -> list[str]:
    """The paths whose change means that the configuration is to be read again; none where it came from no file."""
    if not path:
        return []
    root = Path(path)
    folders = (
        [str(one) for one in sorted(root.iterdir()) if one.is_dir() and not one.name.startswith(".")]
        if root.is_dir()
        else []
    )
    return [path, *folders, *([process] if process else [])]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(Problem(path, "", "no such file", "give the path of a configuration after -c")) from None
    except OSError as error:
        raise ConfigError(Problem(path, "", f"cannot be read: {error.strerror}", "check its permissions")) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(Problem(path, "", f"larger than {MAX_BYTES} bytes", "is this the right file?"))
    return content
