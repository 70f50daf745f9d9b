"""The node's network, and how nothing of a cluster is left behind: address, forwarding, mounts, containers, cgroups.

`sweep` needs no program of the cluster to be alive and looks only for what carries the cluster's own names,
so it also cleans up after an unclean end.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build_image import Failed
from local_cluster.build import binary
from local_cluster.place import INTERFACE, Place

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
LOG_LINKS = Path("/var/log/containers")


def lay_network(place: Place) -> None:
    """Give the node its address, and let packets pass between pods.  What was set before is noted."""
    _run("ip", "address", "add", f"{place.address}/32", "dev", INTERFACE)
    place.written("ip_forward", FORWARDING.read_text())
    FORWARDING.write_text("1")


def sweep(place: Place) -> None:
    """Remove what a node leaves behind; its programs have been ended before."""
    remove_containers(place)
    for point in mounted(place.folder):
        _quiet("umount", "--lazy", point)
    _remove_rules(place)
    _quiet("ip", "address", "delete", f"{place.address}/32", "dev", INTERFACE)
    before = place.folder / "settings" / "ip_forward"
    if before.exists():
        FORWARDING.write_text(before.read_text())
        before.unlink()
    for link in LOG_LINKS.glob("*") if LOG_LINKS.is_dir() else ():
        if link.is_symlink() and Path(os.readlink(link)).is_relative_to(place.folder):
            link.unlink()
    for group in sorted(Path("/sys/fs/cgroup").glob("**/kubepods/**/"), reverse=True):
        with contextlib.suppress(OSError):  # not empty: somebody else's
            group.rmdir()


def other_node(own: set[int]) -> int:
    """The pid of a kubelet or kube-proxy that is not among *own*, or 0: two on one machine fight about its rules."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "comm").read_text().strip() in ("kubelet", "kube-proxy"):
                pid = int(folder.name)
                if pid not in own:
                    return pid
    return 0


def mounted(folder: Path) -> list[str]:
    """The mount points below *folder*, inner ones first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((name for name in points if Path(name).is_relative_to(folder)), reverse=True)


def remove_containers(place: Place) -> None:
    """Kill and remove every container of the node; nobody is left who would start them again."""
    # Each container has a shim, which has outlived the containerd that started it, waits for that one, and so does
    # not bury what ends; the socket in its command is ours.
    socket = str(place.containerd_socket)
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0") if folder.name.isdigit() else []
            if words and words[0].endswith("containerd-shim-runc-v2") and socket in words:
                os.kill(int(folder.name), signal.SIGKILL)
    root = place.folder / "state" / "runc" / "k8s.io"
    names = [container.name for container in root.iterdir()] if root.is_dir() else []
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda name: _quiet("runc", "--root", str(root), "delete", "--force", name), names))


def _remove_rules(place: Place) -> None:
    # Without settings of ours there was no kube-proxy of ours.
    if (place.folder / "settings" / "kube-proxy.json").exists():
        _quiet(str(binary("kube-proxy")), "--cleanup")
        for program in ("iptables", "ip6tables"):
            for table in ("filter", "nat", "mangle"):
                _quiet(program, "-t", table, "-X", "KUBE-PROXY-CANARY")  # it forgets these


def _quiet(*command: str) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if shutil.which(command[0], path=path):
        subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": path})


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
