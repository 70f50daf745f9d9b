"""The two configurations of examples/compose, each in a container with a read-only root and no capability.

Only the addresses differ from the example: here both containers share the host's loopback.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import clients
from support.containers import Container, Unpacked
from support.pki import Authority, Folder
from support.ports import free_port
from support.processes import REPOSITORY
from support.scrape import get
from support.servers import Echo
from support.tunnels import merged, write_settings
from support.waiting import eventually

EXAMPLE = REPOSITORY / "tunnel" / "examples" / "compose"
HEALTHCHECK = ("/opt/tunnel/bin/python", "-I", "-S", "/opt/tunnel/healthcheck.py")


class Place:
    """The example's files with addresses of this machine, and certificates that the image's user can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = Folder(path / "certs")
        for file in self.files.path.iterdir():
            if os.geteuid() == 0:
                os.chown(file, 65532, 65532)
            else:
                file.chmod(0o644)

    def start(self, image: Unpacked, role: str, over: dict[str, Any]) -> Container:
        settings = merged(yaml.safe_load((EXAMPLE / f"{role}.yaml").read_text()), over)
        file = write_settings(self.path / f"{role}.yaml", settings)
        file.chmod(0o644)
        mounts = {"/etc/tunnel/tunnel.yaml": file, "/etc/tunnel/certs": self.files.path}
        container = Container(image, self.path / role, ["run", "-c", "/etc/tunnel/tunnel.yaml"], mounts)
        try:
            container.wait_for_line("listener: serving mTLS" if role == "server" else "dialer: listening")
        except BaseException:
            container.stop()
            raise
        return container


@pytest.fixture
def place(image: Unpacked, tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_traffic_passes_and_a_stranger_does_not(image: Unpacked, place: Place) -> None:
    outer, inner, admin = free_port(), free_port(), free_port()
    health = {"listen": f"127.0.0.1:{admin}"}
    with Echo() as backend:
        server_over = {"listen": f"127.0.0.1:{outer}", "target": f"127.0.0.1:{backend.port}", "health": health}
        client_over = {
            "listen": f"127.0.0.1:{inner}",
            "target": f"127.0.0.1:{outer}",
            "health": {"listen": f"127.0.0.1:{free_port()}"},
        }
        with place.start(image, "server", server_over) as server, place.start(image, "client", client_over) as client:
            eventually(lambda: get(admin, "/readyz").status == 200, "the server is ready")
            with clients.plain(inner) as application:
                assert clients.ask(application, b"through two containers\n") == b"through two containers\n"

            foreign = Folder(place.path / "foreign", ca=Authority())
            stranger = clients.context(place.files, foreign.client)
            nobody = clients.context(place.files, None)
            assert clients.refusal(outer, stranger) == "unknown_ca"
            assert "certificate_required" in clients.refusal(outer, nobody)
            server.wait_for_line("tls handshake failed", times=2)

            assert client.stop() == 0
            assert server.stop() == 0


def test_a_listening_tunnel_is_healthy_with_and_without_its_health_endpoint(image: Unpacked, place: Place) -> None:
    for enabled in (True, False):
        admin = free_port()
        over = {
            "listen": f"127.0.0.1:{free_port()}",
            "health": {"enabled": enabled, "listen": f"127.0.0.1:{admin}"},
        }
        place = Place(place.path / str(enabled))
        with place.start(image, "server", over) as server:

            def healthy(server: Container = server, admin: int = admin) -> bool:
                asked = server.execute("/usr/bin/env", f"TUNNEL_ADMIN=127.0.0.1:{admin}", *HEALTHCHECK)
                return asked.returncode == 0

            eventually(healthy, "the health check passes")


def test_nothing_can_be_written_and_no_right_is_left(image: Unpacked, place: Place) -> None:
    over = {"listen": f"127.0.0.1:{free_port()}", "health": {"listen": f"127.0.0.1:{free_port()}"}}
    with place.start(image, "server", over) as server:
        own = server.execute("cat", "/proc/1/status").stdout
        rights = dict(line.split(":", 1) for line in own.splitlines() if ":" in line)
        assert {rights[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
        assert rights["NoNewPrivs"].strip() == "1"
        assert rights["Uid"].split() == ["65532"] * 4
        tried = server.execute("touch", "/etc/tunnel/x", "/opt/tunnel/x", "/tmp/x")
        assert tried.stderr.count("Read-only file system") == 3
