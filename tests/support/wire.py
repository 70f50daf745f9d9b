"""Both ends of a wire for tests of the data path: TLS by pyOpenSSL with every kind of ending, and a tunnel in a thread.

    with Running(server_route(authority, backend.port)) as tunnel:
        wire = tls_client(tunnel.port, authority, authority.client())
        wire.send(b"question"); wire.end(); assert wire.read_all() == b"answer"

`Wire` blocks, with a deadline on each call.  Its endings: `end` (close_notify, then FIN), `fin` (a FIN without
close_notify), `reset` (RST).  What arrives last is an ending too: b"" only after a close_notify, `Truncated` after a
bare FIN, ConnectionResetError after an RST, `Alert` with its name after an alert.
`Running` carries a route on a loop of its own thread, as the program does; no files, no child process.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from OpenSSL import SSL, crypto

from mtls_tunnel.config.schema import Acl, Address, Proxy, Tls
from mtls_tunnel.flow.listener import Listener
from mtls_tunnel.flow.loop import new_event_loop
from mtls_tunnel.flow.registry import Registry
from mtls_tunnel.flow.route import Route
from mtls_tunnel.observe.metrics import TunnelMeters
from mtls_tunnel.tls.context import ClientContext, ServerContext
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.pki import Credential
from mtls_tunnel.trust.policy import Policy
from mtls_tunnel.upstream.dial import dial
from support.pki import Authority
from support.waiting import DEADLINE_SECONDS, eventually

T = TypeVar("T")
TLS = Tls("server.pem", "server-key.pem", ("ca.pem",))
VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
PROXY, ACL = Proxy(), Acl()


class Truncated(Exception):
    """A FIN came without a close_notify before it."""


class Alert(Exception):
    """The other side sent a fatal alert; `name` as the RFCs write it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def material(
    credential: Credential,
    *cas: Authority,
    crls: tuple[Any, ...] | None = None,
    trust: tuple[tuple[str, tuple[Authority, ...]], ...] = (),
    chain: tuple[Authority, ...] = (),
) -> Material:
    """One side's certificates as if they had been read from files."""
    return Material(
        leaf=credential.certificate,
        chain=tuple(one.certificate for one in chain),
        key=credential.key,
        bundle=tuple(one.certificate for one in cas),
        trust=tuple((domain, tuple(one.certificate for one in those)) for domain, those in trust),
        crls=crls,
        warnings=(),
        digest=repr([one.certificate.serial_number for one in cas]),
        bundle_digest="",
        cert_path="server.pem",
        key_path="server-key.pem",
        ca_paths=("ca.pem",),
    )


class Wire:
    """A blocking TLS connection of a test.  Owns its socket."""

    def __init__(self, sock: socket.socket, context: SSL.Context, *, session: SSL.Session | None = None) -> None:
        self.sock = sock
        self._heard_goodbye = False
        self.connection = SSL.Connection(context, sock)
        if session is not None:
            self.connection.set_session(session)

    def handshake(self, *, as_client: bool, name: str = "") -> Self:
        if name:
            self.connection.set_tlsext_host_name(name.encode())
        (self.connection.set_connect_state if as_client else self.connection.set_accept_state)()
        try:
            self._do(self.connection.do_handshake)
        except BaseException:
            self.sock.close()
            raise
        self.connection.set_info_callback(self._note)
        return self

    def send(self, octets: bytes) -> None:
        """Send all of it."""
        view = memoryview(octets)
        while view:
            part = view[:65536]
            view = view[self._do(partial(self.connection.send, part)) :]

    def recv(self, size: int = 65536) -> bytes:
        """Some bytes; b"" after a close_notify."""
        try:
            return self._do(lambda: self.connection.recv(size))
        except SSL.ZeroReturnError:
            if self._heard_goodbye:
                return b""
            raise Truncated from None

    def read(self, size: int) -> bytes:
        """Exactly *size* bytes, or fewer at the end."""
        got = b""
        while len(got) < size and (chunk := self.recv(size - len(got))):
            got += chunk
        return got

    def read_all(self) -> bytes:
        """Everything up to a close_notify."""
        got = bytearray()
        while chunk := self.recv():
            got += chunk
        return bytes(got)

    def end(self) -> None:
        """close_notify and FIN; reading goes on."""
        self._do(self.connection.shutdown)
        self.sock.shutdown(socket.SHUT_WR)

    def fin(self) -> None:
        """A FIN without close_notify, as a careless or a cut-off peer sends it."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _note(self, _connection: SSL.Connection, where: int, code: int) -> None:
        self._heard_goodbye |= where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT and code & 0xFF == 0

    def _do(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except SSL.ZeroReturnError:
            raise
        except SSL.SysCallError as error:
            raise ConnectionResetError(*error.args) from error
        except SSL.WantReadError:
            raise TimeoutError("nothing came before the deadline") from None
        except SSL.Error as error:
            text = str(error.args[0][0][2]) if error.args[0] else ""
            raise Alert(text.partition(" alert ")[2].replace(" ", "_") or text) from error


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def plain_client(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """*receive_buffer* in bytes, or what the kernel likes."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before the window is agreed on
        # One segment of the loopback would fill it, and be dropped, and sent again after ever longer pauses.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    sock.settimeout(DEADLINE_SECONDS)
    sock.connect(("127.0.0.1", port))
    return sock


