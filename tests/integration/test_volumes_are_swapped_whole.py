"""Kubernetes volumes and certbot's links under a running tunnel: each handshake gets a whole pair, old or new.

A Kubernetes volume is a folder whose `..data` link is renamed over; every file in it is a link through that one.
certbot moves links one after the other, so that for a moment the certificate is new and the key is old.
"""

import os
import shutil
import ssl
import threading
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from mtls_tunnel.trust.pki import Credential
from support.clients import PING, ask, connect, context
from support.guarded import Guarded
from support.pki import Authority
from support.waiting import eventually

SWAPS = 20


class Volume:
    """What the kubelet does: a new folder, then one rename."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = 0
        path.mkdir(parents=True)

    def publish(self, authority: Authority, credential: Credential) -> None:
        self._turn += 1
        fresh = self.path / f"..2026_{self._turn}"
        fresh.mkdir()
        files = {"tls.crt": credential.cert_pem, "tls.key": credential.key_pem, "ca.crt": authority.pem}
        for name, content in files.items():
            (fresh / name).write_bytes(content)
            (fresh / name).chmod(0o600)
            if self._turn == 1:
                (self.path / name).symlink_to(f"..data/{name}")
        (self.path / "..data_tmp").symlink_to(fresh.name)
        before = self.path / os.readlink(self.path / "..data") if self._turn > 1 else None
        (self.path / "..data_tmp").rename(self.path / "..data")
        if before:
            shutil.rmtree(before)


def served(port: int, tls: ssl.SSLContext) -> bytes:
    with connect(port, tls) as connection:
        assert ask(connection) == PING
        leaf = connection.getpeercert(binary_form=True)
    assert leaf
    return leaf


def wait_until_served(port: int, tls: ssl.SSLContext, credential: Credential) -> None:
    eventually(lambda: served(port, tls) == der(credential), "the new pair is served")


def der(credential: Credential) -> bytes:
    return credential.certificate.public_bytes(Encoding.DER)


def test_a_volume_that_is_swapped_again_and_again_never_shows_half(tmp_path: Path) -> None:
    authority = Authority()
    volume = Volume(tmp_path / "volume")
    volume.publish(authority, authority.server())
    tls_files = {
        role: str(volume.path / name) for role, name in (("cert", "tls.crt"), ("key", "tls.key"), ("ca", "ca.crt"))
    }
    with Guarded(tmp_path, {"tls": tls_files}, ca=authority) as guarded:
        tls = context(guarded.files, guarded.files.client)
        stop, seen, failures = threading.Event(), set[bytes](), list[str]()

        def look() -> None:
            while not stop.is_set():
                try:
                    seen.add(served(guarded.port, tls))
                except Exception as error:  # any failed handshake is a mixed pair, or as bad
                    failures.append(repr(error))

        looker = threading.Thread(target=look)
        looker.start()
        published = set()
        try:
            for _ in range(SWAPS):
                new = authority.server()
                published.add(der(new))
                volume.publish(authority, new)
                wait_until_served(guarded.port, tls, new)
        finally:
            stop.set()
            looker.join()
        assert failures == []
        assert seen & published
        assert guarded.tunnel.value("mtlsd_reloads_total", result="ok") >= SWAPS
        assert guarded.tunnel.value("mtlsd_reloads_total", result="failed") == 0


def test_links_that_are_moved_one_by_one_are_taken_when_they_fit(tmp_path: Path) -> None:
    """certbot: live/NAME/cert.pem -> archive/cert2.pem, and the key's link a moment later."""
    authority = Authority()
    archive, live = tmp_path / "archive", tmp_path / "live"
    archive.mkdir()
    live.mkdir()
    pairs = [authority.server(), authority.server()]
    for number, pair in enumerate(pairs):
        (archive / f"cert{number}.pem").write_bytes(pair.cert_pem)
        (archive / f"key{number}.pem").write_bytes(pair.key_pem)
        (archive / f"key{number}.pem").chmod(0o600)
    point(live, archive, "cert", 0)
    point(live, archive, "key", 0)
    over = {"tls": {"cert": str(live / "cert.pem"), "key": str(live / "key.pem")}}
    with Guarded(tmp_path, over, ca=authority) as guarded:
        tls = guarded.good
        assert served(guarded.port, tls) == der(pairs[0])
        point(live, archive, "cert", 1)
        guarded.tunnel.wait_for_line("reload failed, keeping the certificates in use")
        assert served(guarded.port, tls) == der(pairs[0])
        point(live, archive, "key", 1)
        wait_until_served(guarded.port, tls, pairs[1])


def point(live: Path, archive: Path, name: str, number: int) -> None:
    new = live / f".{name}.new"
    new.symlink_to(archive / f"{name}{number}.pem")
    new.rename(live / f"{name}.pem")
