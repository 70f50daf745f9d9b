"""The same cluster as a container, where Docker or Podman and kind are: kind-config.yaml says what it is like.

kind pulls its node image, so a machine without a registry is not enough.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from build_image import ROOT, Failed, Image, Unavailable, engine
from local_cluster.images import save

NAME = "mtls-tunnel"  # as in kind-config.yaml
SECONDS = 600


def usable() -> bool:
    """Whether `kind` is installed and an engine works here."""
    try:
        return shutil.which("kind") is not None and engine() in ("docker", "podman")
    except Unavailable:
        return False


def is_up(folder: Path) -> bool:
    """Whether the cluster of this folder is a kind cluster that exists."""
    return usable() and (folder / "kubeconfig").exists() and NAME in _kind("get", "clusters").split()


def up(folder: Path) -> Path:
    """Create the cluster unless it exists; return its kubeconfig."""
    kubeconfig = folder / "kubeconfig"
    folder.mkdir(parents=True, exist_ok=True)
    if NAME not in _kind("get", "clusters").split():
        words = ["--config", str(ROOT / "kind-config.yaml"), "--wait", f"{SECONDS}s"]
        _kind("create", "cluster", *words, "--kubeconfig", str(kubeconfig))
    else:
        _kind("export", "kubeconfig", "--name", NAME, "--kubeconfig", str(kubeconfig))
    return kubeconfig


def load(tag: str) -> None:
    """An archive is what both engines can hand over."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        save(Image(engine(), tag), archive)
        _kind("load", "image-archive", str(archive), "--name", NAME)


def down(folder: Path) -> None:
    _kind("delete", "cluster", "--name", NAME)
    (folder / "kubeconfig").unlink(missing_ok=True)


def _kind(*words: str) -> str:
    chosen = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": engine()}
    done = subprocess.run(["kind", *words], capture_output=True, text=True, check=False, env=chosen)
    if done.returncode:
        raise Failed(f"kind {' '.join(words)} failed:\n{done.stderr[-4000:]}")
    return done.stdout
