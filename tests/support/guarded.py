"""The oracle for bad input: a server tunnel before a backend, a good client beside the bad one.

    with Guarded(tmp_path) as guarded, guarded.refuses(handshake_failure("unknown_ca")):
        ...  # one attempt of somebody who must not get in

When the block ends, all of this must hold: not one byte reached the backend, the tunnel lives, the good
client gets through, descriptors and connections are back where they were, and the refusal stands in the
log once and in the metrics once, with its reason.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.clients import PING, context, talk
from support.pki import Authority, Folder
from support.ports import free_port
from support.servers import Backend, Echo
from support.tunnels import Settings, Tunnel, merged
from support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Sign:
    """How a refusal shows: a sample that grows by one and a log line, both per attempt."""

    metric: str
    labels: Mapping[str, str]
    line: str
    reason: str = field(default="")


def handshake_failure(reason: str) -> Sign:
    """*reason* is the metric's label and the log line's word."""
    line = rf'level=WARN msg="tls handshake failed" .*reason={reason}\b'
    return Sign("mtlsd_handshake_failures_total", {"reason": reason}, line, reason)


def acl_denial(rule: str) -> Sign:
    """*rule* is the key that decided."""
    line = rf'level=WARN msg="acl: connection denied" .*rule={rule}\b'
    return Sign("mtlsd_acl_decisions_total", {"result": "deny"}, line, rule)


def server_settings(files: Folder, port: int, target: str, over: Mapping[str, Any] | None = None) -> Settings:
    """A server-mode tunnel on the loopback with the folder's server certificate."""
    base = {
        "mode": "server",
        "listen": f"127.0.0.1:{port}",
        "target": target,
        "tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca},
    }
    return merged(base, over or {})


def client_settings(files: Folder, port: int, target: str, over: Mapping[str, Any] | None = None) -> Settings:
    """A client-mode tunnel on the loopback with the folder's client certificate."""
    base = {
        "mode": "client",
        "listen": f"127.0.0.1:{port}",
        "target": target,
        "tls": {"cert": files.client.cert, "key": files.client.key, "ca": files.ca, "server_name": "localhost"},
    }
    return merged(base, over or {})


class Guarded:
    """Owns a server tunnel, and an `Echo` behind it unless the caller brings a *backend* of its own.

    `files.client` is the good client's certificate.
    """

    def __init__(
        self,
        folder: Path,
        over: Mapping[str, Any] | None = None,
        *,
        ca: Authority | None = None,
        backend: Backend | None = None,
        env: Mapping[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.files = Folder(folder / "pki", ca=ca)
        self.authority = self.files.authority
        self._own_backend = backend is None
        self.backend = backend or Echo()
        self.over = over or {}
        self._folder, self._env, self._wrapper = folder, env, wrapper
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._own_backend:
                stack.enter_context(self.backend)
            settings = server_settings(self.files, free_port(), self.backend.address, self.over)
            tunnel = Tunnel(self._folder, settings, name="server", env=self._env, wrapper=self._wrapper)
            self.tunnel = stack.enter_context(tunnel)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, _)

    @property
    def port(self) -> int:
        return self.tunnel.port

    @property
    def good(self) -> ssl.SSLContext:
        """The good client, as its files are now."""
        return context(self.files, self.files.client)

    def greet(self) -> None:
        """The good client gets through."""
        assert talk(self.port, self.good) == PING

    @contextmanager
    def refuses(self, sign: Sign, *, times: int = 1, bystander: bool = True) -> Iterator[None]:
        """Everything attempted in the block is refused, *times* in all; see the head of this file.

        *bystander* is false where the good client cannot get through either.
        """
        if bystander:
            self.greet()
        self.tunnel.wait_until_idle()
        at_backend = self._at_backend()
        descriptors = self.tunnel.descriptors
        counted = self.tunnel.value(sign.metric, **sign.labels)
        logged = self.tunnel.count(sign.line)
        yield
        assert self.tunnel.alive, self.tunnel.output
        eventually(
            lambda: self.tunnel.value(sign.metric, **sign.labels) >= counted + times,
            f"{sign.metric} {dict(sign.labels)} grew by {times}\n{self.tunnel.samples().text}",
        )
        self.tunnel.wait_for_line(sign.line, times=logged + times)
        if bystander:
            before = self.backend.received
            self.greet()
            eventually(lambda: self.backend.received >= before + len(PING), "the good client's bytes are counted")
        self.tunnel.wait_until_idle()
        self.tunnel.wait_for_descriptors(descriptors)
        assert self.tunnel.value(sign.metric, **sign.labels) == counted + times
        assert self.tunnel.count(sign.line) == logged + times, self.tunnel.output
        greeting = (1, len(PING)) if bystander else (0, 0)
        assert self._at_backend() == (at_backend[0] + greeting[0], at_backend[1] + greeting[1])

    def _at_backend(self) -> tuple[int, int]:
        return self.backend.accepted, self.backend.received


def remote_of(line: str) -> str:
    """The `remote` attribute of a log line."""
    found = re.search(r"\bremote=(\S+)", line)
    assert found, line
    return found[1]
