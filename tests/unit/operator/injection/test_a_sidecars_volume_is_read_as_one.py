"""The volume that the injector mounts, read as the sidecar reads it while kubelet exchanges its content."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mtls_tunnel.config.schema import Tls
from mtls_tunnel.errors import MaterialError
from mtls_tunnel.trust import store
from support.clock import NOW
from support.disk import Volume
from support.pki import Authority

FILES = ("tls.crt", "tls.key", "ca.crt")
MOMENTS = range(1, 9)  # three files and one or two directories, and again if it is read a second time


class Exchanged:
    """os.open, but before the nth call kubelet exchanges the volume."""

    def __init__(self, at: int, exchange: Callable[[], None]) -> None:
        self.left = at
        self._exchange = exchange

    def __call__(self, path: str, flags: int, *, dir_fd: int | None = None) -> int:
        self.left -= 1
        if self.left == 0:
            self._exchange()
        return os.open(path, flags, dir_fd=dir_fd)


def generation(authority: Authority) -> dict[str, bytes]:
    pair = authority.server()
    return dict(zip(FILES, (pair.cert_pem, pair.key_pem, authority.pem), strict=True))


def tls_of(volume: Volume) -> Tls:
    return Tls(volume["tls.crt"], volume["tls.key"], (volume["ca.crt"],))


@pytest.mark.parametrize("at", MOMENTS)
def test_pain_17_key_and_chain_are_of_one_pair_whenever_the_volume_is_exchanged(tmp_path: Path, at: int) -> None:
    authority = Authority(now=NOW)
    old, new = generation(authority), generation(authority)
    volume = Volume(tmp_path / "part", old, mode=0o444)
    exchange = Exchanged(at, lambda: volume.publish(new))

    read = store.read(tls_of(volume), open_file=exchange, pause=lambda _: None)

    wanted = old if exchange.left > 0 else new
    assert {"tls.crt": read.cert.content, "tls.key": read.key.content, "ca.crt": read.ca[0].content} == wanted


def test_pain_17_a_pair_that_does_not_fit_is_no_material(tmp_path: Path) -> None:
    authority = Authority(now=NOW)
    mixed = {**generation(authority), "tls.key": generation(authority)["tls.key"]}
    volume = Volume(tmp_path / "part", mixed, mode=0o444)

    with pytest.raises(MaterialError, match="key"):
        store.load(tls_of(volume), now=NOW, strict=False)
