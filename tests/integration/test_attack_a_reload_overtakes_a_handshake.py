"""A handshake that began before a reload and ends after it is judged by what is so now, not by what was so then.

Otherwise whoever is about to lose access stops in the middle of a handshake, lets the revocation pass by, and is in:
the live sessions are judged once, and at that moment this one has not shown who it is.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from support.clients import PING, Refused, Version, context, ending, plain
from support.guarded import Guarded, acl_denial, client_settings, handshake_failure
from support.pki import Authority, Folder
from support.ports import free_port
from support.tunnels import Tunnel
from support.withdrawals import CHANGES, Change, trusting_both, withdraw

Result = TypeVar("Result")
VERSIONS = [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")]


class Stalled:
    """One end of a handshake that has read the other end's first flight and says nothing more until `finish`."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        sock.sendall(self._outgoing.read())
        self._incoming.write(sock.recv(1 << 16))

    def finish(self) -> bytes:
        """End the handshake, press a question on the tunnel and read the answer.

        Raises:
            Refused: it broke off.
        """
        try:
            self._drive(self._tls.do_handshake)
            self._tls.write(PING)
            return self._drive(lambda: self._tls.read(len(PING)))
        except OSError as error:
            raise Refused(ending(error)) from error

    def _drive(self, step: Callable[[], Result]) -> Result:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                if not (got := self._socket.recv(1 << 16)):
                    raise Refused("closed") from None
                self._incoming.write(got)


@contextmanager
def stalled(port: int, tls: ssl.SSLContext) -> Iterator[Stalled]:
    with plain(port) as sock:
        yield Stalled(sock, tls)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", CHANGES)
def test_whoever_the_reload_locks_out_is_not_let_in(tmp_path: Path, version: Version, change: Change) -> None:
    other = Authority("Second Root")
    holder = other.client("holder")
    with trusting_both(tmp_path, other) as guarded:
        tls = context(guarded.files, guarded.files.write("holder", holder), version=version)
        with stalled(guarded.port, tls) as handshake:
            sign = withdraw(change, guarded, other, holder)
            received = guarded.backend.received
            with pytest.raises(Refused):
                handshake.finish()
            assert guarded.backend.received == received
        guarded.tunnel.wait_for_line(sign.line)
        assert guarded.tunnel.value(sign.metric, **sign.labels) == 1
        guarded.greet()


@pytest.mark.parametrize("version", VERSIONS)
def test_whoever_shows_no_certificate_is_not_let_in_once_one_is_required(tmp_path: Path, version: Version) -> None:
    with Guarded(tmp_path, {"tls": {"client_auth": "optional"}}) as guarded:
        with stalled(guarded.port, context(guarded.files, None, version=version)) as handshake:
            guarded.tunnel.rewrite({"tls": {"client_auth": "required"}})
            guarded.tunnel.hang_up()
            with pytest.raises(Refused):
                handshake.finish()
        guarded.tunnel.wait_for_line(handshake_failure("no_certificate").line)
        guarded.greet()


@pytest.mark.parametrize("version", VERSIONS)
def test_whoever_it_does_not_concern_is_let_in(tmp_path: Path, version: Version) -> None:
    with Guarded(tmp_path) as guarded:
        tls = context(guarded.files, guarded.files.client, version=version)
        with stalled(guarded.port, tls) as handshake:
            guarded.files.write("server", guarded.authority.server())
            guarded.tunnel.hang_up()
            assert handshake.finish() == PING


def payload_at(accepted: socket.socket, server: ssl.SSLContext) -> bytes:
    """What the server of a handshake gets to read; nothing if it breaks off."""
    with accepted:
        try:
            with server.wrap_socket(accepted, server_side=True) as secured:
                return secured.recv(len(PING))
        except OSError:  # however it was broken off
            return b""


def test_a_server_that_the_reload_locks_out_gets_no_payload(tmp_path: Path) -> None:
    """Client mode: the server answers the ClientHello only after the ACL has been narrowed."""
    files = Folder(tmp_path / "pki")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server.cert, files.server.key)
    server.load_verify_locations(files.ca)
    server.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        settings = client_settings(files, free_port(), f"127.0.0.1:{listening.getsockname()[1]}")
        with Tunnel(tmp_path, settings) as tunnel, plain(tunnel.port) as application:
            application.sendall(PING)
            accepted, _ = listening.accept()
            accepted.settimeout(30)
            accepted.recv(1, socket.MSG_PEEK)  # the ClientHello is there, so the handshake has begun
            tunnel.rewrite({"acl": {"deny_dns": ["localhost"]}})
            tunnel.hang_up()
            assert payload_at(accepted, server) == b""
            tunnel.wait_for_line(acl_denial("deny_dns").line)
