"""An API server for tests: real HTTP on the loopback, or none at all, over `kube_store`.

* `MemoryApi(store)` is an `Api` without sockets: for tests of whoever is given an api.
* `async with FakeServer() as server:` listens in this loop; `ServerThread()` in a thread of its own, for tests
  with processes.  `server.connection()`, `server.kubeconfig(folder)` say how to reach it.
* Trouble by order: `server.trouble(Trouble(...))`; watches can be ended, cut or made stale; `stop()` refuses
  connections until `start()`.
"""

import asyncio
import bisect
import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from aiohttp import web

from mtls_tunnel_operator.cluster.api import Api, error_of
from mtls_tunnel_operator.cluster.credentials import Connection
from mtls_tunnel_operator.errors import ApiError, NotLeader
from mtls_tunnel_operator.model.kinds import plural_of
from support.kube_selectors import selected
from support.kube_store import Answer, Asked, Moment, Store, failure
from support.ports import free_port

T = TypeVar("T")

NOWHERE = Connection("http://127.0.0.1:1", None, lambda: "")


@dataclass(slots=True)
class Trouble:
    """What happens to the next `times` requests that match.  status 0: no answer (`hang`: until cut, else a reset)."""

    method: str = ".*"
    path: str = ".*"
    status: int = 500
    times: int = 1
    reason: str = "InternalError"
    retry_after: str = ""
    hang: bool = False
    after: bool = False  # the request is carried out first, only its answer is lost
    raw: bytes | None = None  # a body that is no Status

    def meets(self, method: str, path: str) -> bool:
        return self.times > 0 and bool(re.fullmatch(self.method, method) and re.fullmatch(self.path, path))

    def answer(self) -> Answer:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return failure(self.status, self.reason, f"ordered trouble {self.status}", headers)


def namespace(name: str, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None) -> Any:
    """A Namespace manifest."""
    metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name, **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {**metadata, "annotations": dict(annotations or {})}}


def cluster(*namespaces: str, enabled: bool = True, now: Callable[[], float] | None = None) -> Store:
    """A store with the namespaces that every cluster has, the operator's, and *namespaces*, opted in."""
    store = Store() if now is None else Store(now=now)
    for name in ("default", "kube-system", "mtls-tunnel-system"):
        store.put(namespace(name))
    for name in namespaces:
        store.put(namespace(name, {"mtlstunnel.dev/injection": "enabled"} if enabled else {}))
    return store


class MemoryApi(Api):
    """The door `Api` over a store, without sockets: repetitions, errors and the leader's check are the real ones."""

    def __init__(self, store: Store, *, latency: Callable[[], float] | None = None, **options: Any) -> None:
        super().__init__(NOWHERE, **options)
        self.store = store
        self.troubles: list[Trouble] = []
        self.away: Callable[[], bool] = lambda: False  # nothing reaches the server
        self._latency = latency  # seconds each way, asked for each way

    def trouble(self, *ordered: Trouble) -> None:
        self.troubles += ordered

    async def _once(
        self,
        method: str,
        where: str,
        query: Mapping[str, str] | None,
        body: Any,
        content: str,
        plural: str,
        verb: str,
        seconds: float,
    ) -> Any:
        if method != "GET" and not self.may_write():
            raise NotLeader(f"{method} {where}: the Lease was not renewed lately")
        params = {key: value for key, value in (query or {}).items() if value}
        text = json.dumps(body).encode() if body is not None else b""
        try:
            async with asyncio.timeout(seconds):
                return await self._travel(method, where, params, content, text)
        except TimeoutError:
            raise ApiError(0, "Timeout", f"{method} {where}: no answer within {seconds:g} s") from None

    async def _travel(self, method: str, where: str, params: Mapping[str, str], content: str, text: bytes) -> Any:
        if self._latency is not None:
            await asyncio.sleep(self._latency())
        if self.away():
            await asyncio.sleep(3600)
        trouble = next((one for one in self.troubles if one.meets(method, where)), None)
        if trouble is not None:
            trouble.times -= 1
        answer = trouble.answer() if trouble and trouble.status and not trouble.after else None
        if answer is None and (trouble is None or trouble.after):
            answer = self.store.respond(method, where, params, content, text, self._user_agent)
            if self._latency is not None:
                await asyncio.sleep(self._latency())
            if self.away():
                await asyncio.sleep(3600)
        if trouble is not None and not trouble.status:
            raise ApiError(0, "Timeout" if trouble.hang else "Unreachable", f"{method} {where}: ordered")
        assert answer is not None
        if answer.status >= 300:
            payload = json.dumps(answer.body).encode()
            raise error_of(answer.status, "", payload, answer.headers.get("Retry-After"))
        return json.loads(json.dumps(answer.body))


