"""ssh to a host behind the router, with nothing but openssl as the ProxyCommand; and not for somebody else.

The server is OpenSSH's, on a private port with a configuration, a host key and an authorized key of its own.
"""

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port, listening
from support.processes import Child, run
from support.routed import DOMAIN, ORG, Routed, spiffe
from support.routes import FileRoutes
from support.servers import digest_of, payload
from support.tools import need
from support.waiting import eventually


class Ssh:
    """A server and the client's options for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        for name in ("host", "user"):
            made = run([need("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
            assert made.returncode == 0, made.stderr
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        (folder / "known").write_text(f"* {(folder / 'host.pub').read_text()}")
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        )

    def command(self, router: Routed, connect_id: str, certificate: str, *words: str) -> list[str]:
        files = router.files
        proxy = (
            f"openssl s_client -quiet -verify_return_error -connect 127.0.0.1:{router.port}"
            f" -servername %h.{DOMAIN} -CAfile {files.ca} -cert {certificate}.pem -key {certificate}-key.pem"
        )
        options = [
            f"ProxyCommand={proxy}",
            f"UserKnownHostsFile={self.folder / 'known'}",
            f"IdentityFile={self.folder / 'user'}",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
        ]
        flags = [word for option in options for word in ("-o", option)]
        return [need("ssh", "openssh-client"), "-F", "none", *flags, f"{getpass.getuser()}@{connect_id}", *words]


@pytest.fixture(name="ssh")
def _ssh(tmp_path: Path) -> Iterator[Ssh]:
    need("openssl")
    ssh = Ssh(tmp_path)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # its cell for privilege separation, which its package makes at boot
    server: list[str | Path] = [need("sshd", "openssh-server"), "-D", "-e", "-f", tmp_path / "sshd_config"]
    with Child(server, cwd=tmp_path) as daemon:
        eventually(lambda: daemon.alive and listening(ssh.port), "sshd listens")
        yield ssh


def test_a_shell_command_and_bulk_both_ways_go_through(tmp_path: Path, ssh: Ssh) -> None:
    routed = Routed(tmp_path, FileRoutes(tmp_path / "routes.yaml"))
    routed.put_host("box", internal_ip_addr=f"127.0.0.1:{ssh.port}")
    with routed:
        good = str(routed.files.path / "client")
        said = run(ssh.command(routed, "box", good, "echo", "$SSH_CONNECTION", "&&", "cat"), text="and back\n")
        assert said.returncode == 0, said.stderr
        assert said.stdout.endswith(f"127.0.0.1 {ssh.port}\nand back\n")
        bulk = tmp_path / "bulk"
        with bulk.open("wb") as file:
            for chunk in payload(5_000_000):
                file.write(chunk)
        line = " ".join(f"'{word}'" for word in ssh.command(routed, "box", good, "cat"))
        digest = run(["sh", "-c", f"{line} < {bulk} | sha256sum"]).stdout.split()[0]
        assert digest == digest_of(5_000_000)
        routed.tunnel.wait_for_line(f'msg="router: routed" .*connect_id=box backend_addr=127.0.0.1:{ssh.port}')


def test_somebody_else_gets_not_even_the_banner(tmp_path: Path, ssh: Ssh) -> None:
    routes = FileRoutes(tmp_path / "routes.yaml")
    routes.put("users", user_id="mallory", org_id=ORG)
    routed = Routed(tmp_path, routes)
    routed.put_host("box", internal_ip_addr=f"127.0.0.1:{ssh.port}")
    routed.files.write("mallory", routed.authority.client("mallory", uri=(spiffe("mallory"),)))
    with routed:
        said = run(ssh.command(routed, "box", str(routed.files.path / "mallory"), "true"))
        assert said.returncode == 255
        assert "SSH-2.0" not in said.stdout + said.stderr
        routed.tunnel.wait_for_line('msg="router: refused" user_id=mallory .*reason=not_allowed')
