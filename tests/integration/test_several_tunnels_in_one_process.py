"""`tunnels:` in one file, and a directory of files: each tunnel by its own rules, each series by its name."""

from pathlib import Path
from typing import Any

import yaml

from support.clients import PING, ask, connect, context, plain, refusal, talk
from support.guarded import server_settings
from support.pki import Folder
from support.ports import free_port, listening
from support.processes import Child
from support.scrape import get
from support.servers import Echo, Lines
from support.tunnels import ENVIRONMENT, PROGRAM, Tunnel, write_settings
from support.waiting import eventually


def three(files: Folder, ports: list[int], targets: list[str]) -> dict[str, Any]:
    """Two servers with different rules and a client that leads to the first."""
    return {
        "tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca},
        "acl": {"allow_cn": ["frontend-service"]},
        "tunnels": [
            {"name": "orders", "mode": "server", "listen": f"127.0.0.1:{ports[0]}", "target": targets[0]},
            {
                "name": "invoices",
                "mode": "server",
                "listen": f"127.0.0.1:{ports[1]}",
                "target": targets[1],
                "acl": {"allow_cn": ["billing-service"]},
            },
            {
                "name": "to-orders",
                "mode": "client",
                "listen": f"127.0.0.1:{ports[2]}",
                "target": f"127.0.0.1:{ports[0]}",
                "tls": {"cert": files.client.cert, "key": files.client.key, "server_name": "localhost"},
                "acl": {"allow_cn": ["localhost"]},
            },
        ],
    }


def test_each_has_its_own_rules_and_its_own_series(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    ports = [free_port() for _ in range(3)]
    with Echo() as orders, Lines() as invoices:
        settings = three(files, ports, [orders.address, invoices.address])
        with Tunnel(tmp_path, settings) as tunnel:
            assert get(tunnel.admin, "/readyz").status == 200
            tls = context(files, files.client)
            assert talk(ports[0], tls) == PING
            refusal(ports[1], tls)
            with plain(ports[2]) as caller:
                assert ask(caller) == PING
            tunnel.wait_for_line('level=WARN msg="acl: connection denied" peer_cn=frontend-service.*tunnel=invoices')
            tunnel.wait_until_idle()
            seen = tunnel.samples()
            total = "mtlsd_connections_total"
            assert {name: seen.value(total, tunnel=name) for name in ("orders", "invoices", "to-orders")} == {
                "orders": 2,
                "invoices": 1,
                "to-orders": 1,
            }
            assert all("tunnel" in labels for labels in seen.labels(total))
            assert (orders.accepted, invoices.accepted) == (2, 0)
            certificates = get(tunnel.admin, "/certz").json()["certificates"]
            assert {entry["tunnel"] for entry in certificates} == {"orders", "invoices", "to-orders"}


def test_a_directory_is_one_process(tmp_path: Path) -> None:
    """DIR/*.yaml and DIR/*/tunnel.yaml, named after file and folder, paths relative to the file."""
    parts = tmp_path / "parts"
    (parts / "invoices").mkdir(parents=True)
    ours, theirs = Folder(parts), Folder(parts / "invoices")
    ports, admin = [free_port(), free_port()], free_port()
    endpoint = {"enabled": True, "listen": f"127.0.0.1:{admin}"}
    relative = {"tls": {"cert": "server.pem", "key": "server-key.pem", "ca": "ca.pem"}}
    with Echo() as backend:
        for path, files, port in (
            (parts / "orders.yaml", ours, ports[0]),
            (parts / "invoices" / "tunnel.yaml", theirs, ports[1]),
        ):
            write_settings(path, {**server_settings(files, port, backend.address), **relative})
        wide = write_settings(tmp_path / "process.yaml", {"health": endpoint, "metrics": endpoint})
        argv: list[str | Path] = [*PROGRAM, "run", "-c", parts, "--process", wide]
        with Child(argv, cwd=tmp_path, env=ENVIRONMENT) as tunnel:
            tunnel.wait_for_line("listener: serving mTLS", times=2)
            eventually(lambda: get(admin, "/readyz").status == 200, "ready")
            assert talk(ports[0], context(ours, ours.client)) == PING
            assert talk(ports[1], context(theirs, theirs.client)) == PING
            assert refusal(ports[1], context(theirs, ours.client)) == "unknown_ca"
            names = {entry["tunnel"] for entry in get(admin, "/certz").json()["certificates"]}
            assert names == {"orders", "invoices"}


def test_a_file_that_comes_into_the_directory_becomes_a_tunnel(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    files = Folder(parts)
    ports, admin = [free_port(), free_port()], free_port()
    endpoint = {"enabled": True, "listen": f"127.0.0.1:{admin}"}
    with Echo() as backend:
        first = {**server_settings(files, ports[0], backend.address), "health": endpoint}
        write_settings(parts / "a.yaml", first)
        with Child([*PROGRAM, "run", "-c", parts], cwd=tmp_path, env=ENVIRONMENT) as tunnel:
            tunnel.wait_for_line("certstore: watching files for changes")
            tls = context(files, files.client)
            with connect(ports[0], tls) as kept:
                assert ask(kept) == PING
                (parts / "b").mkdir()
                second = server_settings(files, ports[1], backend.address)
                (parts / "b" / "tunnel.yaml").write_text(yaml.safe_dump(second))
                tunnel.wait_for_line(f"listener: serving mTLS.*listen=127.0.0.1:{ports[1]}")
                assert talk(ports[1], tls) == PING
                assert ask(kept) == PING
                (parts / "b" / "tunnel.yaml").unlink()
                eventually(lambda: not listening(ports[1]), "the tunnel has gone with its file")
                assert ask(kept) == PING
