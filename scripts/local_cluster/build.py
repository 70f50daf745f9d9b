"""The programs of a cluster: Go modules by version and hash become binaries in the cache folder.

Each folder of tests/cluster/node is a Go module of its own, because their dependencies collide.  A binary
is kept under the hash of its go.sum and of the Go that built it, so a build happens once, and an update
of the lock builds anew.  Nothing is fetched but what go.sum names.  Several callers may build at once:
each module has a lock.
"""

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from build_image import CACHE, ROOT, Failed, Unavailable

MODULES = ROOT / "tests" / "cluster" / "node"
PROGRAMS = {
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    "kubelet": ("kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    "kube-controller-manager": ("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": ("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kube-proxy": ("kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
    "coredns": ("coredns", "."),
    "pause": ("pause", "."),
    "helm": ("helm", "helm.sh/helm/v3/cmd/helm"),
    "kubeconform": ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "kwok": ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
}
HOW = (
    "go is missing: install Go 1.26, or an older one from 1.21 on, which fetches it (GOTOOLCHAIN=auto);"
    " on Debian 13: apt-get install golang"
)


def binary(name: str) -> Path:
    """The path of program *name*, built if it is not there yet.

    Raises:
        Unavailable: there is no Go here, even if the program has been built with one before.
        Failed: Go says why.
    """
    module, package = PROGRAMS[name]
    folder = _folder(module)
    made = folder / name
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not made.exists():  # somebody else may have built it while we waited
            _build(module, package, made)
    return made


def build(names: Sequence[str] = ()) -> list[Path]:
    """Build *names*, or all, in the order in which a cluster needs them."""
    return [binary(name) for name in PROGRAMS if not names or name in names]


def version(module: str = "kubernetes") -> str:
    """The release that the go.mod of *module* asks for, as v1.2.3."""
    names = [package for folder, package in PROGRAMS.values() if folder == module]
    required: list[tuple[str, str]] = re.findall(
        r"(?m)^\s*(?:require )?(\S+) (v\S+)(?: // indirect)?$", (MODULES / module / "go.mod").read_text()
    )
    return next(found for path, found in required if any(name.startswith(path) for name in names))


def module_folder(module: str, path: str) -> Path:
    """Where Go keeps the sources of *path*, one of the dependencies of *module*; fetched if they are gone."""
    words = [_go(), "mod", "download", "-json", path]
    done = subprocess.run(words, cwd=MODULES / module, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(words)} failed:\n{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def _build(module: str, package: str, made: Path) -> None:
    print(f"building {made.name}, once", file=sys.stderr, flush=True)
    started = time.monotonic()
    unfinished = made.with_name(f".{made.name}-{os.getpid()}")
    words = ["build", "-mod=readonly", "-trimpath", "-ldflags", _linked(module), "-o", str(unfinished), package]
    done = subprocess.run(
        ["nice", "-n", "5", _go(), *words],
        cwd=MODULES / module,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"go {' '.join(words)} in {module} failed:\n{done.stderr[-4000:]}")
    unfinished.rename(made)
    print(f"built {made.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _linked(module: str) -> str:
    """What the releases' own makefiles tell the linker: without it Kubernetes says v0.0.0, and charts refuse that."""
    words = ["-s", "-w"]
    if module == "kubernetes":
        major, minor, _ = version().removeprefix("v").split(".")
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            facts = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
            words += [f"-X {package}.{key}={value}" for key, value in facts.items()]
    if module == "helm":
        # What `helm template` takes for the cluster's version when it has no cluster to ask.
        major, minor, _ = version().removeprefix("v").split(".")
        words.append(f"-X helm.sh/helm/v3/internal/version.version={version('helm')}")
        for package in ("lint/rules", "chartutil"):
            words.append(f"-X helm.sh/helm/v3/pkg/{package}.k8sVersionMajor={major}")
            words.append(f"-X helm.sh/helm/v3/pkg/{package}.k8sVersionMinor={minor}")
    return " ".join(words)


def _folder(module: str) -> Path:
    digest = hashlib.sha256(_go_version().encode())
    for file in sorted((MODULES / module).iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return CACHE / "bin" / f"{module}-{digest.hexdigest()[:16]}"


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not found:
        raise Unavailable(HOW)
    return found


@functools.cache
def _go_version() -> str:
    asked = subprocess.run([_go(), "env", "GOVERSION"], cwd=MODULES, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the module's lock; the kernel gives it back if we are killed."""
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
