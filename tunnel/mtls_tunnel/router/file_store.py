"""The file store: rows from a YAML file, watched; a broken file changes nothing.

Whatever reads the file reads all of it; a lookup is a look into a dictionary.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from mtls_tunnel.errors import ConfigError, Problem
from mtls_tunnel.observe.logs import ERROR, INFO, WARN, emit
from mtls_tunnel.router import routes
from mtls_tunnel.router.cache import Question
from mtls_tunnel.router.rows import Found
from mtls_tunnel.router.store import Changed
from mtls_tunnel.trust.watch import watch

MOST_BYTES = 1 << 20
REREAD_SECONDS = 30.0  # beside the watch: network file systems tell nothing


class FileStore:
    """A file of routes.  Reading it once is part of making one, so that there is always a last good state."""

    tells = True
    fault = ""

    def __init__(self, path: str, *, default_port: int) -> None:
        """Raises ConfigError, with everything that is wrong in the file."""
        self._path = path
        self._default_port = default_port
        self._changes = watch([path], interval_seconds=REREAD_SECONDS, report=_report)
        self._routes = self._read()
        self._task: asyncio.Task[None] | None = None

    def start(self, changed: Changed, lost: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow(changed), name=f"routes {self._path}")

    async def find(self, question: Question) -> Found:
        return self._routes.find(question)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._changes.aclose()

    async def _follow(self, changed: Changed) -> None:
        async for _ in self._changes:
            try:
                self._routes = await asyncio.to_thread(self._read)
            except Exception as error:  # a root: what nobody foresaw in a file must not end the watch of it
                text = "; ".join(str(error).splitlines())
                if not isinstance(error, ConfigError):
                    text = f"{type(error).__name__}: {text}"
                emit(ERROR, "router: routes not reloaded, keeping those in use", file=self._path, error=text)
                continue
            emit(INFO, "router: routes reloaded", file=self._path, hosts=sum(map(len, self._routes.hosts.values())))
            changed(None)

    def _read(self) -> routes.Routes:
        try:
            with Path(self._path).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ConfigError(Problem(self._path, "", why, "router.store.file names the file of routes")) from None
        if len(content) > MOST_BYTES:
            remedy = "a store of that size belongs into PostgreSQL: type: postgresql"
            raise ConfigError(Problem(self._path, "", f"larger than {MOST_BYTES} bytes", remedy))
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ConfigError(Problem(self._path, "", "is no UTF-8 text", "save it as UTF-8")) from None
        return routes.parse(text, self._path, default_port=self._default_port)


def _report(reason: str) -> None:
    emit(WARN, "router: routes are looked at by time only", error=reason)
