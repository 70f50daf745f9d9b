"""Images for a node that pulls none: they are written to an archive and imported where the kubelet looks.

The pause image holds one program of tests/cluster/node, nothing else, and is put together here by hand
(OCI image specification 1.0, as `docker save` wraps it), so that an API server is all that is waited for.
"""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from build_image import Failed, Image, buildah, engine
from local_cluster.build import binary
from local_cluster.place import Place

PAUSE_IMAGE = "localhost/mtls-tunnel-pause:1"


def load(place: Place, tag: str) -> None:
    """Bring image *tag* of this machine's engine to the node.  What is there already is not copied again."""
    image = Image(engine(), tag)
    known = place.state("loaded") / hashlib.sha256(tag.encode()).hexdigest()[:16]
    now = _identity(image)
    if known.exists() and known.read_text() == now:
        return
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        archive = Path(folder, "image.tar")
        save(image, archive)
        _import(place, archive)
    known.write_text(now)


def save(image: Image, archive: Path) -> None:
    """Write *image* to *archive*, in the format of `docker save`, under its own name."""
    if image.engine == "buildah":
        _run([*buildah(), "push", "--quiet", image.tag, f"docker-archive:{archive}:{_full(image.tag)}"])
    else:
        _run([image.engine, "save", "--output", str(archive), image.tag])


def load_pause(place: Place) -> None:
    """Make and import the image of the process that holds a pod together."""
    layer = _tar({"pause": binary("pause").read_bytes()}, mode=0o755)
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": config, "layer.tar": layer}
    archive = place.state("pause") / "pause.tar"
    archive.write_bytes(_tar(files, mode=0o644))
    _import(place, archive)


def _import(place: Place, archive: Path) -> None:
    # The kubelet's images live in this namespace of containerd.
    _run(["ctr", "--address", str(place.containerd_socket), "--namespace", "k8s.io", "images", "import", str(archive)])


def _identity(image: Image) -> str:
    if image.engine == "buildah":
        return _run([*buildah(), "images", "--quiet", "--no-trunc", image.tag]).strip()
    return _run([image.engine, "image", "inspect", "--format", "{{.Id}}", image.tag]).strip()


def _full(tag: str) -> str:
    """As the kubelet will look for it: a name without a registry is one of docker.io's library."""
    first, slash, _ = tag.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return tag
    return f"docker.io/{tag}" if slash else f"docker.io/library/{tag}"


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _architecture() -> str:
    return _run(["dpkg", "--print-architecture"]).strip()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command[:8])}... failed:\n{done.stderr[-2000:]}")
    return done.stdout
