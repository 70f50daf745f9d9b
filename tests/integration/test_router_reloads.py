"""A reload changes the router whole: domain, issuer, store; live sessions are judged by what is so then.

What it held before is given back: tasks, descriptors, sessions of the database.
"""

import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.clients import PING, ask, connect, rest
from support.routed import ORG, USER, Routed, server_name, spiffe
from support.routes import FileRoutes, PostgresRoutes, Routes
from support.servers import Echo
from support.waiting import eventually


@contextmanager
def live(routed: Routed) -> Iterator[ssl.SSLSocket]:
    with connect(routed.port, routed.good, name=server_name()) as connection:
        assert ask(connection) == PING
        yield connection


def test_another_domain_counts_for_new_connections(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed, live(routed) as connection:
        routed.tunnel.rewrite({"router": {"domain": "other.example"}})
        routed.tunnel.hang_up()
        assert routed.attempt().endswith("unrecognized_name")
        assert routed.attempt(name="nowhere.other.example") == "closed"
        assert ask(connection) == PING


def test_another_issuer_ends_the_sessions_of_the_one_before(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed, live(routed) as connection:
        routed.tunnel.rewrite({"router": {"issuer": "example.org"}})
        routed.tunnel.hang_up()
        assert rest(connection) in ("closed", "reset")
        assert (routed.lets_in(), routed.lets_in(routed.bearing(spiffe(issuer="example.org")))) == (False, True)


def test_another_store_decides_about_live_sessions_too(tmp_path: Path, database: PostgresRoutes) -> None:
    file = FileRoutes(tmp_path / "routes.yaml")
    with Routed(tmp_path, file) as routed:
        with live(routed) as connection:
            routed.use_store(database.settings)
            routed.tunnel.hang_up()
            routed.tunnel.wait_for_line('msg="router: store connected"')
            assert rest(connection) in ("closed", "reset")
        assert not routed.lets_in()
        database.put("backend_hosts", connect_id="test-host-01", internal_ip_addr=routed.backend.address, org_id=ORG,
                     user_ids=[USER])  # fmt: skip
        database.put("users", user_id=USER, org_id=ORG)
        eventually(routed.lets_in, "the rows of the other store count")
        with live(routed) as connection:
            routed.use_store(file.settings)
            routed.tunnel.hang_up()
            assert ask(connection) == PING
        eventually(lambda: _sessions(database) == 0, "the database is left alone")
        routed.greet()


def test_a_store_that_cannot_be_used_changes_nothing(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed, live(routed) as connection:
        descriptors = routed.tunnel.descriptors
        routed.use_store({"type": "file", "file": str(tmp_path / "nothing.yaml")}, domain="other.example")
        routed.tunnel.wait_for_line('msg="config: reload failed, keeping the configuration in use" .*nothing.yaml')
        routed.greet()
        assert ask(connection) == PING
        routed.tunnel.wait_for_descriptors(descriptors)


def test_a_router_that_is_no_longer_configured_leaves_with_its_last_session(
    tmp_path: Path, database: PostgresRoutes
) -> None:
    """Another mode under the same name: the old sessions go on, and are judged; then nothing is left of it."""
    with Echo() as other, Routed(tmp_path, database) as routed:
        with live(routed) as connection:
            settings = {key: value for key, value in routed.tunnel.settings.items() if key != "router"}
            routed.tunnel.settings = settings
            routed.tunnel.rewrite({"mode": "server", "target": other.address})
            routed.tunnel.hang_up()
            routed.greet()
            assert other.accepted == 1
            assert ask(connection) == PING
            assert _sessions(database) >= 2
        eventually(lambda: _sessions(database) == 0, "the database is left alone")
        assert routed.tunnel.alive


def test_many_reloads_and_sessions_leave_nothing_behind(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        routed.greet()
        routed.tunnel.wait_until_idle()
        before = routed.tunnel.descriptors
        for number in range(10):
            routed.tunnel.rewrite({"router": {"store": {"cache": f"{number + 1}s"}}})
            routed.tunnel.hang_up()
            eventually(routed.lets_in, "the store answers")
        routed.tunnel.wait_until_idle()
        routed.tunnel.wait_for_descriptors(before)
        if isinstance(routes, PostgresRoutes):
            eventually(lambda: _sessions(routes) == 2, "one that listens, one that asks")


def test_sigterm_drains_live_sessions_and_ends_the_sessions_of_the_database(
    tmp_path: Path, database: PostgresRoutes
) -> None:
    with Routed(tmp_path, database) as routed:
        with live(routed) as connection:
            routed.tunnel.signal(signal.SIGTERM)
            routed.tunnel.wait_for_line("received signal, shutting down")
            assert ask(connection) == PING
        assert routed.tunnel.wait() == 0
        assert routed.tunnel.errors == []
        eventually(lambda: _sessions(database) == 0, "the database is left alone")


def _sessions(database: PostgresRoutes) -> int:
    return int(
        database.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mtls-tunnel router'"
            f" AND datname = '{database.database}'"
        )
    )
