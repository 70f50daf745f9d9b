"""examples/postgresql: psql, two tunnels, a real PostgreSQL; the files are those of the example.

The database is a private one in a temporary directory.  It does not start as root, so root hands it to the
`postgres` user of the package.
"""

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.examples import example_copy, moved
from support.ports import free_port, listening
from support.processes import Child, run
from support.tools import missing, need, need_file
from support.tunnels import ENVIRONMENT, PROGRAM, command
from support.waiting import eventually

ROWS = 200_000


def as_owner() -> list[str]:
    """The words before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        missing("user postgres", "apt-get install postgresql")
    return [need("setpriv", "util-linux"), "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


@pytest.fixture(name="postgres_port")
def _postgres_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    initdb = need_file("/usr/lib/postgresql/*/bin/initdb", "postgresql")
    owner, port = as_owner(), free_port()
    folder = Path(run([*owner, "mktemp", "-d", "/tmp/tunnel-postgres-XXXXXX"]).stdout.strip())
    try:
        made = run([*owner, initdb, "-D", folder / "db", "-A", "trust", "-U", "app", "-N", "-E", "UTF8"], cwd=folder)
        assert made.returncode == 0, made.stderr
        server = Path(initdb).with_name("postgres")
        settings = [
            f"-cport={port}",
            "-clisten_addresses=127.0.0.1",
            f"-cunix_socket_directories={folder}",
            "-cfsync=off",
        ]
        with Child([*owner, server, "-D", folder / "db", *settings], cwd=folder) as database:
            eventually(lambda: listening(port) and database.alive, "PostgreSQL listens")
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def psql(port: int, sql: str) -> str:
    address = f"host=127.0.0.1 port={port} sslmode=disable user=app dbname=postgres connect_timeout=20"
    ended = run([need("psql", "postgresql-client"), address, "-qAtX", "-v", "ON_ERROR_STOP=1"], text=sql)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_psql_works_as_if_nothing_were_between(tmp_path: Path, postgres_port: int) -> None:
    folder = example_copy("postgresql", tmp_path)
    for words in (
        ("init", "certs"),
        ("issue", "certs", "database", "--dns", "database.example", "--server"),
        ("issue", "certs", "billing-app", "--cn", "billing-app", "--client"),
    ):
        made = command("certs", *words, cwd=folder)
        assert made.returncode == 0, made.stderr
    ports = moved(folder, keep={5432: postgres_port})
    with ExitStack() as stack:
        tunnels = [
            stack.enter_context(Child([*PROGRAM, "run", "-c", name], cwd=folder, env=ENVIRONMENT))
            for name in ("database.yaml", "application.yaml")
        ]
        for tunnel in tunnels:
            tunnel.wait_for_line("health server listening")
        port = ports[7432]
        eventually(lambda: psql_is_up(port), "a query passes both tunnels")
        query = f"select md5(string_agg(n::text || repeat('x', 40), ',' order by n)) from generate_series(1, {ROWS}) n"
        assert psql(port, query) == psql(postgres_port, query)
        psql(port, "create table t(n int, v text);")
        rows = "".join(f"{n}\t{'y' * 60}\n" for n in range(ROWS))
        psql(port, f"copy t from stdin;\n{rows}\\.\n")
        assert psql(port, "select count(*), sum(length(v)) from t") == f"{ROWS}|{60 * ROWS}\n"
        assert psql(port, "copy t to stdout") == rows
        tunnels[0].wait_for_line('accepted connection" peer_cn=billing-app')


def psql_is_up(port: int) -> bool:
    return psql(port, "select 1") == "1\n"