@dataclass
class FakeServer:
    """The store behind HTTP.  All its methods belong to the loop that it was started in."""

    store: Store = field(default_factory=cluster)
    bookmark_seconds: float = 1.0
    troubles: list[Trouble] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._moved = asyncio.Condition()
        self._cut = 0  # a generation of watches
        self._release = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.watches = 0  # open now
        self.watches_begun = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{anything:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        loop = asyncio.get_running_loop()
        self.store.changed = lambda: _ignore(loop.call_soon_threadsafe(self._tell))

    async def stop(self) -> None:
        """Refuse connections; open ones are cut."""
        self.cut_watches()
        self._release.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._release = asyncio.Event()

    def connection(self) -> Connection:
        return Connection(f"http://127.0.0.1:{self.port}", None, lambda: "")

    def kubeconfig(self, folder: Path) -> Path:
        """A file for KUBECONFIG."""
        said = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        path = folder / f"kubeconfig-{self.port}"
        path.write_text(yaml.safe_dump(said), encoding="utf-8")
        return path

    def trouble(self, *ordered: Trouble) -> None:
        """From now on, in this order."""
        self.troubles += ordered

    def cut_watches(self) -> None:
        """End all watches that are open now, as a server does after a while."""
        self._cut += 1
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._moved:
                self._moved.notify_all()

        self._telling = asyncio.get_running_loop().create_task(tell())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        trouble = next((one for one in self.troubles if one.meets(request.method, request.path)), None)
        if trouble is not None:
            trouble.times -= 1
            if trouble.after:
                self._respond(request, body)
            if trouble.hang:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(60):
                        await self._release.wait()
            if not trouble.status:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            answer = trouble.answer()
            if trouble.raw is not None:
                return web.Response(status=trouble.status, body=trouble.raw, headers=dict(answer.headers))
        elif request.query.get("watch") in ("true", "1"):
            return await self._watch(request)
        else:
            answer = self._respond(request, body)
        return web.json_response(answer.body, status=answer.status, headers=dict(answer.headers))

    def _respond(self, request: web.Request, body: bytes) -> Answer:
        content, agent = request.content_type, request.headers.get("User-Agent", "")
        return self.store.respond(request.method, request.path, request.query, content, body, agent)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        target = self.store.target(request.path)
        if target is None or target.kind.plural not in self.store.served:
            return web.json_response(failure(404, "NotFound", "no such resource").body, status=404)
        plural = target.kind.plural
        since = int(request.query.get("resourceVersion") or self.store.version)
        seen = {m.object["metadata"]["uid"] for m in self.store.history if m.version <= since}
        query = dict(request.query)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        generation = self._cut
        self.watches += 1
        self.watches_begun += 1
        try:
            while generation == self._cut:
                if since < self.store.compacted:
                    gone = failure(410, "Expired", f"too old resource version: {since}").body
                    await response.write(_line("ERROR", gone))
                    break
                begin = bisect.bisect_right(self.store.history, since, key=lambda moment: moment.version)
                for moment in self.store.history[begin:]:
                    since = moment.version
                    if _shows(moment, plural, target.namespace, query, seen):
                        await response.write(_line(_type(moment, query, seen), moment.object))
                await self._next_or_bookmark(response, target.kind, since, generation)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.watches -= 1
        return response

    async def _next_or_bookmark(self, response: web.StreamResponse, kind: Any, since: int, generation: int) -> None:
        try:
            async with asyncio.timeout(self.bookmark_seconds):
                async with self._moved:
                    await self._moved.wait_for(lambda: self.store.version > since or generation != self._cut)
        except TimeoutError:
            metadata = {"resourceVersion": str(since)}
            mark = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
            await response.write(_line("BOOKMARK", mark))


def _ignore(_: object) -> None:
    """A callback returns nothing."""


def _shows(moment: Moment, plural: str, namespace: str, query: Mapping[str, str], seen: set[str]) -> bool:
    metadata = moment.object["metadata"]
    if plural_of(moment.object) != plural or namespace not in ("", metadata.get("namespace", "")):
        return False
    return selected(moment.object, query) or metadata["uid"] in seen


def _type(moment: Moment, query: Mapping[str, str], seen: set[str]) -> str:
    """An object that begins or ceases to match a selector is ADDED or DELETED for the watcher."""
    uid = moment.object["metadata"]["uid"]
    if moment.type == "DELETED" or not selected(moment.object, query):
        seen.discard(uid)
        return "DELETED"
    known = uid in seen
    seen.add(uid)
    return "MODIFIED" if known else "ADDED"


def _line(type_: str, body: Any) -> bytes:
    return json.dumps({"type": type_, "object": body}).encode() + b"\n"


class ServerThread:
    """A FakeServer in a thread of its own: `call` runs something in its loop."""

    def __init__(self, store: Store | None = None, **options: Any) -> None:
        self.store = store or cluster()
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.server: FakeServer

    def __enter__(self) -> Self:
        self._thread.start()

        async def start() -> FakeServer:
            server = FakeServer(self.store, **self._options)
            await server.start()
            return server

        self.server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def call(self, action: Callable[[], T]) -> T:
        """Run *action* in the server's loop, where nothing else happens meanwhile."""

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(30)

    def asked(self) -> list[Asked]:
        return self.call(lambda: list(self.store.asked))

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)

    def kubeconfig(self, folder: Path) -> Path:
        return self.server.kubeconfig(folder)
