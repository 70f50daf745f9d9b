"""A session ticket never outlives what it was given for: revocation, a narrower ACL, a removed CA, expiry.

The client keeps its session and offers it again after the change; it must be refused as with a full
handshake.  Without a change the session is resumed, so the tests do try what they say they try.
"""

import ssl
import time
from pathlib import Path

import pytest

from support.clients import PING, Version, ask, connect, context, refusal
from support.guarded import Guarded, handshake_failure, server_settings
from support.pki import Authority
from support.ports import free_port
from support.tunnels import Tunnel
from support.waiting import eventually
from support.withdrawals import CHANGES, Change, trusting_both, withdraw

VERSIONS = [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")]


def session_of(port: int, tls: ssl.SSLContext) -> ssl.SSLSession:
    """A session that can be resumed: on TLS 1.3 its ticket comes with the first answer."""
    with connect(port, tls) as connection:
        assert ask(connection) == PING
        session = connection.session
    assert session is not None
    return session


def resumed(port: int, tls: ssl.SSLContext, session: ssl.SSLSession) -> bool:
    with connect(port, tls, session=session) as connection:
        assert ask(connection) == PING
        return bool(connection.session_reused)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_while_nothing_has_changed(tmp_path: Path, version: Version) -> None:
    with Guarded(tmp_path) as guarded:
        tls = context(guarded.files, guarded.files.client, version=version)
        assert resumed(guarded.port, tls, session_of(guarded.port, tls))
        assert guarded.tunnel.value("mtlsd_acl_decisions_total", result="allow") == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", CHANGES)
def test_after_the_change_the_session_opens_nothing(tmp_path: Path, version: Version, change: Change) -> None:
    other = Authority("Second Root")
    with trusting_both(tmp_path, other) as guarded:
        holder = other.client("holder")
        identity = guarded.files.write("holder", holder)
        tls = context(guarded.files, identity, version=version)
        session = session_of(guarded.port, tls)
        with guarded.refuses(withdraw(change, guarded, other, holder)):
            refusal(guarded.port, tls, session=session)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_does_not_outlive_its_certificate(tmp_path: Path, version: Version) -> None:
    with Guarded(tmp_path) as guarded:
        brief = guarded.authority.leaf("brief", days=(time.time() - guarded.authority.now + 4) / 86400)
        tls = context(guarded.files, guarded.files.write("brief", brief), version=version)
        session = session_of(guarded.port, tls)
        ends = brief.certificate.not_valid_after_utc.timestamp()
        eventually(lambda: time.time() > ends + 1, "the certificate has expired")
        with guarded.refuses(handshake_failure("expired")):
            refusal(guarded.port, tls, session=session)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_one_tunnel_opens_no_other(tmp_path: Path, version: Version) -> None:
    """Two tunnels in one process that trust different CAs."""
    strict = Authority("Strict Root")
    with Guarded(tmp_path / "first") as first:
        bundle = first.files.write_ca(strict, name="strict.pem")
        second = {"name": "second", "listen": f"127.0.0.1:{free_port()}", "tls": {"ca": bundle}}
        settings = server_settings(first.files, free_port(), first.backend.address)
        settings["tunnels"] = [{"name": "first", "listen": settings.pop("listen")}, second]
        mode, target = settings.pop("mode"), settings.pop("target")
        for tunnel in settings["tunnels"]:
            tunnel |= {"mode": mode, "target": target}
        with Tunnel(tmp_path, settings) as both:
            easy, hard = (int(tunnel["listen"].rpartition(":")[2]) for tunnel in settings["tunnels"])
            tls = context(first.files, first.files.client, version=version)
            session = session_of(easy, tls)
            accepted = first.backend.accepted
            assert refusal(hard, tls, session=session) == "unknown_ca"
            both.wait_for_value(1, "mtlsd_handshake_failures_total", tunnel="second", reason="unknown_ca")
            assert first.backend.accepted == accepted
