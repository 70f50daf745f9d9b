"""`make image`: the Dockerfile becomes an image, with whatever this machine has.

Docker or Podman if one works; else buildah in a chroot (root, no daemon, no registry): the base is then a
minimal Debian 13 made by debootstrap, built once a month and kept with buildah's storage in the cache
folder, outside the repository.  Where the host reaches its package index through a certificate authority
of its own, that trust is lent to the build steps as mounts; nothing of it stays in the image.

`open_image` is for the tests: it builds if needed and says how the result can be run.
"""

import argparse
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtls-tunnel"
SUITE = "trixie"
BASE = f"localhost/mtls-tunnel-base:{SUITE}"
BASE_DAYS = 30
KEPT_STEPS = 100
TUNNEL = ("Dockerfile", "tunnel", "scripts/healthcheck.py")
CONTEXT = {"tunnel": TUNNEL, "operator": (*TUNNEL, "operator")}  # what a target is made from
TRUST = ("/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates")
HOW = "needs a working docker or podman, or root with: apt-get install buildah runc debootstrap"


class Unavailable(Exception):
    """This machine cannot build or run images; the text says what it lacks."""


class Failed(Exception):
    """A tool that is there did not do its work; the text is its last words."""


@dataclass(frozen=True)
class Image:
    """An image that `engine` knows by `tag`."""

    engine: str  # docker, podman or buildah
    tag: str


def engine() -> str:
    """Name what can build here; a client without its daemon does not count."""
    for name in ("docker", "podman"):
        if shutil.which(name) and not subprocess.run([name, "info"], capture_output=True, check=False).returncode:
            return name
    tools = all(shutil.which(name, path=_path()) for name in ("buildah", "runc", "debootstrap"))
    if tools and os.geteuid() == 0:
        return "buildah"
    raise Unavailable(HOW)


def open_image(tag: str, target: str = "tunnel") -> Image:
    """Build *target* as *tag*, unless the same sources have been built as that already."""
    chosen = engine()
    if chosen != "buildah":
        _run([chosen, "build", "--quiet", "--target", target, "--tag", tag, str(ROOT)])
        return Image(chosen, tag)
    with _alone():
        _build(tag, target)
    return Image(chosen, tag)


def _build(tag: str, target: str) -> None:
    base = _base()
    mark = f"localhost/mtls-tunnel-built:{target}-{_digest(base, target)}"
    if not _id(mark):
        started = time.monotonic()
        # The OCI form of an image knows no HEALTHCHECK.
        how = ["--quiet", "--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={BASE}", *_trust()]
        how += ["--layers"] if "overlay" in buildah() else []
        _run([*buildah(), "bud", *how, "--target", target, "--tag", mark, str(ROOT)])
        # Only now, as this one may have started from its steps; one that a container or a tag still uses stays.
        for old in set(_marks(target)) - {mark}:
            subprocess.run([*buildah(), "rmi", old], capture_output=True, check=False)
        print(f"built {target} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    _run([*buildah(), "tag", mark, tag])
    # What tags stood for before, and steps that the next build may start from: they go when they have become many.
    if "vfs" in buildah() or len(_run([*buildah(), "images", "--all", "--quiet"]).split()) > KEPT_STEPS:
        subprocess.run([*buildah(), "rmi", "--prune"], capture_output=True, check=False)


@functools.cache
def buildah() -> tuple[str, ...]:
    """The command and the storage that is ours: layers where the kernel can stack them here, else whole copies."""
    layered = _storage("overlay")
    asked = subprocess.run([*layered, "info"], capture_output=True, check=False, env={**os.environ, "PATH": _path()})
    return layered if asked.returncode == 0 else _storage("vfs")


def _storage(driver: str) -> tuple[str, ...]:
    where = f"{CACHE}/storage-{driver}"
    return ("buildah", "--storage-driver", driver, "--root", where, "--runroot", f"{CACHE}/run-{driver}")


def settings(image: Image) -> dict[str, Any]:
    """What the image says of itself: Entrypoint, Env, User, Healthcheck..."""
    if image.engine != "buildah":
        answer = json.loads(_run([image.engine, "image", "inspect", image.tag]))[0]["Config"]
    else:
        answer = json.loads(_run([*buildah(), "inspect", "--type", "image", image.tag]))["Docker"]["config"]
    return dict(answer)


def _base() -> str:
    """Return the id of the Debian base, made anew when it is older than a month of security fixes."""
    stamp = CACHE / f"{SUITE}.made"
    if (known := _id(BASE)) and stamp.exists() and time.time() - stamp.stat().st_mtime < BASE_DAYS * 86400:
        return known
    print(f"making a Debian {SUITE} base, once; this takes a minute or two", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder, "root")
        include = "--include=python3,python3-venv,ca-certificates"
        _run(["nice", "-n", "10", "debootstrap", "--variant=minbase", include, SUITE, str(root)])
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / waste, ignore_errors=True)
        Path(folder, "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
        _run([*buildah(), "bud", "--quiet", "--isolation", "chroot", "--tag", BASE, folder])
    stamp.touch()
    return _id(BASE)


def _trust() -> list[str]:
    mounts = [f"{folder}:{folder}:ro" for folder in TRUST if Path(folder).is_dir()]
    return [word for mount in mounts for word in ("--volume", mount)]


def _digest(base: str, target: str) -> str:
    digest = hashlib.sha256(base.encode())
    for name in CONTEXT[target]:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _alone() -> Iterator[None]:
    """One build at a time: what one prunes at its end another may be building upon."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "images.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _id(tag: str) -> str:
    asked = subprocess.run([*buildah(), "images", "--quiet", tag], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _marks(target: str) -> list[str]:
    listed = json.loads(_run([*buildah(), "images", "--json"]) or "null") or []
    names = [name for image in listed for name in image.get("names") or []]
    return [name for name in names if name.startswith(f"localhost/mtls-tunnel-built:{target}-")]


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where Debian keeps what only root runs


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": _path()})
    if done.returncode:
        raise Failed(f"{' '.join(command[:8])}... failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="build the container image")
    parser.add_argument("--tag", default="mtls-tunnel:dev")
    parser.add_argument("--target", default="tunnel", choices=CONTEXT)
    chosen_words = parser.parse_args()
    try:
        made = open_image(chosen_words.tag, chosen_words.target)
        print(f"{made.tag}, known to {made.engine}")
    except (Unavailable, Failed) as error:
        sys.exit(str(error))
