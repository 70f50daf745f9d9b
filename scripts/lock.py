"""`make lock`: the dependencies that the pyproject.toml files ask for become exact versions with hashes.

    requirements.lock           everything for development: runtime of tunnel and operator, tools, build backend
    requirements-fuzz.lock      the fuzzer alone, which has wheels for few platforms
    tunnel/requirements.lock    only what the tunnel needs to run: the image and `make demo`
    tunnel/build.lock           only what builds its wheel, and the operator's
    operator/requirements.lock  only what the operator and the injector need to run: their image

All hold for every supported Python; all agree on versions, because each is constrained by the first.
The resolver is installed into a temporary folder.  No address of an index gets into a file.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESOLVER = "uv==0.13.9"
OPTIONS = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--quiet"]
OPTIONS += ["--custom-compile-command", "make lock", "--no-emit-package", "mtls-tunnel"]
TUNNEL, OPERATOR = "tunnel/pyproject.toml", "operator/pyproject.toml"
LOCKS = {
    "requirements.lock": [TUNNEL, OPERATOR, "--group", "pyproject.toml:dev", "--group", "pyproject.toml:build"],
    "requirements-fuzz.lock": ["--group", "pyproject.toml:fuzz", "--constraint", "requirements.lock"],
    "tunnel/requirements.lock": [TUNNEL, "--extra", "postgresql", "--constraint", "requirements.lock"],
    "tunnel/build.lock": ["--group", "pyproject.toml:build", "--constraint", "requirements.lock"],
    "operator/requirements.lock": [OPERATOR, "--constraint", "requirements.lock"],
}


def main(options: list[str]) -> None:
    """Write the five files; `--upgrade` in *options* takes newer versions, otherwise those locked stay."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", RESOLVER], check=True)
        for lock, inputs in LOCKS.items():
            command = [f"{folder}/bin/uv", "pip", "compile", *OPTIONS, *options, *inputs, "--output-file", lock]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            print(f"{lock}: {(ROOT / lock).read_text().count('==')} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
