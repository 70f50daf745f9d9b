"""examples/router, with its README's commands and both of its clients, over the file and over PostgreSQL."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from mtls_tunnel.config.load import Source, load
from support.examples import EXAMPLES, example_copy, moved
from support.postgres import LOCAL_ONLY, Postgres
from support.processes import REPOSITORY, Child, run
from support.tools import need
from support.tunnels import ENVIRONMENT, PROGRAM, command
from support.waiting import eventually

SERVING = "certstore: watching files for changes"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A copy with the certificates of the README's own commands."""
    folder = example_copy("router", tmp_path)
    block = (EXAMPLES / "README.md").read_text().partition("cd router\n")[2].partition("```")[0]
    for line in block.splitlines():
        words = shlex.split(line.split("#")[0])
        if words[:2] == ["tunnel", "certs"]:
            made = command(*words[1:], cwd=folder)
            assert made.returncode == 0, made.stderr
    return folder


@contextmanager
def running(folder: Path, name: str, ports: dict[int, int]) -> Iterator[Child]:
    echo: list[str | Path] = [sys.executable, EXAMPLES / "echo-server.py", "-addr", f"127.0.0.1:{ports[8080]}"]
    with (
        Child(echo, cwd=folder) as hosts,
        Child([*PROGRAM, "run", "-c", name], cwd=folder, env={**ENVIRONMENT, "PGPASSWORD": "tinyscale"}) as router,
    ):
        hosts.wait_for_line("listening")
        router.wait_for_line(SERVING)
        yield router


def ask_with_python(folder: Path, port: int, connect_id: str, user: str) -> CompletedProcess[str]:
    words = [sys.executable, "client.py", connect_id, user, "--router", f"127.0.0.1:{port}"]
    return run(words, cwd=folder, text="hello\n")


def ask_with_openssl(folder: Path, port: int, connect_id: str, user: str) -> str:
    """The README's command, which would go on until somebody ends it."""
    block = (EXAMPLES / "README.md").read_text().partition("```\nopenssl s_client")[2].partition("```")[0]
    line = "openssl s_client" + block.partition("\nssh")[0].replace("\\\n", " ")
    for old, new in (("8443", str(port)), ("test-host-01", connect_id), ("user-456", user)):
        line = line.replace(old, new)
    need("openssl")
    return run(["sh", "-c", f"{{ echo hello; sleep 1; }} | timeout 5 {line}"], cwd=folder).stdout


def test_with_the_file(folder: Path) -> None:
    ports = moved(folder)
    port = ports[8443]
    with running(folder, "router.yaml", ports):
        seen = {
            (host, user): ask_with_python(folder, port, host, user).stdout
            for host in ("test-host-01", "test-host-02", "test-host-03")
            for user in ("user-456", "user-789")
        }
        through = {key for key, answer in seen.items() if answer == "echo: hello\n"}
        assert through == {("test-host-01", "user-456"), ("test-host-02", "user-789")}
        assert set(seen.values()) == {"echo: hello\n", ""}
        assert ask_with_openssl(folder, port, "test-host-01", "user-456") == "echo: hello\n"
        assert ask_with_openssl(folder, port, "test-host-02", "user-456") == ""
        text = (folder / "routes.yaml").read_text()
        (folder / "routes.yaml").write_text(text.replace("user_ids: [user-456]", "user_ids: []"))
        eventually(
            lambda: ask_with_python(folder, port, "test-host-01", "user-456").returncode == 1, "the changed file counts"
        )


def test_with_postgresql(folder: Path) -> None:
    with Postgres(hba=(*LOCAL_ONLY, "host all all 127.0.0.1/32 trust")) as server:
        server.sql("CREATE ROLE tinyscale LOGIN SUPERUSER PASSWORD 'tinyscale'; CREATE DATABASE \"tinyscale-ssh\"")
        ports = moved(folder, keep={5432: server.port})
        applied = run(
            [*PROGRAM, "router", "init-db", "-c", "database.yaml", "--apply"],
            cwd=folder, env={**ENVIRONMENT, "PGPASSWORD": "tinyscale"},
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr
        rows = (folder / "routes.sql").read_text().replace(":8080", f":{ports[8080]}")
        server.sql(rows, database="tinyscale-ssh")
        with running(folder, "database.yaml", ports) as router:
            router.wait_for_line('msg="router: store connected" notifications=true')
            pairs = (("test-host-01", "user-456"), ("test-host-02", "user-789"), ("test-host-01", "user-789"))
            answers = [ask_with_python(folder, ports[8443], *pair).stdout for pair in pairs]
            assert answers == ["echo: hello\n", "echo: hello\n", ""]


def test_the_file_and_the_statements_say_the_same(folder: Path) -> None:
    rows = yaml.safe_load((folder / "routes.yaml").read_text())
    with Postgres() as server:
        assert command("router", "init-db", "--apply", f"--db-host={server.folder}", f"--db-port={server.port}",
                       "--db-user=app", "--db-name=postgres").returncode == 0  # fmt: skip
        server.sql((folder / "routes.sql").read_text())
        for table, key in (("backend_hosts", "connect_id"), ("teams", "team_id"), ("users", "user_id")):
            held = server.sql(f"SELECT coalesce(json_agg(t ORDER BY {key}), '[]') FROM {table} AS t")
            stripped = [{name: value for name, value in row.items() if value} for row in yaml.safe_load(held)]
            assert stripped == [{name: value for name, value in row.items() if value} for row in rows[table]]


def test_the_kubernetes_file_holds_a_configuration_that_is_complete() -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "router" / "kubernetes.yaml").read_text()))
    (config,) = [document for document in documents if document["kind"] == "ConfigMap"]
    (tunnel,) = load([Source("router.yaml", config["data"]["router.yaml"])]).config.tunnels
    (pod,) = [document["spec"]["template"]["spec"] for document in documents if document["kind"] == "Deployment"]
    (container,) = pod["containers"]
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert tunnel.router is not None
    files = [tunnel.tls.cert, tunnel.tls.key, *tunnel.tls.ca, tunnel.router.store.file, container["args"][-1]]
    assert all(any(file.startswith(f"{folder}/") for folder in mounted) for file in files)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["mtls"] == tunnel.listen.port


def test_the_demo_keeps_its_promises() -> None:
    """What `make demo-router` runs once there is an environment."""
    ended = run([sys.executable, REPOSITORY / "scripts" / "demo_router.py"])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "* new connections are refused, and the live one was closed"
