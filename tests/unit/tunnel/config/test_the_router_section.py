"""Mode router in the configuration: what it needs in place of a target, and that no password is ever shown."""

import pytest

from mtls_tunnel.config.dump import dump
from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Router, Store
from mtls_tunnel.errors import ConfigError

BASE = 'mode: router\nlisten: ":8443"\ntls: {cert: c, key: k, ca: a}\n'
DATABASE = "router: {store: {type: postgresql"


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load([Source("f.yaml", text)])
    return [str(problem) for problem in caught.value.problems]


def test_the_smallest_router_has_a_file_of_routes_and_the_defaults() -> None:
    loaded = load([Source("f.yaml", f"{BASE}router: {{store: {{file: routes.yaml}}}}\n", base="/etc/tunnel")])

    assert loaded.warnings == ()
    assert loaded.config.tunnels[0].router == Router(store=Store(file="/etc/tunnel/routes.yaml"))


def test_everything_that_can_be_said_survives_being_written() -> None:
    text = f"""{BASE}router:
  domain: Go.Example.org
  issuer: example.org
  default_port: 2222
  store: {{type: postgresql, db_host: /run/pg, db_port: 5433, db_user: r, db_password: "007", db_name: x,
    cache: 0, stale: 2m}}
"""
    config = load([Source("f.yaml", text)]).config

    router = config.tunnels[0].router
    assert router is not None
    assert (router.domain, router.store.db_host, router.store.db_password) == ("go.example.org", "/run/pg", "007")
    assert (router.store.cache_seconds, router.store.stale_seconds) == (0, 120)
    assert load([Source("", dump(config))]).config == config
    assert "007" not in repr(config)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "router.store.file: is missing - a YAML file with backend_hosts, teams and users, or type: postgresql"),
        ("router: {store: {file: f, db_host: h}}", "router.store.db_host: has no meaning with type: file"),
        (f"{DATABASE}, file: f}}}}", "router.store.file: has no meaning with type: postgresql"),
        (f"{DATABASE}, dsn: 'postgresql://h/d', db_user: u}}}}", "router.store.db_user: stands beside dsn"),
        (f"{DATABASE}, dsn: 'mysql://u:hunter2@h/d'}}}}", "router.store.dsn: is no address of a PostgreSQL database"),
        (f"{DATABASE}, dsn: 'postgresql://u:hunter2@h:x/d'}}}}", "router.store.dsn: is no address of a database"),
        (f"{DATABASE}, dsn: 'postgresql://u:hunter2@h:0/d'}}}}", "router.store.dsn: has port 0"),
        (f"{DATABASE}, dsn: 'postgresql://u:hunter2@h/d?sslmode=perhaps'}}}}", "router.store.dsn: has an sslmode"),
        (f"{DATABASE}, db_password: [hunter2]}}}}", "router.store.db_password: must be a single string"),
        (f"{DATABASE}, db_host: 'a b'}}}}", "router.store.db_host: "),
        ("router: {domain: '*.example.org', store: {file: f}}", "router.domain: "),
        ("router: {issuer: Example.org, store: {file: f}}", "router.issuer: "),
        ("router: {default_port: 0, store: {file: f}}", "router.default_port: must be a whole number from 1 to 65535"),
        ("target: 'a:1'\nrouter: {store: {file: f}}", "target: has no meaning in mode router"),
    ],
)
def test_each_fault_is_told_at_its_place_and_without_the_password(lines: str, sentence: str) -> None:
    problems = told(f"{BASE}{lines}\n")

    assert len(problems) == 1
    assert problems[0].startswith(f"f.yaml: {sentence}")
    assert "hunter2" not in problems[0]


def test_nobody_is_routed_without_a_certificate() -> None:
    text = BASE.replace("ca: a}", "ca: a, client_auth: optional}") + "router: {store: {file: f}}\n"

    assert told(text) == [
        "f.yaml: tls.client_auth: must be required in mode router - remove it: nobody is routed without a name"
    ]


def test_an_entry_among_several_tunnels_may_be_a_router() -> None:
    text = """tls: {cert: c, key: k, ca: a}
tunnels:
- {name: ssh, mode: router, listen: ":1", router: {store: {file: f}}}
- {name: web, mode: server, listen: ":2", target: "a:3"}
"""
    config = load([Source("f.yaml", text)]).config

    assert [tunnel.router is None for tunnel in config.tunnels] == [False, True]
    assert load([Source("", dump(config))]).config == config
