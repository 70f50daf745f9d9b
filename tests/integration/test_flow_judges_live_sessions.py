"""Live sessions are judged again: closed, mentioned or left alone as the ACL says; many of them without a stall."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from mtls_tunnel.config.schema import Acl
from mtls_tunnel.flow.registry import Judge
from mtls_tunnel.tls.engine import Peer
from support.pki import Authority
from support.servers import Echo
from support.waiting import eventually
from support.wire import Running, server_settings, tls_client

AUTHORITY = Authority()


def about(name: str, reason: str) -> Judge:
    def judge(peer: Peer) -> tuple[str, str] | None:
        return (reason, "deny_cn") if peer.identity is not None and peer.identity.cn == name else None

    return judge


@pytest.mark.parametrize(
    ("acl", "reason", "closes", "says"),
    [
        pytest.param(Acl(), "denied", True, "session closed: no longer authorized", id="denied"),
        pytest.param(Acl(), "revoked", True, "session closed: no longer authorized", id="revoked"),
        pytest.param(Acl(), "expired", False, "session kept: no longer authorized", id="expired"),
        pytest.param(Acl(on_expiry="close"), "expired", True, "session closed: no longer authorized", id="on_expiry"),
        pytest.param(Acl(on_ca_removed="log"), "ca_removed", False, "session kept: no longer authorized", id="ca"),
        pytest.param(Acl(reauthorize="log"), "revoked", False, "session kept: no longer authorized", id="log"),
        pytest.param(Acl(reauthorize="off"), "denied", False, "", id="off"),
    ],
)
def test_exactly_the_concerned_are_closed_or_mentioned(
    acl: Acl, reason: str, closes: bool, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = server_settings(AUTHORITY, 0, acl=acl, access="none")
    with Echo() as backend, Running(settings) as tunnel, caplog.at_level(logging.INFO, "mtls_tunnel"):
        settings.target = type(settings.target)("127.0.0.1", backend.port)
        bad = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client("bad"))
        good = tls_client(tunnel.port, AUTHORITY, AUTHORITY.client("good"))
        with bad, good:
            eventually(lambda: backend.open == 2, "both are through")
            assert tunnel.wait(tunnel.registry.rejudge(about("bad", reason))) == {reason: 1}
            assert tunnel.wait(tunnel.registry.rejudge(about("bad", reason))) == ({} if closes else {reason: 1})
            if closes:
                with pytest.raises(ConnectionResetError):
                    bad.read_all()
            else:
                bad.send(b"still")
                assert bad.read(5) == b"still"
            good.send(b"good")
            assert good.read(4) == b"good"
            lines = [(record.message, record.__dict__["attributes"]["reason"]) for record in caplog.records]
            assert lines == ([(says, reason)] if says else [])
        tunnel.wait_until_idle()


@pytest.mark.parametrize("on_expiry", ["close", "log"])
def test_a_certificate_that_expires_during_its_session_is_noticed(
    on_expiry: str, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    soon = authority.leaf("soon", dns=("soon",), days=3 / 86400)
    settings = server_settings(authority, 0, acl=Acl(on_expiry=on_expiry))  # type: ignore[arg-type]
    with Echo() as backend, Running(settings) as tunnel, caplog.at_level(logging.WARNING, "mtls_tunnel"):
        settings.target = type(settings.target)("127.0.0.1", backend.port)
        with tls_client(tunnel.port, authority, soon) as wire:
            eventually(lambda: caplog.records, "it is noticed")
            assert caplog.records[0].__dict__["attributes"]["reason"] == "expired"
            if on_expiry == "close":
                with pytest.raises(ConnectionResetError):
                    wire.read_all()
                tunnel.wait_until_over("expired")
            else:
                wire.send(b"kept")
                assert wire.read(4) == b"kept"


def test_judging_is_cut_into_slices_between_which_traffic_goes_on() -> None:
    def slow(_: Peer) -> None:
        time.sleep(0.02)

    settings = server_settings(AUTHORITY, 0)
    with Echo() as backend, Running(settings) as tunnel:
        settings.target = type(settings.target)("127.0.0.1", backend.port)
        wires = [tls_client(tunnel.port, AUTHORITY, AUTHORITY.client()) for _ in range(20)]
        eventually(lambda: backend.open == 20, "all are through")
        turns = tunnel.wait(_turns_while(tunnel.registry.rejudge(slow)))
        assert turns >= 19
        for wire in wires:
            wire.close()
        tunnel.wait_until_idle()


async def _turns_while(judging: Coroutine[Any, Any, object]) -> int:
    task = asyncio.ensure_future(judging)
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return turns
