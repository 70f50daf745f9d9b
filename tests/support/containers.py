"""The image as a child process: run by docker or podman, or, where there is no engine, by runc itself.

Whatever runs it, it gets what a hardened host gives: a read-only root, no capability, no new privileges,
the numeric user of the image, and only the files that the test mounts.  It shares the host's network, so
that its ports are the test's loopback ports.
"""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from build_image import CACHE, Image, buildah, settings
from support.processes import Child

_numbers = itertools.count()
_SHARED = ("pid", "ipc", "uts", "mount")  # new ones; the network is the host's


class Unpacked:
    """The root file system of an image, for runc.  With an engine there is nothing to unpack."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.settings = settings(image)
        self.root = Path()

    def __enter__(self) -> Self:
        if self.image.engine == "buildah":
            self._name = _answer([*buildah(), "from", self.image.tag])
            self.root = Path(_answer([*buildah(), "mount", self._name]))
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.image.engine == "buildah":
            _answer([*buildah(), "rm", self._name])


class Container(Child):
    """A running container.  *mounts* maps paths inside to files or folders of the host, all read-only."""

    def __init__(
        self,
        unpacked: Unpacked,
        bundle: Path,
        arguments: Sequence[str],
        mounts: Mapping[str, Path] | None = None,
        *,
        entrypoint: str = "tunnel",
    ) -> None:
        self.name = f"mtls-tunnel-test-{os.getpid()}-{next(_numbers)}"
        self.engine = unpacked.image.engine
        if self.engine == "buildah":
            bundle.mkdir()
            spec = runtime_spec(unpacked, [entrypoint, *arguments], mounts or {})
            (bundle / "config.json").write_text(json.dumps(spec))
            super().__init__([*runc(), "run", "--bundle", bundle, self.name])
        else:
            volumes = [f"--volume={outside}:{inside}:ro" for inside, outside in (mounts or {}).items()]
            hardened = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host"]
            chosen = [f"--name={self.name}", f"--entrypoint={entrypoint}", *volumes, unpacked.image.tag]
            super().__init__([self.engine, "run", "--rm", *hardened, *chosen, *arguments])

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run *command* inside, as the image's user."""
        if self.engine == "buildah":
            words = [*runc(), "exec", self.name, *command]
        else:
            words = [self.engine, "exec", self.name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    def stop(self) -> int:
        code = super().stop()
        # What was killed from outside may have left its container behind.
        remove = [*runc(), "delete"] if self.engine == "buildah" else [self.engine, "rm"]
        subprocess.run([*remove, "--force", self.name], capture_output=True, check=False)
        return code


def runc() -> list[str]:
    """The command with a state folder of ours."""
    found = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found, "build_image.engine() has looked for it"
    return [found, "--root", f"{CACHE}/runc"]


def runtime_spec(unpacked: Unpacked, words: Sequence[str], mounts: Mapping[str, Path]) -> dict[str, object]:
    """What runc is told: the image's own settings, hardened (OCI runtime specification 1.0.2)."""
    user, _, group = str(unpacked.settings["User"]).partition(":")
    none: list[str] = []
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    ]
    ours = [
        {"destination": inside, "type": "none", "source": str(outside), "options": ["bind", "ro", "nosuid", "nodev"]}
        for inside, outside in mounts.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(user), "gid": int(group)},
            "args": [*words],
            "env": unpacked.settings["Env"],
            "cwd": unpacked.settings["WorkingDir"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), none),
            "noNewPrivileges": True,
        },
        "root": {"path": str(unpacked.root), "readonly": True},
        "hostname": "container",
        "mounts": [*system, *ours],
        "linux": {
            "namespaces": [{"type": name} for name in _SHARED],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger"],
            "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"],
        },
    }


def _answer(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
