"""One HTTP/1.1 connection of the status listener, without a socket: bytes in, bytes out.

Serves GET and HEAD of a fixed set of paths, compared whole: there is no file behind any of them.  Refuses
with a status and then closes: malformed requests and anything that is not HTTP (400), header over 8 KiB
(431), other methods (405).  Request bodies are never read.

Sources: RFC 9110, RFC 9112; h11 does the parsing.
"""

import http
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import h11

from mtls_tunnel.observe.health import compact

MAX_HEADER_BYTES = 8192
MAX_REQUESTS = 100  # on one connection


@dataclass(frozen=True, slots=True)
class Request:
    """What a route may look at.  `local`: the client is on this machine and says so in its Host header."""

    method: str
    path: str
    accept: str
    local: bool


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[Request], Response]
Failed = Callable[[str, Exception], None]
"""Told the path and the exception when a route breaks; the client gets a 500."""


def refusal(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """An error response with one sentence in it."""
    return Response(status, compact({"error": text}), headers=headers)


def local_only(route: Route) -> Route:
    """*route*, but 403 to every client that is not on this machine."""

    def guarded(request: Request) -> Response:
        return route(request) if request.local else refusal(403, "only for clients on this machine")

    return guarded


_TOO_LONG = refusal(431, "request header over 8 KiB")
_MALFORMED = refusal(400, "malformed HTTP request")
_OTHER_METHOD = refusal(405, "only GET and HEAD", ("Allow", "GET, HEAD"))


class Exchange:
    """Feed it what arrives; send what it returns; close once `finished`."""

    def __init__(self, routes: Mapping[str, Route], *, peer: str, failed: Failed) -> None:
        self.finished = False
        self.answered = 0
        self._routes = routes
        self._loopback = is_loopback(peer)
        self._failed = failed
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._unread = 0  # bytes received of which no event has come yet

    def receive(self, octets: bytes) -> bytes:
        """The answers to the requests that *octets* complete; no octets mean that the client has ended."""
        answers = b""
        self._unread += len(octets)
        try:
            self._wire.receive_data(octets)
            while not self.finished:
                event = self._wire.next_event()
                if isinstance(event, h11.Request):
                    answers += self._answer(event)
                elif isinstance(event, h11.EndOfMessage):
                    self._next_request()
                elif isinstance(event, h11.ConnectionClosed):
                    self.finished = True
                else:
                    break
        except h11.RemoteProtocolError as error:
            answers += self._refuse(error)
        return answers

    def _answer(self, event: h11.Request) -> bytes:
        self.answered += 1
        header_bytes = self._unread - len(self._wire.trailing_data[0])
        self._unread -= header_bytes
        method = event.method.decode("ascii")
        if header_bytes > MAX_HEADER_BYTES:
            return self._send(_TOO_LONG, head=method == "HEAD", last=True)
        if event.http_version not in (b"1.0", b"1.1"):
            return self._send(_MALFORMED, last=True)
        if method not in ("GET", "HEAD"):
            return self._send(_OTHER_METHOD, last=True)
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        request = Request(
            method=method,
            path=event.target.decode("latin-1").partition("?")[0],
            accept=fields.get("accept", ""),
            local=self._loopback and names_this_machine(fields.get("host", "")),
        )
        has_body = "transfer-encoding" in fields or fields.get("content-length", "0") != "0"
        last = has_body or self.answered >= MAX_REQUESTS
        return self._send(self._respond(request), head=method == "HEAD", last=last)

    def _respond(self, request: Request) -> Response:
        route = self._routes.get(request.path)
        if route is None:
            return refusal(404, "no such page")
        try:
            return route(request)
        except Exception as error:  # a broken page must not take the probes down with it
            self._failed(request.path, error)
            return refusal(500, "this page is broken; the log says why")

    def _next_request(self) -> None:
        if self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE:
            self._wire.start_next_cycle()
        else:
            self.finished = True

    def _refuse(self, error: h11.RemoteProtocolError) -> bytes:
        self.finished = True
        if self._wire.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self._send(_TOO_LONG if error.error_status_hint == 431 else _MALFORMED, last=True)

    def _send(self, response: Response, *, head: bool = False, last: bool = False) -> bytes:
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            *response.headers,
            *([("Connection", "close")] if last else []),
        ]
        phrase = http.HTTPStatus(response.status).phrase
        events: list[h11.Event] = [h11.Response(status_code=response.status, reason=phrase, headers=headers)]
        if not head:
            events.append(h11.Data(data=response.body))
        self.finished = self.finished or last
        return b"".join(self._wire.send(event) or b"" for event in [*events, h11.EndOfMessage()])


def is_loopback(address: str) -> bool:
    """Whether *address* (an IP literal, perhaps with a zone) is this machine's own."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def names_this_machine(host: str) -> bool:
    """Whether a Host header means the loopback: what a browser sends for a name rebound to 127.0.0.1 does not."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() in ("", "localhost") or is_loopback(name)
