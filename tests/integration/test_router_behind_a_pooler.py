"""pgbouncer in transaction mode passes no notification on: that is noticed, said, and the cache time counts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import PING, ask, connect, rest
from support.ports import free_port, listening
from support.postgres import Postgres, as_owner
from support.processes import Child
from support.routed import Routed, server_name
from support.routes import PASSWORD, USER, PostgresRoutes
from support.tools import need
from support.waiting import eventually

OPTIONS = [
    pytest.param([], id="limits are refused"),
    pytest.param(
        ["ignore_startup_parameters = statement_timeout,default_transaction_read_only"], id="limits are ignored"
    ),
]


@contextmanager
def pooler(server: Postgres, options: Sequence[str]) -> Iterator[int]:
    port = free_port()
    users = server.give("users.txt", f'"{USER}" "{PASSWORD}"\n')
    settings = server.give(
        "pgbouncer.ini",
        "\n".join(
            (
                "[databases]",
                f"* = host=127.0.0.1 port={server.port}",
                "[pgbouncer]",
                f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
                f"auth_type = scram-sha-256\nauth_file = {users}",
                "pool_mode = transaction\ndefault_pool_size = 3",
                *options,
            )
        ),
    )
    words: list[str | Path] = [*as_owner(), need("pgbouncer"), settings]
    with Child(words, cwd=server.folder) as child:
        eventually(lambda: child.alive and listening(port), "pgbouncer listens")
        yield port


@pytest.mark.parametrize("options", OPTIONS)
def test_behind_a_pooler_the_end_of_the_answer_is_when_it_counts(
    tmp_path: Path, postgres: Postgres, options: list[str]
) -> None:
    routes = PostgresRoutes(postgres)
    with pooler(postgres, options) as port:
        routed = Routed(tmp_path, routes)
        routed.store = {**routes.settings, "db_port": port, "cache": "200ms"}
        with routed:
            routed.tunnel.wait_for_line('level=WARN msg="router: notifications do not arrive.*pooler')
            with connect(routed.port, routed.good, name=server_name()) as connection:
                assert ask(connection) == PING
                for _ in range(20):  # statements of several sessions share a few servers
                    assert routed.lets_in()
                routed.put_host(user_ids=[])
                assert rest(connection) in ("closed", "reset")
            assert not routed.lets_in()
            assert routed.tunnel.count("store unavailable") == (1 if not options else 0)
