"""A private PostgreSQL: its folder, sockets and port are its own, and it ends with the `with` block.

It does not start as root, so root hands it to the `postgres` user of the package.  Over the socket everybody is who
they say; over TCP a password is asked for, unless *hba* says otherwise.  `stopped()` stands for a server that hangs:
connections are accepted by the kernel, and nothing ever answers.
"""

import os
import pwd
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Self

from support.ports import free_port
from support.processes import Child, run
from support.tools import missing, need, need_file
from support.waiting import eventually

OWNER = "app"  # the superuser
LOCAL_ONLY = ("local all all trust", "host all all 127.0.0.1/32 scram-sha-256")


def as_owner() -> list[str]:
    """The words before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        missing("user postgres", "apt-get install postgresql")
    return [need("setpriv", "util-linux"), "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


class Postgres:
    """One server.  `start` and `stop` may follow each other; the data stays until the block ends."""

    def __init__(self, *, settings: Mapping[str, str] | None = None, hba: Sequence[str] = LOCAL_ONLY) -> None:
        self.port = free_port()
        self._settings = dict(settings or {})
        self._hba = hba
        self._initdb = need_file("/usr/lib/postgresql/*/bin/initdb", "postgresql")
        self._owner = as_owner()
        self.folder = Path(run([*self._owner, "mktemp", "-d", "/tmp/tunnel-postgres-XXXXXX"]).stdout.strip())
        self._server: Child | None = None

    def __enter__(self) -> Self:
        try:
            words: list[str | Path] = [*self._owner, self._initdb, "-D", self.folder / "db"]
            words += ["-A", "trust", "-U", OWNER, "-N", "-E", "UTF8"]
            made = run(words, cwd=self.folder)
            assert made.returncode == 0, made.stderr
            self.give("db/pg_hba.conf", "\n".join(self._hba) + "\n")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def give(self, name: str, text: str) -> Path:
        """A file that the server may read and nobody else."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        if self._owner:
            shutil.chown(path, "postgres", "postgres")
        return path

    def configure(self, settings: Mapping[str, str]) -> None:
        """Settings beside those that it has, from the next `start` on."""
        self._settings |= settings

    def start(self) -> None:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "60",
            **self._settings,
        }
        server = Path(self._initdb).with_name("postgres")
        words: list[str | Path] = [*self._owner, server, "-D", self.folder / "db"]
        words += [f"-c{key}={value}" for key, value in settings.items()]
        self._server = Child(words, cwd=self.folder)
        eventually(self._answers, "PostgreSQL answers")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """A fast shutdown: whoever is connected is thrown out."""
        if self._server is not None:
            self._server.signal(how)
            self._server.stop()
            self._server = None

    @property
    def pids(self) -> list[int]:
        """The server and its children, each of which leads a session of its own."""
        assert self._server is not None
        found = [self._server.pid]
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self._server.pid:
                    found.append(int(entry.name))
        return found

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing of it moves while the block runs."""
        pids = self.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def sql(self, statements: str, *, database: str = "postgres", user: str = OWNER) -> str:
        """Run *statements* over the socket and return what they say."""
        ended = self.psql(statements, f"host={self.folder} port={self.port} user={user} dbname={database}")
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def psql(self, statements: str, address: str) -> CompletedProcess[str]:
        """Run *statements* at a libpq *address*."""
        words = [need("psql", "postgresql-client"), address, "-qAtX", "-v", "ON_ERROR_STOP=1"]
        return run(words, cwd=Path("/"), text=statements)

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.alive, self._server.output
        return (
            self.psql("SELECT 1", f"host={self.folder} port={self.port} user={OWNER} dbname=postgres").returncode == 0
        )
