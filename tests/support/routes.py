"""The rows that a router goes by, in a file or in PostgreSQL: the same words for both, so that a test is one for both.

    routes.put("users", user_id="user-456", org_id="org-123")     # as an INSERT, or in place of the row of that key
    routes.drop("users", "user-456")
    routes.clear("users")                                          # TRUNCATE
    routes.rename("backend_hosts", "old", "new")

Each call is one change: one transaction, or one version of the file.  `putting` takes many rows at once.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mtls_tunnel.router.schema import INIT, KEYS, TABLES
from support.postgres import Postgres
from support.tunnels import Settings, write_settings

Row = Mapping[str, Any]
USER, PASSWORD = "tinyscale", "tinyscale"
_names = itertools.count(1)


class Routes(Protocol):
    """What a test does to the rows of a store."""

    kind: str

    @property
    def settings(self) -> Settings:
        """The section ``router.store``."""
        ...

    def put(self, table: str, **row: Any) -> None: ...
    def putting(self, rows: Iterable[tuple[str, Row]]) -> None: ...
    def drop(self, table: str, key: str) -> None: ...
    def clear(self, table: str) -> None: ...
    def rename(self, table: str, old: str, new: str) -> None: ...


class FileRoutes:
    """A YAML file, written anew with each change."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: dict[str, dict[str, Row]] = {table: {} for table in KEYS}
        self._write()

    @property
    def settings(self) -> Settings:
        return {"type": "file", "file": str(self.path)}

    def put(self, table: str, **row: Any) -> None:
        self.putting([(table, row)])

    def putting(self, rows: Iterable[tuple[str, Row]]) -> None:
        for table, row in rows:
            self._tables[table][row[KEYS[table]]] = row
        self._write()

    def drop(self, table: str, key: str) -> None:
        del self._tables[table][key]
        self._write()

    def clear(self, table: str) -> None:
        self._tables[table].clear()
        self._write()

    def rename(self, table: str, old: str, new: str) -> None:
        self._tables[table][new] = {**self._tables[table].pop(old), KEYS[table]: new}
        self._write()

    def _write(self) -> None:
        write_settings(self.path, {table: list(rows.values()) for table, rows in self._tables.items()})


class PostgresRoutes:
    """A database of its own in a server that others may share; the router comes as `tinyscale`, who may only read."""

    kind = "postgresql"

    def __init__(self, server: Postgres, *, triggers: bool = True) -> None:
        self.server = server
        self.database = f"routes_{next(_names)}"
        server.sql(f"CREATE DATABASE {self.database}")
        self.sql(INIT if triggers else TABLES)
        self.sql(
            f"DO $$ BEGIN CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}';"
            " EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {USER};"
        )

    @property
    def settings(self) -> Settings:
        where = {"db_host": "127.0.0.1", "db_port": self.server.port, "db_user": USER, "db_password": PASSWORD}
        return {"type": "postgresql", **where, "db_name": self.database}

    def sql(self, statements: str) -> str:
        return self.server.sql(statements, database=self.database)

    def put(self, table: str, **row: Any) -> None:
        self.putting([(table, row)])

    def putting(self, rows: Iterable[tuple[str, Row]]) -> None:
        self.sql("BEGIN;" + "".join(_upsert(table, row) for table, row in rows) + "COMMIT;")

    def drop(self, table: str, key: str) -> None:
        self.sql(f"DELETE FROM {table} WHERE {KEYS[table]} = {_literal(key)}")

    def clear(self, table: str) -> None:
        self.sql(f"TRUNCATE {table}")

    def rename(self, table: str, old: str, new: str) -> None:
        self.sql(f"UPDATE {table} SET {KEYS[table]} = {_literal(new)} WHERE {KEYS[table]} = {_literal(old)}")


def _upsert(table: str, row: Row) -> str:
    columns, key = ", ".join(row), KEYS[table]
    values = ", ".join(_literal(value) for value in row.values())
    updates = ", ".join(f"{column} = excluded.{column}" for column in row)
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET {updates};\n"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "ARRAY[" + ", ".join(map(_literal, value)) + "]::text[]"
