"""`tunnel status` against a listener: a table, the JSON, or one sentence and exit code 1."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

from mtls_tunnel.observe.exchange import Request, Response, Route, local_only, refusal
from mtls_tunnel.observe.status_page import ConnectionState, Page, TunnelState, page
from support.admin import AdminThread
from support.processes import REPOSITORY
from support.tunnels import ENVIRONMENT, PROGRAM, command
from support.waiting import eventually

STATE = Page(
    version="0.1.0",
    started=time.time(),
    tunnels=(TunnelState("", "server", "0.0.0.0:8443", "127.0.0.1:8080", 1, 1000, 17),),
    connections=(ConnectionState("", "192.0.2.1:50000", time.time(), "evil\x1b[2J"),),
)


def statusz(_request: Request) -> Response:
    return Response(200, page(STATE, time.time()))


ROUTES: dict[str, Route] = {"/statusz": local_only(statusz)}


def test_a_running_tunnel_is_shown_as_a_table() -> None:
    with AdminThread(ROUTES) as admin:
        done = command("status", "--admin", f"127.0.0.1:{admin.port}")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0].startswith("mtls-tunnel 0.1.0, up ")
    assert "server  0.0.0.0:8443  127.0.0.1:8080    1 of 1000        17" in lines
    assert any("192.0.2.1:50000  evil?[2J" in line for line in lines)
    assert "\x1b" not in done.stdout


def test_a_port_alone_means_this_machine_and_json_is_the_answer_itself() -> None:
    with AdminThread(ROUTES) as admin:
        done = command("status", "--json", "--admin", f":{admin.port}")
    assert done.returncode == 0
    assert json.loads(done.stdout)["tunnels"][0]["accepted"] == 17


def test_nothing_there_is_one_sentence_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = command("status", "--admin", f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: no tunnel answers on 127.0.0.1:{port}: Connection refused"
        " - is it running, with health.enabled: true? --admin names another address\n"
    )


def test_a_listener_without_a_status_page_is_no_tunnel() -> None:
    with AdminThread({}) as admin:
        done = command("status", "--admin", f"127.0.0.1:{admin.port}")
    assert done.returncode == 1
    assert "has no status page (HTTP 404)" in done.stderr


def test_a_tunnel_that_takes_the_client_for_a_stranger_is_told_apart() -> None:
    with AdminThread({"/statusz": lambda _request: refusal(403, "no")}) as admin:
        done = command("status", "--admin", f"127.0.0.1:{admin.port}")
    assert done.returncode == 1
    assert "only to clients on its own machine" in done.stderr


def test_a_page_that_is_no_json_is_no_tunnel() -> None:
    with AdminThread({"/statusz": lambda _request: Response(200, b"<html>")}) as admin:
        done = command("status", "--admin", f"127.0.0.1:{admin.port}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_something_that_does_not_speak_http_is_no_tunnel() -> None:
    def greet(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"220 smtp ready\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=greet, args=(server,))
        greeter.start()
        done = command("status", "--admin", f"127.0.0.1:{server.getsockname()[1]}")
        greeter.join()
    assert done.returncode == 1
    assert "does not speak HTTP" in done.stderr


def test_an_impossible_address_is_a_usage_error() -> None:
    done = command("status", "--admin", "9000")
    assert done.returncode == 2
    assert "is a port alone - write its host too" in done.stderr


def test_watching_on_a_terminal_redraws_until_ctrl_c() -> None:
    with AdminThread(ROUTES) as admin:
        master, slave = os.openpty()
        with os.fdopen(master, "rb", buffering=0) as screen:
            child = subprocess.Popen(
                [*PROGRAM, "status", "--watch", "--admin", f"127.0.0.1:{admin.port}"],
                env=os.environ | ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=slave,
                stderr=subprocess.PIPE,
                cwd=REPOSITORY,
            )
            os.close(slave)
            with child:
                seen = b""
                while seen.count(b"mtls-tunnel 0.1.0") < 2:
                    seen += screen.read(65536)
                child.send_signal(signal.SIGINT)
                assert child.stderr is not None
                assert (child.wait(30), child.stderr.read()) == (0, b"")
    assert seen.startswith(b"\x1b[2J\x1b[Hmtls-tunnel 0.1.0")


def test_watching_without_a_terminal_prints_page_after_page() -> None:
    with AdminThread(ROUTES) as admin:
        with subprocess.Popen(
            [*PROGRAM, "status", "--watch", "--json", "--admin", f"127.0.0.1:{admin.port}"],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            first = [json.loads(child.stdout.readline())["version"] for _ in range(2)]
            child.send_signal(signal.SIGINT)
            eventually(lambda: child.poll() is not None, "it ends")
        assert (first, child.returncode) == (["0.1.0"] * 2, 0)
