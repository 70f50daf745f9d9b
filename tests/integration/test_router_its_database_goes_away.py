"""PostgreSQL restarts, hangs or was never there: what is known serves for a while, the rest is refused in bounded time.

Readiness says so by itself, and so it does when the database is back.  Live sessions stay.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import PING, ask, connect, talk
from support.postgres import Postgres
from support.routed import HOST, Routed, refused, server_name
from support.routes import PostgresRoutes
from support.scrape import get
from support.servers import Echo
from support.tunnels import Tunnel, command, write_settings
from support.waiting import eventually

NEVER_STALE = {"router": {"store": {"cache": "200ms", "stale": "0s"}}}
AWAY = 'level=ERROR msg="router: store unavailable"'
CONNECTED = 'msg="router: store connected"'


@pytest.fixture(name="server")
def _server() -> Iterator[Postgres]:
    """One that may be hurt."""
    with Postgres() as server:
        yield server


def ready(routed: Routed) -> bool:
    return get(routed.tunnel.admin, "/readyz").status == 200


def test_a_restart_under_load_is_survived(tmp_path: Path, server: Postgres) -> None:
    routed = Routed(tmp_path, PostgresRoutes(server), {"router": {"store": {"cache": "50ms", "stale": "60s"}}})
    with routed, connect(routed.port, routed.good, name=server_name()) as lasting:
        assert ask(lasting) == PING
        results: list[bool] = []
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                results.append(routed.lets_in())

        crowd = [threading.Thread(target=load) for _ in range(4)]
        for one in crowd:
            one.start()
        try:
            routed.tunnel.wait_for_value(20, "mtlsd_router_store_seconds_count")
            server.stop()
            routed.tunnel.wait_for_line(AWAY)
            routed.tunnel.wait_for_value(1, "mtlsd_router_cache_total", result="stale")
            server.start()
            routed.tunnel.wait_for_line(CONNECTED, times=2)
            done = len(results)
            eventually(lambda: len(results) > done + 20, "new connections are led again")
        finally:
            over.set()
            for one in crowd:
                one.join()
        assert results.count(False) == 0
        assert ask(lasting) == PING
        assert routed.tunnel.value("mtlsd_router_store_up") == 1


def test_without_a_stale_answer_it_is_refused_and_not_ready(tmp_path: Path, server: Postgres) -> None:
    with Routed(tmp_path, PostgresRoutes(server), NEVER_STALE) as routed:
        with connect(routed.port, routed.good, name=server_name()) as lasting:
            assert ask(lasting) == PING
            server.stop()
            eventually(lambda: not ready(routed), "not ready, without traffic")
            assert "the store is away" in get(routed.tunnel.admin, "/readyz").body
            assert routed.tunnel.value("mtlsd_router_store_up") == 0
            assert get(routed.tunnel.admin, "/healthz").status == 200
            assert routed.attempt() == "closed"
            sign = refused("store_unavailable")
            routed.tunnel.wait_for_line(sign.line)
            assert routed.tunnel.value(sign.metric, **sign.labels) == 1
            assert ask(lasting) == PING
            server.start()
            eventually(lambda: ready(routed), "ready again by itself")
            assert ask(lasting) == PING
        routed.greet()


def test_a_database_that_hangs_is_waited_for_in_bounded_time(tmp_path: Path, server: Postgres) -> None:
    with Routed(tmp_path, PostgresRoutes(server), NEVER_STALE) as routed:
        routed.greet()
        routed.tunnel.wait_until_idle()
        descriptors = routed.tunnel.descriptors
        with server.stopped():
            began = time.monotonic()
            assert routed.attempt(connect_id="not-cached") == "closed"
            # 3 s by contract; this tells "bounded" from "for ever" on any machine.
            assert time.monotonic() - began < 20
            eventually(lambda: not ready(routed), "not ready")
            assert routed.attempt() == "closed"
        eventually(lambda: ready(routed), "ready again by itself")
        routed.greet()
        routed.tunnel.wait_until_idle()
        routed.tunnel.wait_for_descriptors(descriptors)


def test_rights_that_are_taken_away_are_noticed_without_traffic(tmp_path: Path, server: Postgres) -> None:
    routes = PostgresRoutes(server)
    with Routed(tmp_path, routes, NEVER_STALE) as routed:
        routes.sql("REVOKE SELECT ON users FROM tinyscale")
        eventually(lambda: not ready(routed), "not ready")
        routed.tunnel.wait_for_line(f"{AWAY} .*permission denied")
        routes.sql("GRANT SELECT ON users TO tinyscale")
        eventually(lambda: ready(routed), "ready again by itself")
        routed.greet()


STARTS = [
    pytest.param({"db_password": "wrong-word"}, "password authentication failed", id="wrong password"),
    pytest.param({"db_name": "nothing"}, "does not exist", id="no such database"),
    pytest.param({"db_port": 9}, "refused|[Cc]onnect", id="nobody listens"),
]


@pytest.mark.parametrize(("wrong", "why"), STARTS)
def test_what_is_wrong_at_the_start_is_said_and_tried_again(
    tmp_path: Path, database: PostgresRoutes, wrong: dict[str, object], why: str
) -> None:
    routed = Routed(tmp_path, database, {"router": {"store": wrong}}, wait=False)
    with routed:
        routed.tunnel.wait_until_serving()
        routed.tunnel.wait_for_line(f"{AWAY} .*({why})")
        assert not ready(routed)
        assert routed.attempt() == "closed"
        assert "wrong-word" not in routed.tunnel.output
        right = {key: database.settings[key] for key in wrong}
        routed.tunnel.rewrite({"router": {"store": right}})
        eventually(lambda: ready(routed), "ready once it is right")
        routed.greet()


def test_a_server_that_comes_later_is_found(tmp_path: Path, server: Postgres) -> None:
    routes = PostgresRoutes(server)
    routed = Routed(tmp_path, routes, wait=False)
    with routed:
        routed.tunnel.wait_until_serving()
    server.stop()
    settings = {key: value for key, value in routed.tunnel.settings.items() if key not in ("health", "metrics")}
    with Echo(routed.backend.port), Tunnel(tmp_path, settings, name="again") as again:
        again.wait_for_line(AWAY)
        server.start()
        again.wait_for_line(CONNECTED)
        assert talk(again.port, routed.good, name=server_name()) == PING


BAD = [
    pytest.param("mysql://u:hidden-word@db/x", id="not PostgreSQL"),
    pytest.param("postgresql://u:hidden-word@db:port/x", id="no number as a port"),
    pytest.param("postgresql://u:hidden-word@db:0/x", id="port 0"),
    pytest.param("postgresql://u:hidden-word@db/x?sslmode=perhaps", id="no such sslmode"),
]


@pytest.mark.parametrize("dsn", BAD)
def test_a_dsn_that_can_never_work_ends_the_start(tmp_path: Path, database: PostgresRoutes, dsn: str) -> None:
    with Routed(tmp_path, database) as routed:
        settings = dict(routed.tunnel.settings)
    settings["router"] = {"store": {"type": "postgresql", "dsn": dsn}}
    file = write_settings(tmp_path / "bad.yaml", settings)
    ended = command("run", "-c", file)
    assert ended.returncode == 2
    assert "router.store.dsn" in ended.stderr + ended.stdout
    assert "hidden-word" not in ended.stderr + ended.stdout


def test_a_slow_statement_is_ended_on_the_server(tmp_path: Path, server: Postgres) -> None:
    """A lock on a table is not for ever: the server gives the statement up, and the router is told."""
    routes = PostgresRoutes(server)
    with Echo(), Routed(tmp_path, routes, NEVER_STALE) as routed:
        locking = threading.Thread(
            target=routes.sql, args=("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(6); COMMIT;",)
        )
        locking.start()
        try:
            eventually(lambda: not ready(routed), "not ready")
            assert routed.attempt(connect_id=HOST) == "closed"
        finally:
            locking.join()
        eventually(lambda: ready(routed), "ready again by itself")
        routed.greet()
