"""The example folders, with the commands of their README: bridge, several tunnels, Redis.

(PostgreSQL's has a test beside the other programs; the first one, a server and a client, is mtlsd's own.)
"""

import re
import shlex
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.clients import PING, ask, plain, refusal, talk
from support.examples import EXAMPLES, example_copy, moved
from support.ports import free_port, listening
from support.processes import Child, run
from support.scrape import samples
from support.servers import Echo
from support.tools import need
from support.tunnels import ENVIRONMENT, PROGRAM, Tunnel, command
from support.waiting import eventually


def readme_commands(example: str) -> list[str]:
    """The lines of the README's code block that starts with `cd EXAMPLE`."""
    block = re.search(rf"```\ncd {example}\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    assert block, f"no commands for {example}"
    return [part.strip() for line in block[1].splitlines() for part in line.split("#")[0].split("&&") if part.strip()]


def prepared(example: str, folder: Path) -> Path:
    """A copy of the example with its certificates made by the README's own commands."""
    copy = example_copy(example, folder)
    for line in readme_commands(example):
        words = shlex.split(line)
        if words[:2] == ["tunnel", "certs"]:
            made = command(*words[1:], cwd=copy)
            assert made.returncode == 0, made.stderr
    return copy


@contextmanager
def running(folder: Path, names: Sequence[str]) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        tunnels = [
            stack.enter_context(Child([*PROGRAM, "run", "-c", name], cwd=folder, env=ENVIRONMENT)) for name in names
        ]
        for tunnel in tunnels:
            tunnel.wait_for_line("certstore: watching files for changes")
        yield tunnels


def tls_of(folder: Path, name: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=folder / "ca.pem")
    made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}-key.pem")
    return made


def test_bridge(tmp_path: Path) -> None:
    folder = prepared("bridge", tmp_path)
    ports = moved(folder)
    east, west = folder / "certs" / "east", folder / "certs" / "west"
    with Echo() as stock:
        settings = {
            "mode": "server",
            "listen": f"127.0.0.1:{ports[8443]}",
            "target": stock.address,
            "tls": {"cert": str(east / "stock.pem"), "key": str(east / "stock-key.pem"), "ca": str(east / "ca.pem")},
            "acl": {"allow_cn": ["gateway"]},
        }
        with Tunnel(tmp_path, settings, name="stock"), running(folder, ["bridge.yaml"]):
            assert talk(ports[8444], tls_of(west, "shop")) == PING
            refusal(ports[8444], tls_of(west, "gateway"))
            assert stock.accepted == 1


def test_several(tmp_path: Path) -> None:
    folder = prepared("several", tmp_path)
    certs = folder / "testdata" / "certs"
    with Echo() as orders, Echo() as invoices:
        ports = moved(folder, keep={8081: orders.port, 8082: invoices.port})
        with running(folder, ["tunnels.yaml"]):
            assert talk(ports[8451], tls_of(certs, "client")) == PING
            refusal(ports[8452], tls_of(certs, "client"))
            with plain(ports[9081]) as caller:
                assert ask(caller) == PING
            assert (orders.accepted, invoices.accepted) == (2, 0)
            assert samples(ports[9003]).value("mtlsd_connections_total", tunnel="to-orders") == 1


def test_redis(tmp_path: Path) -> None:
    redis_server, redis_cli = need("redis-server"), need("redis-cli", "redis-tools")
    folder = prepared("redis", tmp_path)
    database = free_port()
    ports = moved(folder, keep={6379: database})
    argv = [redis_server, "--port", str(database), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with Child(argv, cwd=tmp_path), running(folder, ["cache.yaml", "web.yaml"]) as (cache, _):
        eventually(lambda: listening(database), "Redis listens")
        cli = [redis_cli, "-p", str(ports[8379])]
        assert run([*cli, "ping"]).stdout == "PONG\n"
        value = "v" * 3_000_000
        assert run([*cli, "-x", "set", "key"], text=value).stdout == "OK\n"
        assert run([*cli, "get", "key"]).stdout == value + "\n"
        cache.wait_for_line('accepted connection" peer_cn=web')


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_file_is_complete_but_for_its_certificates(tmp_path: Path, path: Path) -> None:
    """`tunnel check` finds nothing wrong but files that are not there yet."""
    if path.name.startswith(("compose", "docker-compose", "kubernetes", "routes")):
        return
    ended = command("check", "-c", path, cwd=tmp_path)
    assert "unknown key" not in ended.stderr
    assert all("no such file" in line for line in ended.stderr.splitlines()), ended.stderr
