"""TLS rule 3: a session ticket is never worth more than a full handshake, on either side; and it is worth that much."""

import time
from dataclasses import replace

import pytest
from OpenSSL import SSL

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.trust.policy import Policy
from support.clock import Clock
from support.pki import Authority
from support.servers import Echo
from support.waiting import eventually
from support.wire import (
    TLS,
    Alert,
    Running,
    TlsServer,
    Truncated,
    client_settings,
    material,
    plain_client,
    server_settings,
    tls_client,
    tls_context,
)

AUTHORITY = Authority()
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


class Client:
    """Keeps its session from connection to connection, as long as it is given one."""

    def __init__(self, version: str) -> None:
        self.context = tls_context(AUTHORITY, AUTHORITY.client(), client=True, version=version)
        self.session: SSL.Session | None = None

    def echo(self, port: int) -> bytes:
        with tls_client(port, AUTHORITY, None, context=self.context, session=self.session) as wire:
            wire.send(b"hello")
            got = wire.read(5)
            self.session = wire.connection.get_session()
            wire.end()
            return got


def resumed(tunnel: Running) -> list[bool]:
    """Whether each live session was resumed."""
    return tunnel.call(lambda: [peer.resumed for one in tunnel.registry._live for peer in one.peers()])


@versions
def test_a_resumed_session_has_the_identity_of_its_handshake(version: str) -> None:
    client = Client(version)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        assert client.echo(tunnel.port) == b"hello"
        with tls_client(tunnel.port, AUTHORITY, None, context=client.context, session=client.session) as wire:
            wire.send(b"again")
            assert wire.read(5) == b"again"
            assert resumed(tunnel)[-1:] == [True]
            (shown,) = [one for one in tunnel.call(tunnel.registry.snapshot) if one["bytes_in"] == 5]
            assert shown["peer_cn"] == "frontend-service"
            wire.end()
        tunnel.wait_until_idle()
        assert tunnel.meters.decisions["allow"] == 2


@versions
def test_policy_is_asked_on_resumption(version: str) -> None:
    client = Client(version)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        client.echo(tunnel.port)
        tunnel.settings.policy = Policy.of(Acl(deny=Rules(cn=("frontend-service",))))
        with pytest.raises((Truncated, ConnectionResetError)):
            client.echo(tunnel.port)
        assert tunnel.meters.decisions == {"allow": 1, "deny": 1, "audit_deny": 0}


@versions
def test_a_new_context_takes_no_old_ticket(version: str) -> None:
    """As after a reload: whoever has lost its CA is judged anew, and refused."""
    client = Client(version)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        client.echo(tunnel.port)
        tunnel.settings.server_context = server_settings(AUTHORITY, 0).server_context
        with tls_client(tunnel.port, AUTHORITY, None, context=client.context, session=client.session) as wire:
            wire.send(b"again")
            assert wire.read(5) == b"again"
            assert resumed(tunnel)[-1:] == [False]
        other = material(AUTHORITY.server(), Authority("Other"))
        tunnel.settings.server_context = ServerContext(other, TLS, now=time.time)
        with pytest.raises((Alert, ConnectionResetError)):
            client.echo(tunnel.port)
        eventually(lambda: tunnel.meters.handshake_failures["unknown_ca"] == 1, "the CA was looked for again")


@versions
def test_a_ticket_dies_with_its_certificate(version: str) -> None:
    clock = Clock(time.time())
    context = ServerContext(material(AUTHORITY.server(), AUTHORITY), TLS, now=clock)
    client = Client(version)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, server_context=context)) as tunnel:
        client.echo(tunnel.port)
        clock.advance(91 * 86400)
        with pytest.raises((Truncated, ConnectionResetError)):
            client.echo(tunnel.port)
        eventually(lambda: tunnel.meters.handshake_failures["expired"] == 1, f"{tunnel.meters.handshake_failures}")


@versions
def test_a_ticket_dies_with_the_crl_that_covered_it(version: str) -> None:
    clock = Clock(time.time())
    made = material(AUTHORITY.server(), AUTHORITY, crls=(AUTHORITY.crl(hours=1),))
    context = ServerContext(made, replace(TLS, crl="x"), now=clock)
    client = Client(version)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, server_context=context)) as tunnel:
        client.echo(tunnel.port)
        clock.advance(3601)
        with pytest.raises((Truncated, ConnectionResetError)):
            client.echo(tunnel.port)


@versions
def test_client_mode_resumes_and_judges_the_server_before_it_does(version: str) -> None:
    credential = AUTHORITY.server()
    server = tls_context(AUTHORITY, credential, client=False, version=version)
    settings = client_settings(AUTHORITY, 0)
    settings.client_context = ClientContext(
        material(AUTHORITY.client(), AUTHORITY),
        replace(TLS, server_name="localhost"),
        host="127.0.0.1",
        policy=lambda: settings.policy,
        now=time.time,
    )
    with TlsServer(server) as upstream:
        settings.target = type(settings.target)("127.0.0.1", upstream.port)
        with Running(settings) as tunnel:
            flags = []
            for _ in range(3):
                with plain_client(tunnel.port) as application, upstream.accept() as wire:
                    wire.send(b"banner")
                    assert application.recv(6) == b"banner"
                    flags += resumed(tunnel)
                    wire.end()
                    assert application.recv(1) == b""
                tunnel.wait_until_idle()
            assert flags == [False, True, True]
            settings.policy = Policy.of(Acl(deny=Rules(fingerprint=(_fingerprint(credential),))))
            with plain_client(tunnel.port) as application:
                with pytest.raises((Alert, ConnectionResetError)):
                    upstream.accept()
                with pytest.raises(ConnectionResetError):
                    application.recv(1)
            assert tunnel.meters.decisions["deny"] == 1


def _fingerprint(credential: object) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return credential.certificate.fingerprint(SHA256()).hex()  # type: ignore[attr-defined, no-any-return]
