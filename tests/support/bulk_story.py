"""One tunnel and one peer program in a row, and bulk through both: the stories of the interop tests.

role "server":  plain -> tunnel (client mode) -> TLS -> peer -> backend
role "client":  plain -> peer -> TLS -> tunnel (server mode) -> backend
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.bulk import (
    BULK_BYTES,
    FramedSink,
    download_digest,
    half_closed_download_digest,
    upload_digest,
)
from support.guarded import client_settings, server_settings
from support.peers import Maker, Side, peer
from support.pki import Folder
from support.ports import free_port
from support.servers import Sink, Source, digest_of
from support.tunnels import Tunnel
from support.waiting import eventually

Role = Side
HALF_CLOSE_BYTES = 8 * 1024 * 1024


@contextmanager
def chain(folder: Path, maker: Maker, role: Role, backend: str) -> Iterator[tuple[int, Tunnel]]:
    """The chain in front of *backend*; the value is its plain entry and the tunnel in it."""
    files = Folder(folder / "pki")
    if role == "server":
        with (
            peer(maker, folder / "peer", files, "server", backend) as port,
            Tunnel(folder, client_settings(files, free_port(), f"127.0.0.1:{port}")) as tunnel,
        ):
            yield tunnel.port, tunnel
    else:
        with (
            Tunnel(folder, server_settings(files, free_port(), backend)) as tunnel,
            peer(maker, folder / "peer", files, "client", f"127.0.0.1:{tunnel.port}") as port,
        ):
            yield port, tunnel


def bulk_through_a_peer(folder: Path, maker: Maker, role: Role) -> None:
    """`BULK_BYTES` up, then down; the tunnel's own counters agree."""
    expected = digest_of(BULK_BYTES)
    (folder / "up").mkdir()
    (folder / "down").mkdir()
    with FramedSink(BULK_BYTES) as sink, chain(folder / "up", maker, role, sink.address) as (entry, tunnel):
        assert upload_digest(entry, BULK_BYTES, half_close=False) == expected
        tunnel.wait_for_value(BULK_BYTES, "mtlsd_bytes_proxied_total", direction="client_to_target")
        tunnel.wait_until_idle()
    with Source(BULK_BYTES) as source, chain(folder / "down", maker, role, source.address) as (entry, tunnel):
        assert download_digest(entry) == expected
        tunnel.wait_for_value(BULK_BYTES, "mtlsd_bytes_proxied_total", direction="target_to_client")
        tunnel.wait_until_idle()


def half_close_through_a_peer(folder: Path, maker: Maker, role: Role, *, down_bytes: int = HALF_CLOSE_BYTES) -> None:
    """A sink that answers only at the end of input; a source whose caller ends as soon as it is reached.

    Not before: HAProxy gives up a dial whose client has ended already.
    """
    expected = digest_of(HALF_CLOSE_BYTES)
    (folder / "up").mkdir()
    (folder / "down").mkdir()
    with Sink() as sink, chain(folder / "up", maker, role, sink.address) as (entry, tunnel):
        assert upload_digest(entry, HALF_CLOSE_BYTES) == expected
        tunnel.wait_until_idle()
    with Source(down_bytes) as source, chain(folder / "down", maker, role, source.address) as (entry, tunnel):

        def established() -> None:
            eventually(lambda: source.accepted >= 1, "the source is reached")

        assert half_closed_download_digest(entry, established) == digest_of(down_bytes)
        tunnel.wait_until_idle()
