"""What a workload works against, and what it cost: ports to connect to, process trees whose CPU is counted."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import Tree
from bench.streams import HOST, PlainStream, Stream, TlsStream, client_context, prepared

_PATIENCE_SECONDS = 60  # a proxy that does not answer for so long has failed


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and whose CPU to count.  `direct` is the plain backend without a proxy before it."""

    port: int
    direct: int
    certificates: Path | None  # None: the proxy takes plain connections (client mode)
    proxy: Tree
    backend: Tree

    def context(self) -> ssl.SSLContext | None:
        return client_context(self.certificates) if self.certificates else None


def connect(port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None) -> Stream:
    """Open a stream to *port* of this machine."""
    sock = prepared(socket.create_connection((HOST, port)), patience_seconds=_PATIENCE_SECONDS)
    return PlainStream(sock) if context is None else TlsStream(sock, context, session=session)


class Span:
    """CPU and wall-clock seconds between two moments, of the proxy and of both ends."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._started = self._now()

    def _now(self) -> tuple[float, float, float]:
        return self._target.proxy.cpu_seconds(), self._target.backend.cpu_seconds(), time.perf_counter()

    def stop(self, workers_cpu: float) -> "Cost":
        proxy, backend, wall = (now - then for now, then in zip(self._now(), self._started, strict=True))
        return Cost(proxy, backend + workers_cpu, wall)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds."""

    proxy: float
    ends: float
    wall: float
