"""Who is refused in the handshake, with which alert, reason and log line; on either leg, on TLS 1.2 and 1.3."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.trust.policy import Policy
from support.pki import SPIFFE_ID, Authority
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
ROGUE = Authority()  # the same name, another key
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def ending_of(port: int, credential: object, version: str, chain: tuple[Authority, ...] = ()) -> str:
    """How a client is refused that presses a byte on the server."""
    try:
        with tls_client(port, AUTHORITY, credential, version=version, chain=chain) as wire:  # type: ignore[arg-type]
            wire.send(b"x")
            wire.read_all()
    except Alert as alert:
        return alert.name
    except ConnectionResetError:
        return "reset"
    except Truncated:
        return "cut off"
    return "accepted"


@versions
@pytest.mark.parametrize(
    ("make", "reason", "alerts"),
    [
        pytest.param(lambda: None, "no_certificate", ("certificate_required", "handshake_failure"), id="none"),
        pytest.param(ROGUE.client, "unknown_ca", ("unknown_ca",), id="foreign CA"),
        pytest.param(AUTHORITY.expired, "expired", ("certificate_expired",), id="expired"),
        pytest.param(AUTHORITY.not_yet_valid, "not_yet_valid", ("bad_certificate",), id="early"),
        pytest.param(AUTHORITY.server, "wrong_purpose", ("unsupported_certificate",), id="server only"),
        pytest.param(lambda: AUTHORITY.leaf("a\0b", dns=("x",)), "bad_certificate", None, id="NUL in the name"),
    ],
)
def test_a_client_is_refused_with_its_reason_and_alert(
    make: Callable[[], object], reason: str, alerts: tuple[str, ...] | None, version: str
) -> None:
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:
        ending = ending_of(tunnel.port, make(), version)
        assert ending != "accepted"
        assert alerts is None or ending in alerts
        eventually(lambda: tunnel.meters.handshake_failures[reason] == 1, f"{tunnel.meters.handshake_failures}")
        tunnel.wait_until_idle()
        assert backend.accepted == 0
        assert sum(tunnel.meters.closings.values()) == 0
        with tls_client(tunnel.port, AUTHORITY, AUTHORITY.client(), version=version) as wire:
            wire.send(b"good")
            assert wire.read(4) == b"good"


@versions
def test_a_refused_certificate_is_named_in_the_log(version: str, caplog: pytest.LogCaptureFixture) -> None:
    intermediate = ROGUE.intermediate()
    leaf = intermediate.client("mallory")
    settings = server_settings(AUTHORITY, 1)
    with caplog.at_level(logging.WARNING, "mtls_tunnel"), Running(settings, "web") as tunnel:
        assert ending_of(tunnel.port, leaf, version, chain=(intermediate,)).endswith("unknown_ca")
        eventually(lambda: caplog.records, "a line")
    (record,) = caplog.records
    attributes = record.__dict__["attributes"]
    assert record.message == "tls handshake failed"
    assert list(attributes) == ["remote", "reason", "error", "peer_subject", "peer_sha256", "tunnel"]
    assert attributes["reason"] == "unknown_ca"
    assert attributes["peer_subject"] == leaf.certificate.subject.rfc4514_string()
    assert "Test Root" in attributes["error"]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "not_tls", id="HTTP"),
        pytest.param(b"\x00" * 64, "not_tls", id="zeros"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls", id="SSH"),
        pytest.param(b"", "closed", id="nothing"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", "closed", id="a beginning"),
    ],
)
def test_what_is_no_handshake_has_its_reason(octets: bytes, reason: str) -> None:
    with Running(server_settings(AUTHORITY, 1)) as tunnel:
        with plain_client(tunnel.port) as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
        eventually(lambda: tunnel.meters.handshake_failures[reason] == 1, f"{tunnel.meters.handshake_failures}")
        tunnel.wait_until_idle()


@versions
def test_with_an_optional_certificate_the_policy_decides_about_none(version: str) -> None:
    context = ServerContext(
        material(AUTHORITY.server(), AUTHORITY), replace(TLS, client_auth="optional"), now=time.time
    )
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, server_context=context)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, None, version=version) as wire:
            wire.send(b"who")
            assert wire.read(3) == b"who"
        tunnel.settings.policy = Policy.of(Acl(allow=Rules(cn=("frontend-service",))))
        assert ending_of(tunnel.port, None, version) != "accepted"
        assert tunnel.meters.decisions == {"allow": 1, "deny": 1, "audit_deny": 0}
        assert ending_of(tunnel.port, ROGUE.client(), version) != "accepted"
        eventually(lambda: tunnel.meters.handshake_failures["unknown_ca"] == 1, "a bad certificate is worse than none")


def test_an_intermediate_may_be_the_anchor() -> None:
    """As in Go and HAProxy; OpenSSL alone would ask for the root above it."""
    intermediate = AUTHORITY.intermediate()
    context = ServerContext(material(AUTHORITY.server(), intermediate), TLS, now=time.time)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, server_context=context)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, intermediate.client()) as wire:
            wire.send(b"hello")
            assert wire.read(5) == b"hello"
        assert ending_of(tunnel.port, AUTHORITY.client(), "1.3").endswith("unknown_ca")


@pytest.mark.parametrize("crl_check", ["leaf", "chain"])
def test_revocation_is_judged_in_the_handshake_and_fails_closed(crl_check: Literal["leaf", "chain"]) -> None:
    good, bad = AUTHORITY.client("good"), AUTHORITY.client("bad")
    tls = replace(TLS, crl="crl.pem", crl_check=crl_check)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port)) as tunnel:

        def crls(*lists: object) -> None:
            made = material(AUTHORITY.server(), AUTHORITY, crls=lists)
            tunnel.settings.server_context = ServerContext(made, tls, now=time.time)

        crls(AUTHORITY.crl(bad))
        with tls_client(tunnel.port, AUTHORITY, good) as wire:
            wire.send(b"hello")
            assert wire.read(5) == b"hello"
        assert ending_of(tunnel.port, bad, "1.3").endswith("certificate_revoked")
        crls(AUTHORITY.crl(bad, hours=-1, since_hours=-2))
        assert ending_of(tunnel.port, good, "1.3") != "accepted"
        crls(Authority("Other").crl())
        assert ending_of(tunnel.port, good, "1.3") != "accepted"
        crls()
        assert ending_of(tunnel.port, good, "1.3") != "accepted"
        assert tunnel.meters.handshake_failures["revoked"] == 1
        eventually(
            lambda: tunnel.meters.handshake_failures["crl_unavailable"] == 3, f"{tunnel.meters.handshake_failures}"
        )


def test_a_trust_domain_is_vouched_for_by_its_own_ca_only() -> None:
    domain = Authority("Domain")
    made = material(AUTHORITY.server(), AUTHORITY, trust=(("example.org", (domain,)),))
    context = ServerContext(made, TLS, now=time.time)
    with Echo() as backend, Running(server_settings(AUTHORITY, backend.port, server_context=context)) as tunnel:
        with tls_client(tunnel.port, AUTHORITY, domain.client(uri=(SPIFFE_ID,))) as wire:
            wire.send(b"hello")
            assert wire.read(5) == b"hello"
        assert ending_of(tunnel.port, AUTHORITY.client(uri=(SPIFFE_ID,)), "1.3") != "accepted"
        assert ending_of(tunnel.port, domain.client(), "1.3") != "accepted"
        eventually(lambda: tunnel.meters.handshake_failures["unknown_ca"] == 2, f"{tunnel.meters.handshake_failures}")


@versions
@pytest.mark.parametrize(
    ("make", "tls", "reason"),
    [
        pytest.param(lambda: AUTHORITY.leaf("x", dns=("other",)), {}, "name_mismatch", id="wrong name"),
        pytest.param(lambda: AUTHORITY.cn_only("localhost"), {}, "name_mismatch", id="common name only"),
        pytest.param(ROGUE.server, {}, "unknown_ca", id="foreign CA"),
        pytest.param(AUTHORITY.expired, {}, "expired", id="expired"),
        pytest.param(lambda: AUTHORITY.client("localhost"), {}, "wrong_purpose", id="client only"),
        pytest.param(lambda: AUTHORITY.server(uri=(SPIFFE_ID + "x",)), {"server_uri": (SPIFFE_ID,)}, "name_mismatch",
                     id="wrong SPIFFE ID"),
        pytest.param(lambda: AUTHORITY.leaf("x", ip=("10.0.0.1",)), {"server_name": "127.0.0.1"}, "name_mismatch",
                     id="wrong address"),
    ],
)  # fmt: skip
def test_a_wrong_server_is_refused_inside_the_handshake(
    make: Callable[[], object], tls: dict[str, object], reason: str, version: str
) -> None:
    credential = make()
    server = tls_context(AUTHORITY, credential, client=False, version=version)  # type: ignore[arg-type]
    settings = replace(TLS, **tls)  # type: ignore[arg-type]
    with TlsServer(server) as upstream, Running(client_settings(AUTHORITY, upstream.port, tls=settings)) as tunnel:
        with plain_client(tunnel.port) as application:
            application.sendall(b"secret")
            with pytest.raises((Alert, ConnectionResetError)):
                upstream.accept()
            with pytest.raises(ConnectionResetError):
                application.recv(1)
        eventually(lambda: tunnel.meters.handshake_failures[reason] == 1, f"{tunnel.meters.handshake_failures}")
        tunnel.wait_until_idle()


@versions
@pytest.mark.parametrize("audit", [False, True])
def test_the_acl_of_client_mode_judges_the_server_inside_the_handshake(version: str, audit: bool) -> None:
    acl = Acl(allow=Rules(cn=("somebody-else",)), mode="audit" if audit else "enforce")
    server = tls_context(AUTHORITY, AUTHORITY.server(), client=False, version=version)
    with TlsServer(server) as upstream:
        settings = client_settings(AUTHORITY, upstream.port)
        settings.client_context = ClientContext(
            material(AUTHORITY.client(), AUTHORITY),
            replace(TLS, server_name="localhost"),
            host="127.0.0.1",
            policy=lambda: Policy.of(acl),
            now=time.time,
        )
        with Running(settings) as tunnel, plain_client(tunnel.port) as application:
            application.sendall(b"secret")
            if audit:
                with upstream.accept() as wire:
                    assert wire.recv() == b"secret"
            else:
                with pytest.raises((Alert, ConnectionResetError)):
                    upstream.accept()
            result = "audit_deny" if audit else "deny"
            eventually(lambda: tunnel.meters.decisions[result] == 1, f"{tunnel.meters.decisions}")
            assert sum(tunnel.meters.handshake_failures.values()) == 0


def test_a_server_that_refuses_our_certificate_after_our_handshake_is_named(caplog: pytest.LogCaptureFixture) -> None:
    server = tls_context(Authority("Another"), AUTHORITY.server(), client=False)
    with TlsServer(server) as upstream, Running(client_settings(AUTHORITY, upstream.port)) as tunnel:
        with plain_client(tunnel.port) as application, caplog.at_level(logging.WARNING, "mtls_tunnel"):
            with pytest.raises(Alert):
                upstream.accept()
            with pytest.raises(ConnectionResetError):
                application.recv(1)
        eventually(lambda: tunnel.meters.handshake_failures["other"] == 1, f"{tunnel.meters.handshake_failures}")
        assert any("unknown_ca" in str(record.__dict__.get("attributes")) for record in caplog.records)
