"""`python scripts/cluster.py`: a real one-node Kubernetes on this machine becomes a kubeconfig.

    build [PROGRAM...]            build what is missing (once; minutes)
    up                            the whole node, as root: pods run; prints the path of the kubeconfig
    up --control-plane-only       etcd and the API server only, in seconds; any number with a --folder each
    up ... --controllers --fake-nodes 5    with controllers and scheduler, and nodes that only pretend to run pods
    load IMAGE...                 images of this machine's engine become the node's
    status | audit | down         what runs | where the audit log is | end it and leave nothing behind

With Docker or Podman and kind the node is a container (kind-config.yaml); else it is built from Go modules
(local_cluster.build) and run without any engine.  `up` while it runs changes nothing; after an unclean end it
cleans up first.  The address of the folder comes from --folder or MTLS_TUNNEL_CLUSTER.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build_image import Failed, Unavailable
from local_cluster import fake, images, kind
from local_cluster.build import PROGRAMS, binary, build
from local_cluster.daemons import Daemons, comes_true
from local_cluster.net import lay_network, mounted, other_node, remove_containers, sweep
from local_cluster.node import check_tools, node_is_ready, start_node
from local_cluster.pki import write_pki
from local_cluster.place import NODE_ADDRESS, Place, chosen_folder
from local_cluster.plane import is_ready, start_api_server, start_controllers, start_store

# The kubelet ends first: it would start again what is taken from it.  The API server waits for its clients, and
# for its store when that is gone.  containerd ends last, after its containers.
ENDS = (
    ("kubelet", "kwok"),
    ("kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager"),
    ("kube-apiserver",),
    ("etcd",),
)
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """A running cluster.  `audit` is None where the log lies inside a container; `started` says that `up` made it."""

    kubeconfig: Path
    audit: Path | None
    folder: Path
    kind: bool = False
    started: bool = False

    def load(self, tag: str) -> None:
        """Bring image *tag* to the node; its pods say `imagePullPolicy: Never`."""
        if self.kind:
            kind.load(tag)
        else:
            place = _place(self.folder)
            if place is None:
                raise Failed(f"nothing runs in {self.folder}")
            images.load(place, tag)


def up(folder: Path, *, alone: bool = False, controllers: bool = False) -> Cluster:
    """Start a cluster in *folder*, or return the one that runs there.

    *alone* leaves everything but etcd and the API server out; *controllers* adds the controller manager and
    the scheduler to those two.

    Raises:
        Unavailable: this machine lacks something; the text says what to install.
        Failed: a program did not do its work; the text holds its last words.
    """
    if not alone and kind.usable():
        return Cluster(kind.up(folder), None, folder, kind=True)
    with _alone(folder):
        daemons = Daemons(folder)
        place = _place(folder)
        started = place is None or not _runs(place, daemons, node=not alone)
        if place is None or started:
            _check(daemons, node=not alone)
            _clean(folder, daemons)
            place = _start(folder, daemons, node=not alone, controllers=controllers)
    return Cluster(place.kubeconfig, place.audit, folder, started=started)


def add_fake_nodes(made: Cluster, count: int) -> None:
    """Nodes whose pods nobody runs (local_cluster.fake); *made* needs controllers."""
    place = _place(made.folder)
    if place is None:
        raise Failed("fake nodes need a cluster of this script, not of kind")
    fake.start_fake_nodes(place, Daemons(made.folder), count)


@contextmanager
def in_use(folder: Path) -> Iterator[Callable[[], bool]]:
    """Say that somebody uses the cluster; what is yielded tells whether nobody else does.

    Several sessions may share a cluster, and then none of them may end it under the others.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.users"), "w", encoding="ascii") as users:
        fcntl.flock(users, fcntl.LOCK_SH)

        def alone() -> bool:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        yield alone


def is_running(folder: Path) -> bool:
    """Whether a whole cluster runs in *folder*, ready for pods."""
    place = _place(folder)
    return kind.is_up(folder) or (place is not None and _runs(place, Daemons(folder), node=True))


def down(folder: Path) -> None:
    """End what runs in *folder*; its logs and the audit log stay."""
    if kind.is_up(folder):
        kind.down(folder)
        return
    with _alone(folder):
        _clean(folder, Daemons(folder))


