"""What a row no longer allows ends: for new connections at once, for live ones too, and for nobody else.

Answers are kept for an hour here, so that only being told of the change can explain what happens; where nobody
tells, they are kept for a moment, and their end is when the router looks again.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import PING, ask, connect, rest
from support.postgres import Postgres
from support.routed import HOST, ORG, USER, Routed, server_name
from support.routes import PostgresRoutes, Routes
from support.servers import Echo
from support.waiting import eventually

LONG = {"router": {"store": {"cache": "1h"}}}
SHORT = {"router": {"store": {"cache": "200ms"}}}
ENDED = 'msg="session closed: no longer authorized" .*reason=denied rule={}'

WITHDRAWALS: list[tuple[str, str, Callable[[Routed], None]]] = [
    ("taken off the list", "not_allowed", lambda routed: routed.put_host(user_ids=["ann"])),
    ("host moved to another organization", "wrong_org", lambda routed: routed.put_host(org_id="org-9")),
    ("host removed", "unknown_host", lambda routed: routed.routes.drop("backend_hosts", HOST)),
    ("host renamed", "unknown_host", lambda routed: routed.routes.rename("backend_hosts", HOST, "renamed")),
    ("all hosts removed", "unknown_host", lambda routed: routed.routes.clear("backend_hosts")),
    ("user removed", "unknown_user", lambda routed: routed.routes.drop("users", USER)),
    ("user renamed", "unknown_user", lambda routed: routed.routes.rename("users", USER, "renamed")),
    ("all users removed", "unknown_user", lambda routed: routed.routes.clear("users")),
    ("user moved", "wrong_org", lambda routed: routed.routes.put("users", user_id=USER, org_id="org-9")),
]


@contextmanager
def live(routed: Routed, tls: ssl.SSLContext | None = None, connect_id: str = HOST) -> Iterator[ssl.SSLSocket]:
    with connect(routed.port, tls or routed.good, name=server_name(connect_id)) as connection:
        assert ask(connection) == PING
        yield connection


def test_each_withdrawal_ends_the_live_session_and_admits_no_new_one(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes, LONG) as routed:
        for name, rule, withdraw in WITHDRAWALS:
            eventually(routed.lets_in, "access is as at the start")
            line = ENDED.format(rule)
            before = routed.tunnel.count(line)
            with live(routed) as connection:
                withdraw(routed)
                assert rest(connection) in ("closed", "reset"), name
            assert not routed.lets_in(), name
            routed.tunnel.wait_for_line(line, times=before + 1)
            routed.put_host()
            routed.routes.put("users", user_id=USER, org_id=ORG)
        eventually(routed.lets_in, "what is given back counts too")


def test_leaving_a_team_ends_what_it_allowed_and_nothing_else(tmp_path: Path, routes: Routes) -> None:
    routes.put("users", user_id="ann", org_id=ORG)
    routes.put("teams", team_id="ops", org_id=ORG, user_ids=["ann"])
    routed = Routed(tmp_path, routes, LONG)
    routed.put_host("team-host", user_ids=[USER], team_ids=["ops"])
    with routed:
        ann = routed.person("ann")
        with live(routed, ann, "team-host") as hers, live(routed, None, "team-host") as his:
            routes.put("teams", team_id="ops", org_id=ORG, user_ids=["bob"])
            assert rest(hers) in ("closed", "reset")
            assert ask(his) == PING
        assert not routed.lets_in(ann, "team-host")


def test_another_address_counts_for_new_connections_only(tmp_path: Path, routes: Routes) -> None:
    with Echo() as second, Routed(tmp_path, routes, LONG) as routed, live(routed) as connection:
        routed.put_host(internal_ip_addr=second.address)
        eventually(lambda: routed.lets_in() and second.accepted > 0, "new connections go to the new address")
        assert ask(connection) == PING


def test_reauthorize_log_says_it_and_closes_nothing(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes, {**LONG, "acl": {"reauthorize": "log"}}) as routed, live(routed) as connection:
        routed.put_host(user_ids=[])
        routed.tunnel.wait_for_line('msg="session kept: no longer authorized" .*rule=not_allowed')
        assert ask(connection) == PING
        assert not routed.lets_in()


def test_without_triggers_the_end_of_the_answer_is_when_it_counts(tmp_path: Path, postgres: Postgres) -> None:
    routes = PostgresRoutes(postgres, triggers=False)
    with Routed(tmp_path, routes, SHORT) as routed:
        routed.tunnel.wait_for_line('level=WARN msg="router: the store tells of no changes.*remedy=.*init-db --apply')
        with live(routed) as connection:
            routed.put_host(user_ids=[])
            assert rest(connection) in ("closed", "reset")
        assert not routed.lets_in()
        routed.put_host()
        eventually(routed.lets_in, "what is given back counts too")


def test_without_triggers_nothing_is_told_before_the_answer_ends(tmp_path: Path, postgres: Postgres) -> None:
    """The counterpart, so that the tests above do prove what they say."""
    routes = PostgresRoutes(postgres, triggers=False)
    with Routed(tmp_path, routes, LONG) as routed, live(routed) as connection:
        routed.put_host(user_ids=[])
        assert routed.lets_in()
        assert ask(connection) == PING


@pytest.mark.parametrize("key", [pytest.param("x" * 8000, id="too long"), pytest.param("a=b", id="an equals sign")])
def test_keys_of_any_shape_are_told(tmp_path: Path, database: PostgresRoutes, key: str) -> None:
    """A key that does not fit into a notification is told as "anything may have changed"."""
    database.put("teams", team_id=key, org_id=ORG, user_ids=[USER])
    routed = Routed(tmp_path, database, LONG)
    routed.put_host(user_ids=[], team_ids=[key])
    # The helper of `Routed` puts the host anew, with the user listed: a second one is used here.
    routed.put_host("by-team", user_ids=[], team_ids=[key])
    with routed, live(routed, None, "by-team") as connection:
        database.put("teams", team_id=key, org_id=ORG, user_ids=[])
        assert rest(connection) in ("closed", "reset")
        assert not routed.lets_in(connect_id="by-team")


def test_a_listener_that_is_thrown_out_misses_nothing(tmp_path: Path, database: PostgresRoutes) -> None:
    """As a fail-over or an idle limit does it: the session is ended, and what was kept is worth nothing."""
    with Routed(tmp_path, database, LONG) as routed, live(routed) as connection:
        database.sql(
            "BEGIN; ALTER TABLE backend_hosts DISABLE TRIGGER ALL; UPDATE backend_hosts SET user_ids = '{}';"
            "ALTER TABLE backend_hosts ENABLE TRIGGER ALL; COMMIT;"
        )
        assert ask(connection) == PING
        database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database.database}' AND pid <> pg_backend_pid() AND query NOT LIKE '%never%'"
        )
        assert rest(connection) in ("closed", "reset")
        routed.tunnel.wait_for_line('msg="router: store connected"', times=2)
        eventually(lambda: not routed.lets_in(), "the missed change counts")
