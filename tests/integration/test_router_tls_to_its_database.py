"""The way to the database is TLS with both sides proved, all of it told by the dsn; a wrong CA is no way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pki import Authority
from support.postgres import Postgres
from support.routed import Routed
from support.routes import USER, PostgresRoutes
from support.scrape import get

HBA = ("local all all trust", "hostssl all all 127.0.0.1/32 cert")
AWAY = 'level=ERROR msg="router: store unavailable"'


@pytest.fixture(name="ca")
def _ca() -> Authority:
    return Authority("Database Root")


@pytest.fixture(name="server")
def _server(ca: Authority) -> Iterator[Postgres]:
    with Postgres(hba=HBA) as server:
        own = ca.server()
        files = {
            "ssl_cert_file": server.give("server.pem", own.cert_pem.decode()),
            "ssl_key_file": server.give("server.key", own.key_pem.decode()),
            "ssl_ca_file": server.give("ca.pem", ca.pem.decode()),
        }
        server.stop()
        server.configure({"ssl": "on", **{key: str(path) for key, path in files.items()}})
        server.start()
        yield server


def test_both_sides_are_proved(tmp_path: Path, server: Postgres, ca: Authority) -> None:
    routed, dsn = _with_dsn(tmp_path, server, ca, ca)
    with routed:
        routed.greet()
        seen = server.sql("SELECT count(*), min(version) FROM pg_stat_ssl WHERE client_dn = '/CN=tinyscale'")
        count, version = seen.strip().split("|")
        assert int(count) >= 2
        assert version == "TLSv1.3"
        assert dsn not in routed.tunnel.output


@pytest.mark.parametrize("wrong", ["server", "client"])
def test_a_foreign_ca_on_either_side_is_no_way(tmp_path: Path, server: Postgres, ca: Authority, wrong: str) -> None:
    rogue = Authority("Rogue")
    routed, _ = _with_dsn(
        tmp_path, server, rogue if wrong == "server" else ca, rogue if wrong == "client" else ca, wait=False
    )
    with routed:
        routed.tunnel.wait_until_serving()
        routed.tunnel.wait_for_line(AWAY)
        assert get(routed.tunnel.admin, "/readyz").status == 503


def _with_dsn(
    folder: Path, server: Postgres, trusted: Authority, signer: Authority, *, wait: bool = True
) -> tuple[Routed, str]:
    routes = PostgresRoutes(server)
    routed = Routed(folder, routes, wait=wait)
    own = routed.files.write("db-client", signer.leaf(USER, server=False))
    bundle = routed.files.write_ca(trusted, name="db-ca.pem")
    dsn = (
        f"postgresql://{USER}@127.0.0.1:{server.port}/{routes.database}"
        f"?sslmode=verify-full&sslrootcert={bundle}&sslcert={own.cert}&sslkey={own.key}"
    )
    routed.store = {"type": "postgresql", "dsn": dsn}
    return routed, dsn
