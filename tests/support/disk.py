"""Writers that change files the way the world does: kubelet, certbot, and a disk that exists only in memory.

`Volume` is a Kubernetes Secret volume with kubelet's `..data` swap; `Certbot` keeps live/ links into archive/;
`FakeDisk` gives `watch` something to look at and listen to without files, on virtual time.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mtls_tunnel.trust.sighting import Plan, Sighting


class Volume:
    """A mounted Secret or ConfigMap: `publish` replaces its whole content at once, as kubelet does."""

    def __init__(self, root: Path, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        self.root = root
        self._mode = mode
        self._generation = itertools.count(1)
        root.mkdir(parents=True)
        self.publish(files)

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Write a new dated directory, rename a new `..data` over the old one, then remove the old directory."""
        data = self.root / "..data"
        old = os.readlink(data) if data.is_symlink() else None
        new = self.root / f"..2026_11_21_12_00_00.{next(self._generation):09d}"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
            (new / name).chmod(self._mode)
        (self.root / "..data_tmp").symlink_to(new.name)
        (self.root / "..data_tmp").rename(data)
        for name in files:
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"..data/{name}")
        if old:
            shutil.rmtree(self.root / old)

    def __getitem__(self, name: str) -> str:
        return str(self.root / name)


class Certbot:
    """/etc/letsencrypt in small: live/NAME/*.pem are links to archive/NAME/*N.pem, moved one by one."""

    def __init__(self, root: Path, files: Mapping[str, bytes]) -> None:
        self.live = root / "live" / "site"
        self._archive = root / "archive" / "site"
        self._number = 0
        self.live.mkdir(parents=True)
        self._archive.mkdir(parents=True)
        self.renew(files)

    def renew(self, files: Mapping[str, bytes]) -> None:
        self._number += 1
        for name, content in files.items():
            (self._archive / f"{name}{self._number}.pem").write_bytes(content)
        for name in files:
            link = self.live / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/site/{name}{self._number}.pem")

    def __getitem__(self, name: str) -> str:
        return str(self.live / f"{name}.pem")


class FakeDisk:
    """Contents by path, an ear that hears of every `write`, and limits that can be switched on."""

    def __init__(self, **contents: str) -> None:
        self.contents = dict(contents)
        self.writing = False
        self.quiet = False  # nobody hears of writes, as on a network file system
        self.listeners = 0  # open at this moment
        self.no_watches: OSError | None = None
        self.no_look: OSError | None = None
        self.looks = 0
        self._heard: Callable[[], None] | None = None

    def write(self, path: str, content: str) -> None:
        self.contents[path] = content
        if self._heard is not None and not self.quiet:
            self._heard()

    def look(self, paths: Iterable[str]) -> Sighting:
        self.looks += 1
        if self.no_look is not None:
            raise self.no_look
        return Sighting({path: (self.contents.get(path),) for path in paths}, {})

    def listen(self, plan: Plan, heard: Callable[[], None]) -> "FakeListener":
        if self.no_watches is not None:
            raise self.no_watches
        self._heard = heard
        self.listeners += 1
        return FakeListener(self)


class FakeListener:
    stale = False

    def __init__(self, disk: FakeDisk) -> None:
        self._disk = disk

    @property
    def writing(self) -> bool:
        return self._disk.writing

    def close(self) -> None:
        self._disk.listeners -= 1
