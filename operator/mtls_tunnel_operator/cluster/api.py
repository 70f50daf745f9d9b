"""Requests to the API server: the one place that speaks HTTP to it, but for `watch`.

Objects go in and come out as the dicts that JSON makes; nothing is round-tripped through types.  Each answer
that is not a success becomes an error of `errors`; what may pass by itself (no answer, 429, 5xx) is tried
again here, and nowhere else, with the server's Retry-After where that is short.  Before each write `may_write`
is asked: a process that may have lost its Lease raises `NotLeader` instead of writing.

It keeps no cache; `observe` and `forget` tell the owner of one what a write has brought.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from mtls_tunnel_operator import __version__, names
from mtls_tunnel_operator.cluster.credentials import Connection
from mtls_tunnel_operator.errors import ApiError, Conflict, Gone, NotFound, NotLeader
from mtls_tunnel_operator.model.kinds import KINDS, Kind, Ref, path, plural_of, ref_of

__all__ = ["KINDS", "Api", "Kind", "Page", "Ref", "ref_of"]

Object = dict[str, Any]

ANSWER_SECONDS = 4.0  # well below the 10 s for which a renewed Lease allows writing
LIST_SECONDS = 30.0
PAGE = 200  # objects of a list at once: what is kept of them is little, what is read is much
PAUSES = (0.2, 1.0)  # before the second and the third try
LONGEST_PAUSE = 5.0  # a longer Retry-After is for the caller, who has other work
PASSING = frozenset({429, 500, 502, 503, 504})

APPLY = "application/apply-patch+yaml"  # JSON is YAML
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"


class _Fenced(aiohttp.BytesPayload):
    """The body of a write: asked once more in the moment in which it goes out.

    A process that is stopped between the first question and the sending (SIGSTOP, a paused machine) would
    otherwise write long after another replica has taken over.  Without its body the request is none.
    """

    def __init__(self, value: bytes, content: str, may_write: Callable[[], bool]) -> None:
        super().__init__(value, content_type=content)
        self._may_write = may_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._may_write():
            raise NotLeader("the Lease was not renewed lately")
        await super().write_with_length(writer, content_length)


class Page(NamedTuple):
    """A part of a list; `resource_version` is where a watch may begin after the last one."""

    items: list[Object]
    resource_version: str


class Api:
    """A session with one API server; use it as `async with Api(connection()) as api`."""

    def __init__(
        self,
        connection: Connection,
        *,
        may_write: Callable[[], bool] = lambda: True,
        observe: Callable[[Object], None] = lambda _: None,
        forget: Callable[[Ref], None] = lambda _: None,
        answered: Callable[[str, str, int], None] = lambda *_: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        user_agent: str = f"mtls-tunnel-operator/{__version__}",
    ) -> None:
        self.connection = connection
        self.may_write = may_write
        self.observe = observe
        self.forget = forget
        self._answered = answered  # verb, plural, status: for metrics
        self._sleep = sleep
        self._user_agent = user_agent
        self._open: aiohttp.ClientSession | None = None
        self._dated: tuple[str, float] = ("", 0.0)  # the last answer's date, and when it came by our clock

    @property
    def ahead(self) -> float:
        """Seconds by which the API server's clock is ahead of ours, from its last answer; 0.0 before one."""
        said, came = self._dated
        try:
            return parsedate_to_datetime(said).timestamp() - came
        except ValueError:
            return 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._open is not None:
            await self._open.close()
            self._open = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections, made on first use: a session belongs to a running loop."""
        if self._open is None:
            context = self.connection.ssl_context
            connector = aiohttp.TCPConnector(limit=0, ssl=True if context is None else context)
            self._open = aiohttp.ClientSession(connector=connector, headers={"User-Agent": self._user_agent})
        return self._open

    # Reads.

    async def get(self, ref: Ref) -> Object:
        """The object, or `NotFound`."""
        return await self.request("GET", path(*ref), plural=ref.plural)

    async def list(
        self, plural: str, namespace: str = "", label_selector: str = "", field_selector: str = "", limit: int = PAGE
    ) -> AsyncIterator[Page]:
        """Pages of objects, of all namespaces when *namespace* is empty; each object says its kind.

        Raises:
            Gone: the list took longer than the server keeps its continuation: begin anew.
        """
        kind = KINDS[plural]
        query = {"limit": str(limit), "labelSelector": label_selector, "fieldSelector": field_selector, "continue": ""}
        while True:
            where = path(plural, namespace)
            page = await self.request("GET", where, query=query, plural=plural, verb="list", seconds=LIST_SECONDS)
            items = page.get("items") or []
            for item in items:  # built-in kinds leave both out in lists
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            yield Page(items, page["metadata"].get("resourceVersion", ""))
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return

    async def serves(self, plural: str) -> bool:
        """Whether the API server has that kind (now: CRDs come and go)."""
        try:
            found = await self.request("GET", KINDS[plural].root, verb="discover")
        except NotFound:
            return False
        return any(resource["name"] == plural for resource in found.get("resources", ()))

    # Writes.

    async def apply(self, manifest: Object, *, manager: str = names.FIELD_MANAGER, force: bool = True) -> Object:
        """Server-side apply: create it, or make the fields of *manifest* so; `Conflict` only without *force*
        or with a metadata.resourceVersion that is not current."""
        return await self._apply(manifest, manager, force, "")

    async def apply_status(self, manifest: Object, *, manager: str = names.STATUS_MANAGER) -> Object:
        """The same for the status subresource."""
        return await self._apply(manifest, manager, True, "status")

    async def create(self, manifest: Object, *, manager: str = names.FIELD_MANAGER) -> Object:
        """A new object; `Conflict` (reason AlreadyExists) when there is one."""
        plural, metadata = plural_of(manifest), manifest["metadata"]
        where = path(plural, metadata.get("namespace", ""))
        # With generateName a second try would make a second object.
        tries = 1 if "name" not in metadata else None
        query = {"fieldManager": manager}
        return await self._write("POST", where, manifest, plural, "create", query=query, tries=tries)

    async def replace(self, manifest: Object, *, manager: str = names.FIELD_MANAGER) -> Object:
        """The whole object anew; `Conflict` when its metadata.resourceVersion is not current."""
        ref = ref_of(manifest)
        return await self._write("PUT", path(*ref), manifest, ref.plural, "update", query={"fieldManager": manager})

    async def patch(
        self, ref: Ref, body: Any, *, content: str = MERGE, manager: str = names.FIELD_MANAGER, subresource: str = ""
    ) -> Object:
        """A merge patch (a dict) or JSON patch (a list, `content=JSON_PATCH`)."""
        where = path(*ref, subresource)
        return await self._write(
            "PATCH", where, body, ref.plural, "patch", content=content, query={"fieldManager": manager}
        )

    async def delete(self, ref: Ref, *, uid: str = "") -> bool:
        """Whether it was there to delete; with *uid*, `Conflict` when the object is another one by now."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._write("DELETE", path(*ref), options, ref.plural, "delete", seen=False)
        except NotFound:
            self.forget(ref)
            return False
        self.forget(ref)
        return True

    async def evict(self, namespace: str, name: str, *, uid: str = "") -> None:
        """Evict a pod; `ApiError` 429 when a disruption budget forbids it now: that is not tried again here."""
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if uid:
            body["deleteOptions"] = {"preconditions": {"uid": uid}}
        where = path("pods", namespace, name, "eviction")
        await self._write("POST", where, body, "pods", "evict", tries=1, seen=False)

    async def _apply(self, manifest: Object, manager: str, force: bool, subresource: str) -> Object:
        ref = ref_of(manifest)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        where = path(*ref, subresource)
        return await self._write("PATCH", where, manifest, ref.plural, "apply", content=APPLY, query=query)

    async def _write(
        self,
        method: str,
        where: str,
        body: Any,
        plural: str,
        verb: str,
        *,
        content: str = JSON,
        query: Mapping[str, str] | None = None,
        tries: int | None = None,
        seen: bool = True,
    ) -> Object:
        result = await self.request(
            method, where, body=body, content=content, query=query or {}, plural=plural, verb=verb, tries=tries
        )
        if seen:
            result.setdefault("apiVersion", KINDS[plural].api_version)
            result.setdefault("kind", KINDS[plural].kind)
            self.observe(result)
        return result

    # Both.

    async def request(
        self,
        method: str,
        where: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = JSON,
        plural: str = "",
        verb: str = "get",
        seconds: float = ANSWER_SECONDS,
        tries: int | None = None,
    ) -> Object:
        """One request, with its repetitions.

        Raises:
            NotLeader: a write, and `may_write` says no (asked before each try).
            ApiError: what the server answered, or status 0 when it did not.
        """
        left = len(PAUSES) + 1 if tries is None else tries
        for pause in PAUSES[: left - 1]:
            try:
                return await self._once(method, where, query, body, content, plural, verb, seconds)
            except ApiError as error:
                if error.status and error.status not in PASSING:
                    raise
                wait = max(error.retry_after or 0.0, pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                if wait > LONGEST_PAUSE:
                    raise
                await self._sleep(wait)
        return await self._once(method, where, query, body, content, plural, verb, seconds)

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
    ) -> Object:
        if method != "GET" and not self.may_write():
            raise NotLeader(f"{method} {where}: the Lease was not renewed lately")
        fenced = None
        if body is not None:
            fenced = _Fenced(json.dumps(body, ensure_ascii=False).encode(), content, self.may_write)
        params = {key: value for key, value in (query or {}).items() if value}
        try:
            async with self.session.request(
                method,
                self.connection.server + where,
                params=params,
                data=fenced,
                headers=self.connection.headers(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                payload = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._answered(verb, plural, 0)
            reason = "Timeout" if isinstance(error, TimeoutError) else "Unreachable"
            detail = str(error) or f"no answer within {seconds:g} s"
            raise ApiError(0, reason, f"{method} {where}: {detail}") from error
        self._answered(verb, plural, response.status)
        self._dated = (response.headers.get("Date", ""), time.time())
        if response.status >= 300:
            raise error_of(response.status, response.reason or "", payload, response.headers.get("Retry-After"))
        return dict(json.loads(payload)) if payload else {}


def error_of(status: int, phrase: str, payload: bytes, retry_after: str | None) -> ApiError:
    """The error that an answer says; proxies answer in HTML, the API server with a Status."""
    try:
        said = json.loads(payload)
        reason, message = said.get("reason") or phrase, said.get("message") or phrase
        seconds = retry_after or (said.get("details") or {}).get("retryAfterSeconds")
    except (ValueError, AttributeError):
        reason, message, seconds = phrase.replace(" ", ""), payload[:200].decode(errors="replace"), retry_after
    kind = {404: NotFound, 409: Conflict, 410: Gone}.get(status, ApiError)
    try:
        wait = float(seconds) if seconds else None
    except (TypeError, ValueError):  # an HTTP date: rare enough
        wait = None
    return kind(status, reason, message, retry_after=wait)
