"""What is in the image and what is not: read from its file system and asked of its own program."""

import re
from pathlib import Path

from support.containers import Container, Unpacked

BUILDERS = ("gcc", "cc", "c++", "ld", "as", "make", "cargo", "rustc", "git", "pip", "pip3", "hatchling")
LIST = (
    "import os; print(*sorted({n for d in os.environ['PATH'].split(':') if os.path.isdir(d) for n in os.listdir(d)}))"
)
MODULES = (
    "import importlib.util as u; print([n for n in ('pip', 'ensurepip', 'setuptools', 'hatchling') if u.find_spec(n)])"
)


def _python(image: Unpacked, folder: Path, program: str) -> str:
    """Run *program* in the image, with its Python in place of the tunnel."""
    with Container(image, folder / "bundle", ["-c", program], entrypoint="python") as container:
        assert container.wait() == 0, container.output
        return "\n".join(container.lines)


def test_it_says_how_it_wants_to_be_run(image: Unpacked) -> None:
    settings = image.settings
    assert settings["User"] == "65532:65532"
    assert settings["Entrypoint"] == ["tunnel"]
    assert settings["StopSignal"] == "SIGTERM"
    assert settings["Healthcheck"]["Test"][0] == "CMD"
    assert {"PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1"} <= set(settings["Env"])
    assert {name.rpartition(".")[2] for name in settings["Labels"]} >= {"title", "description", "licenses"}
    assert not [word for word in settings["Env"] if word.startswith(("PIP_", "SSL_"))]


def test_nothing_in_it_builds_or_installs_software(image: Unpacked, tmp_path: Path) -> None:
    programs, modules = _python(image, tmp_path, f"{LIST}\n{MODULES}").splitlines()
    assert not set(programs.split()) & set(BUILDERS)
    assert modules == "[]"


def test_its_openssl_is_new_enough(image: Unpacked, tmp_path: Path) -> None:
    with Container(image, tmp_path / "bundle", ["version"]) as container:
        assert container.wait() == 0, container.output
    found = re.search(r"OpenSSL (\d+)\.(\d+)", container.output)
    assert found, container.output
    assert (int(found[1]), int(found[2])) >= (3, 5)


def test_every_module_that_it_imports_is_compiled(image: Unpacked, tmp_path: Path) -> None:
    """Nothing can be written at run time, so what is not compiled in the image is compiled at each start."""
    program = (
        "import os, sys, mtls_tunnel.app.server\n"
        "cached = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]\n"
        "print(len(cached) > 100, [c for c in cached if not os.path.exists(c)])"
    )
    assert _python(image, tmp_path, program) == "True []"
