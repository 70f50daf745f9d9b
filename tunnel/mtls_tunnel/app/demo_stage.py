"""The props of the demo: a backend, child tunnels with their logs, and clients of both kinds.

Only `demo` uses it.  Every wait is a condition with a deadline; what was started is stopped on exit.
"""

import contextlib
import os
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE_SECONDS = 30.0


class NotAsPromised(Exception):
    """A step of the demo did not go as the documentation says."""


def expect(held: bool, otherwise: str) -> None:
    """Raise NotAsPromised with *otherwise* unless the promise *held*."""
    if not held:
        raise NotAsPromised(otherwise)


class Conversation:
    """One open plain connection through the client tunnel."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
        self._lines = self._socket.makefile("rb")

    def ask(self, line: bytes) -> bytes:
        self._socket.sendall(line)
        return self._lines.readline()

    def is_closed(self) -> bool:
        self._socket.settimeout(0.05)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(DEADLINE_SECONDS)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Backend)
        self.server.accepted += 1
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(b"echo: " + line)


class _Backend(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    accepted = 0


class Stage:
    """Everything that runs during the demo.  Owns its processes, its backend and its sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls_port, self.plain_port, self.admin_port = _free_ports(3)
        self._backend: _Backend | None = None
        self._tunnels: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tunnel in self._tunnels.values():
            tunnel.kill()
            tunnel.wait()
        if self._backend:
            self._backend.shutdown()
            self._backend.server_close()

    @property
    def backend_port(self) -> int:
        assert self._backend is not None
        return int(self._backend.server_address[1])

    @property
    def backend_connections(self) -> int:
        assert self._backend is not None
        return self._backend.accepted

    def start_backend(self) -> None:
        self._backend = _Backend(("127.0.0.1", 0), _Echo)
        threading.Thread(target=self._backend.serve_forever, name="demo backend", daemon=True).start()

    def start_tunnel(self, name: str, template: str) -> None:
        config = self.folder / f"{name}.yaml"
        config.write_text(
            template.format(
                tls_port=self.tls_port,
                plain_port=self.plain_port,
                admin_port=self.admin_port,
                backend_port=self.backend_port,
            )
        )
        with (self.folder / f"{name}.log").open("wb") as log:
            self._tunnels[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "mtls_tunnel", "run", "-c", config.name],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.wait_for_log(name, "listener: serving" if name == "server" else "dialer: listening")

    def stop_tunnels(self) -> None:
        for name, tunnel in self._tunnels.items():
            tunnel.send_signal(signal.SIGTERM)
            try:
                code = tunnel.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                raise NotAsPromised(f"the {name} tunnel did not end after SIGTERM") from None
            expect(code == 0, f"the {name} tunnel ended with exit code {code}")
        self._tunnels.clear()

    def conversation(self) -> "contextlib.closing[Conversation]":
        return contextlib.closing(Conversation(self.plain_port))

    def ask(self, line: bytes) -> bytes:
        """One question over a new connection; b"" when it was closed without an answer."""
        try:
            with self.conversation() as conversation:
                return conversation.ask(line)
        except ConnectionError:
            return b""

    def refused(self, cert: Path | None) -> str:
        """Talk TLS to the server tunnel with *cert* and say in which words it refused."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.pem"))
        if cert:
            context.load_cert_chain(cert, cert.with_name(f"{cert.stem}-key.pem"))
        try:
            with self._tls(context) as connection:
                connection.sendall(b"let me in\n")
                answer = connection.recv(100)
        except ssl.SSLError as error:
            return f"TLS alert {str(error.reason).removeprefix('TLSV1_ALERT_').removeprefix('TLSV13_ALERT_').lower()}"
        except OSError:
            answer = b""
        expect(answer == b"", f"an uninvited client got the answer {answer!r}")
        return "connection closed"

    def server_serial(self) -> str:
        """The serial number of the certificate that the next handshake is given."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.pem"))
        context.load_cert_chain(self.folder / "pki" / "client.pem", self.folder / "pki" / "client-key.pem")
        with self._tls(context) as connection:
            certificate = connection.getpeercert() or {}
        return str(certificate.get("serialNumber", ""))

    def _tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=DEADLINE_SECONDS)
        try:
            return context.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def metrics(self, *names: str) -> list[str]:
        """The lines of /metrics that start with one of *names* and are not zero."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=DEADLINE_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if line.startswith(names) and not line.endswith(" 0")]

    def wait_for_log(self, name: str, text: str) -> None:
        def logged() -> bool:
            expect(self._tunnels[name].poll() is None, f"the {name} tunnel ended by itself")
            return text in self._log(name)

        self.wait_until(logged, f"the {name} tunnel never logged {text!r}")

    def last_log(self, name: str, text: str) -> str:
        return next(line for line in reversed(self._log(name).splitlines()) if text in line)

    def show_logs(self) -> None:
        for name in self._tunnels:
            print(f"--- log of the {name} tunnel\n{self._log(name)}", flush=True)

    def wait_until(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            expect(time.monotonic() < deadline, otherwise)
            time.sleep(0.05)

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]
