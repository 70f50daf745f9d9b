"""A session that is resumed is asked for everything again: the name it names now, and the rows as they are now."""

import ssl
from pathlib import Path

import pytest

from support.clients import PING, Refused, Version, ask, connect
from support.routed import HOST, Routed, refused, server_name
from support.routes import Routes
from support.waiting import eventually

VERSIONS = [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")]


def session_of(routed: Routed, tls: ssl.SSLContext) -> ssl.SSLSession:
    with connect(routed.port, tls, name=server_name()) as connection:
        assert ask(connection) == PING
        session = connection.session
    assert session is not None
    return session


def outcome(routed: Routed, tls: ssl.SSLContext, session: ssl.SSLSession, connect_id: str) -> tuple[bool, bool]:
    """Whether it was let in, and whether the session was resumed."""
    with connect(routed.port, tls, name=server_name(connect_id), session=session) as connection:
        try:
            return ask(connection) == PING, bool(connection.session_reused)
        except Refused:
            return False, bool(connection.session_reused)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_of_one_host_opens_no_other(tmp_path: Path, routes: Routes, version: Version) -> None:
    routed = Routed(tmp_path, routes)
    routed.put_host("forbidden", user_ids=["ann"])
    with routed:
        tls = routed.person(version=version)
        session = session_of(routed, tls)
        assert outcome(routed, tls, session, HOST) == (True, True)
        with routed.refuses(refused("not_allowed")):
            assert outcome(routed, tls, session, "forbidden")[0] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_is_worth_nothing_once_access_is_withdrawn(tmp_path: Path, routes: Routes, version: Version) -> None:
    with Routed(tmp_path, routes, {"router": {"store": {"cache": "1h"}}}) as routed:
        tls = routed.person(version=version)
        session = session_of(routed, tls)
        routed.put_host(user_ids=[])
        eventually(lambda: not routed.lets_in(), "access is withdrawn")
        assert outcome(routed, tls, session, HOST) == (False, True)
        routed.tunnel.wait_for_line('msg="router: refused" .*reason=not_allowed')
