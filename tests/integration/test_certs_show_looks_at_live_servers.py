"""`tunnel certs show HOST:PORT` against openssl s_server: what it presents and demands, verified by nobody."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mtls_tunnel.app import certs_show
from mtls_tunnel.app.cli import main
from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import TunnelError
from support.pki import Authority, Folder
from support.ports import free_port
from support.processes import Child
from support.waiting import eventually


@contextmanager
def s_server(files: Folder, *words: str) -> Iterator[int]:
    port = free_port()
    pair = ("-cert", files.server.cert, "-cert_chain", str(files.path / "above.pem"), "-key", files.server.key)
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-naccept", "2", *pair, *words]
    with Child(command):
        eventually(lambda: accepts(port), "s_server listens")
        yield port


def accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


@pytest.fixture
def files(tmp_path: Path) -> Folder:
    made = Folder(tmp_path, ca=Authority())
    below = made.authority.intermediate()
    made.server = made.write("server", below.leaf("chained", dns=("localhost",)))
    made.write_ca(below, name="above.pem")
    return made


@pytest.mark.parametrize(("flag", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_the_chain_and_the_cas_it_would_accept_are_shown(
    files: Folder, capsys: pytest.CaptureFixture[str], flag: str, version: str
) -> None:
    with s_server(files, flag, "-Verify", "3", "-CAfile", files.ca) as port:
        assert main(["certs", "show", f"127.0.0.1:{port}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"127.0.0.1:{port}: {version}, ")
    assert lines[0].endswith("; shown as sent, not verified")
    assert [line for line in lines if line[1:3] == ". "] == ["1. CN=chained", "2. CN=Test Intermediate,O=Test"]
    assert lines[-2:] == ["client certificate: asked for, from one of these CAs:", "   CN=Test Root,O=Test"]


def test_a_server_that_asks_for_no_certificate_is_said_so(files: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    with s_server(files) as port:
        assert main(["certs", "show", f"127.0.0.1:{port}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "client certificate: not asked for"


def test_a_demand_that_names_no_ca_is_said_so(files: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    with s_server(files, "-verify", "3") as port:
        assert main(["certs", "show", f"127.0.0.1:{port}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "client certificate: asked for, without saying from which CAs"


def test_nobody_there_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["certs", "show", f"127.0.0.1:{port}"]) == 1
    assert capsys.readouterr().err == f"error: 127.0.0.1:{port}: cannot connect: Connection refused\n"


@contextmanager
def answering(answer: bytes, *, hang: bool = False) -> Iterator[Address]:
    """A server that says the same to everybody."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                if hang:
                    done.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address(*listener.getsockname())
        done.set()
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["plain HTTP", "hangs up"])
def test_a_server_without_tls_is_said_so(answer: bytes) -> None:
    with answering(answer) as address, pytest.raises(TunnelError, match="no TLS handshake"):
        certs_show.look_at(address)


def test_a_server_that_never_answers_is_given_up() -> None:
    with answering(b"", hang=True) as address, pytest.raises(TunnelError, match=r"no answer within 0\.2 s"):
        certs_show.look_at(address, timeout=0.2)
