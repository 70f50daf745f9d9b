"""`.venv` is made once and brought to what a lock says: `python3 scripts/workspace.py runtime | tools | fuzz`.

    runtime   what the tunnel needs, and the command `tunnel` itself: enough for `make demo`
    tools     requirements.lock: all of the above, the operator and the tools; what no lock names is removed
    fuzz      tools and the fuzzer

A stamp named after the hash of the locks says what is there, so that a second call does nothing.  Only pip
and the standard library are used, and nothing without a hash is installed from outside.
"""

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
TOOLS = ["requirements.lock"]
STAGES = {
    "runtime": (["tunnel/requirements.lock", "tunnel/build.lock"], ["tunnel"]),
    "tools": (TOOLS, ["tunnel", "operator"]),
    "fuzz": ([*TOOLS, "requirements-fuzz.lock"], ["tunnel", "operator"]),
}
BELONG = {"mtls-tunnel", "mtls-tunnel-operator", "pip", "setuptools"}


def main(stage: str) -> None:
    """Bring `.venv` to *stage*, unless it is there already."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]}: make PYTHON=..."
        )
    later = list(STAGES)[list(STAGES).index(stage) :]
    if any(_stamp(name).exists() for name in later):
        return
    locks, packages = STAGES[stage]
    if not (VENV / "bin" / "pip").exists():
        _create()
    print(f"installing into .venv: {' '.join(locks)}", flush=True)
    _pip("install", "--require-hashes", *(word for lock in locks for word in ("-r", lock)))
    # The locks hold the build backend too, so that nothing unpinned is fetched to build what is here.
    editable = [word for package in packages for word in ("-e", f"./{package}")]
    _pip("install", "--no-deps", "--no-build-isolation", *editable)
    if stage != "runtime":
        _remove_others()
    for old in VENV.glob(f".stamp-{stage}-*"):
        old.unlink()
    _stamp(stage).touch()


def _create() -> None:
    try:
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    except subprocess.CalledProcessError:
        sys.exit("python3 -m venv does not work here; on Debian: apt-get install python3-venv")


def _remove_others() -> None:
    """What an older lock brought, or a hand, must not make a check pass here that fails elsewhere."""
    locks = "".join((ROOT / lock).read_text() for lock in STAGES["fuzz"][0])
    named = {_normal(name) for name in re.findall(r"(?m)^([\w.-]+)==", locks)}
    found = {_normal(line.partition("==")[0]) for line in _pip("list", "--format=freeze", quiet=False).splitlines()}
    if others := sorted(found - named - BELONG):
        print(f"removing what no lock names: {' '.join(others)}", flush=True)
        _pip("uninstall", "--yes", *others)


def _pip(*words: str, quiet: bool = True) -> str:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *(["--quiet"] if quiet else []), *words]
    done = subprocess.run(command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{done.stdout}pip failed: {' '.join(words[:4])}...")
    return done.stdout


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _stamp(stage: str) -> Path:
    locks, packages = STAGES[stage]
    digest = hashlib.sha256(sys.version.encode())
    for name in [*locks, *(f"{package}/pyproject.toml" for package in packages)]:
        digest.update((ROOT / name).read_bytes())
    return VENV / f".stamp-{stage}-{digest.hexdigest()[:16]}"


if __name__ == "__main__":
    main(sys.argv[1])