def _start(folder: Path, daemons: Daemons, *, node: bool, controllers: bool) -> Place:
    _remove(folder, ("logs", "audit.log"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    address, port = (NODE_ADDRESS, 6443) if node else ("127.0.0.1", _free_port())
    place = Place(folder, address, port, _free_port(), _free_port())
    facts = {"address": address, "api_port": port, "etcd_port": place.etcd_port, "peer_port": place.etcd_peer_port}
    place.written("place.json", json.dumps(facts))
    try:
        write_pki(place)
        if node:
            lay_network(place)
        start_store(place, daemons)
        start_api_server(place, daemons, node=node)
        if node or controllers:
            start_controllers(place, daemons)
        if node:
            start_node(place, daemons)
    except BaseException:
        _clean(folder, daemons)
        raise
    return place


def _check(daemons: Daemons, *, node: bool) -> None:
    build(list(PROGRAMS)[:9] if node else ["kube-apiserver", "etcd", "kubectl"])
    if not node:
        return
    if os.geteuid() != 0:
        raise Unavailable("a node without docker or podman needs root; --control-plane-only does not")
    check_tools()
    if pid := other_node(own={daemons.running(name) for name in ("kubelet", "kube-proxy")}):
        raise Unavailable(f"this machine is a node of a cluster already (pid {pid}): set KUBECONFIG to test with it")


def _clean(folder: Path, daemons: Daemons) -> None:
    place = _place(folder)
    node = place if place and place.address == NODE_ADDRESS else None
    for names in ENDS:
        daemons.stop(*names)
        if node:
            remove_containers(node)  # after the kubelet, before the API server, which would wait for its clients there
    if node:
        sweep(node)
    daemons.stop(*daemons.names())
    _remove(folder, ("state", "pki", "settings", "kubeconfig", "cache", "pids"))


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    """Only what is ours: the folder was named by somebody and may hold more."""
    if points := mounted(folder):
        raise Failed(f"still mounted, nothing is removed: {' '.join(points)}")
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _runs(place: Place, daemons: Daemons, *, node: bool) -> bool:
    whole = ["containerd", *(name for stage in ENDS for name in stage if name != "kwok")]
    names = whole if node else ["kube-apiserver", "etcd"]
    # A busy machine makes a slow answer, and that is no reason to end a cluster that others may be using.
    return all(map(daemons.running, names)) and comes_true(
        lambda: is_ready(place) and (not node or node_is_ready(place)), PATIENCE_SECONDS
    )


def _place(folder: Path) -> Place | None:
    try:
        facts = json.loads((folder / "settings" / "place.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Place(folder, facts["address"], facts["api_port"], facts["etcd_port"], facts["peer_port"])


def _free_port() -> int:
    """Below the ports of outgoing connections, so that none of those takes it between now and the bind."""
    while True:
        port = random.randint(20000, 32000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One `up` or `down` at a time for each folder; the lock lies beside it, as the folder itself is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def status(folder: Path) -> str:
    """A line for each program."""
    if kind.is_up(folder):
        return f"kind cluster {kind.NAME}: KUBECONFIG={folder / 'kubeconfig'}"
    daemons = Daemons(folder)
    lines = [f"{name}: {daemons.running(name) or 'ended'} ({daemons.log(name)})" for name in daemons.names()]
    return "\n".join([*lines, f"KUBECONFIG={folder / 'kubeconfig'}"] if lines else ["nothing runs"])


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description="a real one-node Kubernetes on this machine")
    parser.add_argument("--folder", help="where it keeps everything (default: in the cache folder)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("programs", nargs="*", choices=[*PROGRAMS, []], metavar="PROGRAM")
    starting = commands.add_parser("up")
    starting.add_argument("--control-plane-only", action="store_true")
    starting.add_argument("--controllers", action="store_true", help="with the former: controllers and scheduler too")
    starting.add_argument("--fake-nodes", type=int, default=0, metavar="N", help="nodes whose pods nobody runs (kwok)")
    commands.add_parser("load").add_argument("images", nargs="+")
    for name in ("status", "audit", "down"):
        commands.add_parser(name).add_argument("--control-plane-only", action="store_true")
    asked = parser.parse_args(words)
    folder = chosen_folder(asked.folder, alone=getattr(asked, "control_plane_only", False))
    started = time.monotonic()
    if asked.command == "build":
        for path in build(asked.programs):
            print(path)
    elif asked.command == "up":
        made = up(folder, alone=asked.control_plane_only, controllers=asked.controllers)
        if asked.fake_nodes:
            add_fake_nodes(made, asked.fake_nodes)
        print(f"ready in {time.monotonic() - started:.1f} s; kubectl: {binary('kubectl')}", file=sys.stderr)
        print(made.kubeconfig)
    elif asked.command == "load":
        made = Cluster(folder / "kubeconfig", None, folder, kind=kind.is_up(folder))
        for tag in asked.images:
            made.load(tag)
    elif asked.command == "down":
        down(folder)
    else:
        print(folder / "audit.log" if asked.command == "audit" else status(folder))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Unavailable, Failed) as error:
        sys.exit(str(error))
