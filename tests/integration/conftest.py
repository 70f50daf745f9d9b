"""A router's rows are in a file or in PostgreSQL; a test that takes `routes` runs with both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import Postgres
from support.routes import FileRoutes, PostgresRoutes, Routes


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests that do it no harm."""
    with Postgres() as server:
        yield server


@pytest.fixture(params=["file", "postgresql"])
def routes(request: pytest.FixtureRequest, tmp_path: Path) -> Routes:
    if request.param == "file":
        return FileRoutes(tmp_path / "routes.yaml")
    return PostgresRoutes(request.getfixturevalue("postgres"))


@pytest.fixture
def database(postgres: Postgres) -> PostgresRoutes:
    """Rows in PostgreSQL, where only that is of interest."""
    return PostgresRoutes(postgres)