def tls_context(
    trusted: Authority | None,
    credential: Credential | None,
    *,
    client: bool,
    version: str = "",
    chain: tuple[Authority, ...] = (),
) -> SSL.Context:
    """pyOpenSSL as anybody would use it; a server demands a certificate if it trusts somebody."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD if client else SSL.TLS_SERVER_METHOD)
    context.set_options(SSL.OP_IGNORE_UNEXPECTED_EOF)
    if version:
        context.set_min_proto_version(VERSIONS[version])
        context.set_max_proto_version(VERSIONS[version])
    if credential is not None:
        context.use_certificate(credential.certificate)
        context.use_privatekey(credential.key)
        for one in chain:
            context.add_extra_chain_cert(one.certificate)
    if trusted is not None:
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(trusted.certificate))
        context.set_verify(SSL.VERIFY_PEER | (0 if client else SSL.VERIFY_FAIL_IF_NO_PEER_CERT))
    context.set_session_id(b"test")
    return context


def tls_client(
    port: int,
    trusted: Authority,
    credential: Credential | None,
    *,
    version: str = "",
    chain: tuple[Authority, ...] = (),
    context: SSL.Context | None = None,
    session: SSL.Session | None = None,
    receive_buffer: int = 0,
) -> Wire:
    """A client after its handshake (which on TLS 1.3 ends before the server has judged it)."""
    made = context or tls_context(trusted, credential, client=True, version=version, chain=chain)
    sock = _with_deadline(plain_client(port, receive_buffer=receive_buffer))
    return Wire(sock, made, session=session).handshake(as_client=True, name="localhost")


def _with_deadline(sock: socket.socket) -> socket.socket:
    """The descriptor blocks, and the kernel keeps the deadline: OpenSSL reads and writes it by itself."""
    sock.settimeout(None)
    limit = struct.pack("ll", int(DEADLINE_SECONDS), 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return sock


class TlsServer:
    """A TLS server that gives each connection, or the failure of its handshake, to the test."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_SECONDS)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> Wire:
        """The next connection, after its handshake."""
        sock, _ = self._listener.accept()
        return Wire(_with_deadline(sock), self._context).handshake(as_client=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.close()


@dataclass
class Settings:
    """What a route asks late: change a field and the next connection sees it."""

    target: Address
    proxy: Proxy = PROXY
    acl: Acl = ACL
    access: str = "all"
    server_context: ServerContext | None = None
    client_context: ClientContext | None = None
    require_close_notify: bool = False
    policy: Policy = field(default_factory=lambda: Policy.of(Acl()))


def server_settings(authority: Authority, port: int, **over: Any) -> Settings:
    """Server mode before a backend on *port*."""
    context = ServerContext(material(authority.server(), authority), TLS, now=time.time)
    return replace(Settings(Address("127.0.0.1", port), server_context=context), **over)


def client_settings(authority: Authority, port: int, *, tls: Tls = TLS, **over: Any) -> Settings:
    """Client mode before a TLS server on *port* that is called localhost."""
    made = Settings(Address("127.0.0.1", port))
    tls = replace(tls, server_name=tls.server_name or "localhost")
    made.client_context = ClientContext(
        material(authority.client(), authority), tls, host="127.0.0.1", policy=lambda: made.policy, now=time.time
    )
    return replace(made, **over)


class Running:
    """A tunnel on a loop in a thread of its own, from `with` to its end."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self.settings = settings
        self.meters = TunnelMeters(name)
        self.registry = Registry(name, acl=lambda: self.settings.acl)
        self.meters.watch_live(self.registry.totals)
        self._loop = new_event_loop()
        self.listener = Listener(Address("127.0.0.1", 0), self._route(name))

    @property
    def port(self) -> int:
        return self.listener.address.port

    @property
    def watched(self) -> int:
        """Descriptors that the poll watches, the listener's included."""
        poll: int = self._loop.poll.watched  # type: ignore[attr-defined]  # it is a Loop
        return poll

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* on the loop's thread."""

        async def on_loop() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(DEADLINE_SECONDS)

    def wait(self, coroutine: Any) -> Any:
        """Run *coroutine* on the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_SECONDS)

    def closings(self, reason: str) -> int:
        return self.meters.closings[reason]

    def wait_until_over(self, reason: str, count: int = 1) -> None:
        """Wait until *count* sessions have ended for *reason* and none is live."""
        eventually(lambda: self.closings(reason) >= count, f"{count} closed: {reason}; {self.meters.closings}")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        eventually(lambda: len(self.registry) == 0, "no session is live")

    def __enter__(self) -> Self:
        self.listener.bind()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.listener.start)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.call(self.listener.stop)
        self.call(self.registry.cut)
        with contextlib.suppress(TimeoutError):
            self.wait(self.registry.drained())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _route(self, name: str) -> Route:
        now = self.settings
        server, client = now.server_context is not None, now.client_context is not None

        def server_context() -> ServerContext:
            assert self.settings.server_context is not None
            return self.settings.server_context

        def client_context() -> ClientContext:
            assert self.settings.client_context is not None
            return self.settings.client_context

        return Route(
            name=name,
            mode="bridge" if server and client else "server" if server else "client",
            target=lambda: self.settings.target,
            registry=self.registry,
            meters=self.meters,
            dial=lambda: dial(self.settings.target, timeout=self.settings.proxy.dial_timeout_seconds),
            proxy=lambda: self.settings.proxy,
            access=lambda: self.settings.access,
            policy=lambda: self.settings.policy,
            server_context=server_context if server else None,
            client_context=client_context if client else None,
            require_close_notify=lambda: self.settings.require_close_notify,
        )
