"""The tables of an ssh-router database are taken as they are: read-only rights, no trigger, the documented INSERTs.

One of the INSERT statements that circulate is no valid SQL; docs/router.md says so, and so does PostgreSQL.
"""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from mtls_tunnel.router.schema import INIT
from support.guarded import Sign
from support.postgres import Postgres
from support.routed import ORG, USER, Routed, refused
from support.routes import PostgresRoutes
from support.tunnels import command

TABLES = """
CREATE TABLE backend_hosts (
    connect_id      TEXT PRIMARY KEY,
    internal_ip_addr TEXT NOT NULL,
    org_id          TEXT NOT NULL,
    user_ids        TEXT[] NOT NULL DEFAULT '{}',
    team_ids        TEXT[] NOT NULL DEFAULT '{}',
    host_user       TEXT
);
CREATE TABLE teams (team_id TEXT PRIMARY KEY, org_id TEXT NOT NULL, user_ids TEXT[] NOT NULL DEFAULT '{}');
CREATE TABLE users (user_id TEXT PRIMARY KEY, org_id TEXT NOT NULL, public_keys BYTEA[] NOT NULL DEFAULT '{}');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO tinyscale;
"""
HOST_ROW = """
INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids)
VALUES ('test-host-01', '{address}', 'org-123', ARRAY['user-456'], ARRAY[]{cast});
"""
USER_ROW = """
INSERT INTO users (user_id, org_id, public_keys)
VALUES ('user-456', 'org-123', ARRAY[]::BYTEA[]);
"""


@pytest.fixture(name="existing")
def _existing(database: PostgresRoutes) -> PostgresRoutes:
    database.sql("DROP TABLE backend_hosts, teams, users; DROP FUNCTION mtls_tunnel_router_changed;" + TABLES)
    return database


def test_the_documented_example_lets_user_456_through_and_nobody_else(tmp_path: Path, existing: PostgresRoutes) -> None:
    routed = Routed(tmp_path, existing)
    refusal = existing.server.psql(
        HOST_ROW.format(address="192.168.1.100:22", cast=""),
        f"host={existing.server.folder} port={existing.server.port} user=app dbname={existing.database}",
    )
    assert "cannot determine type of empty array" in refusal.stderr
    existing.sql(HOST_ROW.format(address=routed.backend.address, cast="::TEXT[]") + USER_ROW)
    with routed.without_rows() as routed:
        routed.greet()
        routed.tunnel.wait_for_line("router: the store tells of no changes")
        cases: list[tuple[Sign, str, str]] = [
            (refused("unknown_user"), "user-457", ORG),
            (refused("wrong_org"), USER, "org-124"),
        ]
        for sign, user, org in cases:
            with routed.refuses(sign):
                routed.attempt(routed.person(user, org))


def test_nothing_but_reading_is_asked_for(tmp_path: Path, existing: PostgresRoutes) -> None:
    """Whoever watches the database sees no statement that writes, and none would be allowed."""
    rights = (
        "SELECT string_agg(DISTINCT privilege_type, ',') FROM information_schema.role_table_grants"
        " WHERE grantee = 'tinyscale'"
    )
    with Routed(tmp_path, existing) as routed:
        routed.greet()
        assert existing.sql(rights).strip() == "SELECT"
        sessions = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mtls-tunnel router'"
            f" AND datname = '{existing.database}'"
        )
        assert 2 <= int(existing.sql(sessions)) <= 11


def test_columns_that_may_be_null_count_as_empty(tmp_path: Path, existing: PostgresRoutes) -> None:
    existing.sql("ALTER TABLE backend_hosts ALTER user_ids DROP NOT NULL, ALTER team_ids DROP NOT NULL")
    routed = Routed(tmp_path, existing)
    existing.sql(
        "INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids)"
        f" VALUES ('odd', '{routed.backend.address}', '{ORG}', NULL, NULL)"
    )
    with routed, routed.refuses(refused("not_allowed")):
        routed.attempt(connect_id="odd")


def test_init_db_prints_and_touches_nothing() -> None:
    printed = command("router", "init-db", "--db-host=203.0.113.1")
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, INIT, "")


def test_init_db_applies_twice_and_alters_nothing_that_exists(existing: PostgresRoutes) -> None:
    existing.sql("ALTER TABLE users ADD note TEXT DEFAULT 'kept'; ALTER TABLE teams ALTER org_id DROP NOT NULL;")
    existing.sql(USER_ROW)
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    triggers = (
        "SELECT tgrelid::regclass, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    )
    before = existing.sql(columns)
    seen = []
    for _ in range(2):
        applied = _apply(existing.server, existing.database)
        assert (applied.returncode, applied.stderr) == (0, "")
        seen.append((existing.sql(columns), existing.sql(triggers), existing.sql("SELECT note FROM users")))
    assert seen[0] == seen[1]
    assert seen[0][0] == before
    assert seen[0][1].count("\n") == 6
    assert seen[0][2] == "kept\n"


def test_init_db_makes_an_empty_database_ready(tmp_path: Path, existing: PostgresRoutes) -> None:
    existing.sql("DROP TABLE backend_hosts, teams, users")
    assert _apply(existing.server, existing.database).returncode == 0
    existing.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO tinyscale")
    with Routed(tmp_path, existing) as routed:
        routed.tunnel.wait_for_line('msg="router: store connected" notifications=true')
        routed.greet()


def test_init_db_says_why_it_cannot(postgres: Postgres) -> None:
    ended = command("router", "init-db", "--apply", f"--db-host={postgres.folder}", "--db-port=1", "--db-name=x")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")


def _apply(server: Postgres, database: str) -> CompletedProcess[str]:
    where = (f"--db-host={server.folder}", f"--db-port={server.port}", "--db-user=app", f"--db-name={database}")
    applied: CompletedProcess[str] = command("router", "init-db", "--apply", *where)
    return applied
