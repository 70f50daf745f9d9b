"""The password of the database: taken from where libpq takes it, and told to nobody."""

import os
from pathlib import Path

import pytest

from support.clients import PING, talk
from support.ports import free_port
from support.processes import Child
from support.routed import Routed, server_name
from support.routes import PASSWORD, USER, PostgresRoutes
from support.scrape import get
from support.servers import Echo
from support.tunnels import ENVIRONMENT, PROGRAM
from support.waiting import eventually

SECRET = "correct-horse-battery"


@pytest.fixture(name="secret")
def _secret(database: PostgresRoutes) -> PostgresRoutes:
    """A user of its own, so that the word is one that occurs nowhere else."""
    name = f"router_{database.database}"
    database.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    return database


def test_no_log_and_no_page_shows_it(tmp_path: Path, secret: PostgresRoutes) -> None:
    name = f"router_{secret.database}"
    for store in (
        {"db_user": name, "db_password": SECRET},
        {"dsn": f"postgresql://{name}:{SECRET}@127.0.0.1:{secret.server.port}/{secret.database}"},
    ):
        routed = Routed(tmp_path, secret, {"logging": {"level": "debug"}})
        base = {} if "dsn" in store else secret.settings
        routed.store = {**base, "type": "postgresql", **store}
        with routed:
            routed.greet()
            routed.tunnel.hang_up()
            pages = [get(routed.tunnel.admin, path).body for path in ("/statusz", "/readyz", "/metrics", "/healthz")]
            everything = "\n".join([*routed.tunnel.lines, *routed.tunnel.errors, *pages])
            assert SECRET not in everything
            assert SECRET.encode() not in _command_lines(routed.tunnel.pid)


def _command_lines(pid: int) -> bytes:
    """Of the process and its children, as `ps` shows them."""
    lines = Path(f"/proc/{pid}/cmdline").read_bytes()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            lines += Path(f"/proc/{child}/cmdline").read_bytes()
    return lines


@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_the_command_line_of_the_connector_takes_it_from_everywhere(
    tmp_path: Path, secret: PostgresRoutes, way: str
) -> None:
    """Both dashes, equals sign or space: as the command that this one replaces was called."""
    name, port = f"router_{secret.database}", free_port()
    environment = dict(ENVIRONMENT)
    words = [
        "router", f"--listen=127.0.0.1:{port}", "-db-host", "127.0.0.1", f"-db-port={secret.server.port}",
        "--db-user", name, f"--db-name={secret.database}", "--issuer=tinyscale.com", "--log-level", "debug",
    ]  # fmt: skip
    match way:
        case "flag":
            words.append(f"--db-password={SECRET}")
        case "environment":
            environment["PGPASSWORD"] = SECRET
        case _:
            passwords = tmp_path / "pgpass"
            passwords.write_text(f"*:*:*:{name}:{SECRET}\n")
            passwords.chmod(0o600)
            environment["PGPASSFILE"] = str(passwords)
    with Echo() as backend:
        routed = Routed(tmp_path, secret, backend=backend)
        routed.put_host()
        secret.put("users", user_id="user-456", org_id="org-123")
        files = routed.files
        words += [f"--ca-certs={files.ca}", f"-server-cert={files.server.cert}", "--server-key", files.server.key]
        with Child([*PROGRAM, *words], cwd=tmp_path, env=environment) as router:
            router.wait_for_line('msg="router: store connected"')
            eventually(lambda: talk(port, routed.good, name=server_name()) == PING, "the good client gets through")
            assert SECRET not in router.output
            told = [line for line in router.errors if "visible to others in ps" in line]
            assert len(told) == (1 if way == "flag" else 0)
            environ = Path(f"/proc/{router.pid}/environ").stat()
            assert environ.st_uid == os.geteuid()


def test_the_default_is_that_of_the_connector() -> None:
    assert (USER, PASSWORD) == ("tinyscale", "tinyscale")
