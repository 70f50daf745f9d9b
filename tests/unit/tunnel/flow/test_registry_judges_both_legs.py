"""The registry: of two legs the one that is to be closed decides, and one that cannot be judged is cut."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from mtls_tunnel.config.schema import Acl
from mtls_tunnel.flow.guide import Way
from mtls_tunnel.flow.registry import Registry, Verdict
from mtls_tunnel.tls.engine import Leg, Peer
from support.leaves import someone


def peer(cn: str, leg: Leg) -> Peer:
    return Peer(someone(cn), (), leg, "TLSv1.3")


class Connected:
    """A session as the registry knows it, which remembers how it was cut."""

    def __init__(self, *peers: Peer) -> None:
        self.remote = "192.0.2.1:5000"
        self.ended = ""
        self.way: Way | None = None
        self._peers = peers
        self._mentioned: set[str] = set()

    def peers(self) -> Iterable[Peer]:
        return self._peers

    def moved(self) -> tuple[int, int]:
        return 0, 0

    def describe(self) -> dict[str, Any]:
        return {}

    def cut(self, reason: str) -> None:
        self.ended = reason

    def mention(self, reason: str) -> bool:
        fresh = reason not in self._mentioned
        self._mentioned.add(reason)
        return fresh


def judged(session: Connected, faults: dict[str, str], acl: Acl) -> str:
    """How *session* ended after a reload in which the peers of these common names have these faults."""

    def judge(one: Peer) -> Verdict | None:
        assert one.identity is not None
        reason = faults.get(one.identity.cn or "")
        return None if reason is None else (reason, "")

    registry = Registry("", acl=lambda: acl)
    registry.add(session)
    asyncio.run(registry.rejudge(judge))
    return session.ended


@pytest.mark.parametrize("worse", ["inbound", "outbound"])
@pytest.mark.parametrize(
    ("milder", "acl"),
    [("expired", Acl(on_expiry="log")), ("ca_removed", Acl(on_ca_removed="log"))],
)
def test_a_fault_that_is_only_logged_does_not_hide_one_that_closes(worse: str, milder: str, acl: Acl) -> None:
    session = Connected(peer("inbound", "inbound"), peer("outbound", "outbound"))
    faults = {"inbound": milder, "outbound": milder, worse: "revoked"}
    assert judged(session, faults, acl) == "reauthorized"


def test_faults_that_are_only_logged_keep_it() -> None:
    session = Connected(peer("inbound", "inbound"), peer("outbound", "outbound"))
    assert judged(session, {"inbound": "expired", "outbound": "expired"}, Acl(on_expiry="log")) == ""


def test_a_peer_that_cannot_be_judged_is_cut_and_the_next_is_judged() -> None:
    registry = Registry("", acl=Acl)
    unreadable, revoked = Connected(peer("unreadable", "inbound")), Connected(peer("revoked", "inbound"))

    def judge(one: Peer) -> Verdict | None:
        assert one.identity is not None
        if one.identity.cn == "unreadable":
            raise ValueError("no such curve")
        return "revoked", ""

    registry.add(unreadable)
    registry.add(revoked)
    found = asyncio.run(registry.rejudge(judge))
    assert (unreadable.ended, revoked.ended) == ("reauthorized", "reauthorized")
    assert found == {"revoked": 1}
