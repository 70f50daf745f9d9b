"""A CA is rotated while pods talk: how long it takes, and how many handshakes fail.

The Secrets are those that the operator writes.  A pod is somebody who reads its Secret late: at once, at the end
of the propagation time, or in between, by a delay of its own for each version.  Each second every client of a
tunnel meets every server of it; a pair of versions that has not met yet does a TLS handshake with certificates on
both sides (OpenSSL, strict) and looks at the other's SPIFFE ID; and some pairs do so again.
"""

import asyncio
import base64
import itertools
import random
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.fleet.audit import Request, writes
from bench.fleet.stage import Stage
from bench.fleet.story import ROTATING, Found, Sizes
from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.cluster.watch import Watch
from mtls_tunnel_operator.model.kinds import Ref

AGAIN_PER_SECOND = 20  # handshakes of pairs that have met before
PODS_EACH = 3  # of each role: an early reader, a late one, and one in between
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Files:
    """What a volume holds."""

    chain: bytes
    key: bytes
    bundle: bytes


@dataclass(slots=True)
class Volume:
    """A Secret's versions with the times of their coming; the last one that *pod* has read."""

    versions: list[tuple[float, Files]] = field(default_factory=list)
    reads: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PODS_EACH)])

    def written(self, files: Files, now: float, propagation: float) -> None:
        if self.versions and self.versions[-1][1] == files:
            return
        first = not self.versions
        self.versions.append((now, files))
        delays = (0.0, propagation - 1, random.uniform(0, propagation - 1))
        for reads, delay in zip(self.reads, delays, strict=True):
            reads.append(now if first else max(now + delay, reads[-1]))

    def held(self, now: float) -> set[Files]:
        """What its pods have by *now*."""
        return {self.versions[sum(at <= now for at in reads) - 1][1] for reads in self.reads}


class Traffic:
    """The pods of all tunnels of one trust domain, and what they have seen of each other."""

    def __init__(self, folder: Path, propagation: float, trust_domain: str) -> None:
        self._propagation = propagation
        self._trust_domain = trust_domain
        self.volumes: dict[tuple[str, str, str], Volume] = {}  # namespace, tunnel, role
        self.met: set[tuple[Files, Files]] = set()
        self.handshakes = 0
        self.failures: list[str] = []
        self._context = lru_cache(maxsize=2000)(lambda files, server: _context(folder / "pair.pem", files, server))

    def written(self, raw: dict[str, Any]) -> None:
        """A version of a Secret."""
        labels = raw["metadata"]["labels"]
        owner = (raw["metadata"]["namespace"], labels[names.TUNNEL_LABEL], labels[names.ROLE_LABEL])
        content = [base64.b64decode(raw["data"][key]) for key in ("tls.crt", "tls.key", "ca.crt")]
        self.volumes.setdefault(owner, Volume()).written(Files(*content), time.time(), self._propagation)

    async def talk(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            pairs = list(self._pairs(time.time()))
            fresh = [pair for pair in pairs if pair[1:] not in self.met]
            usual = random.sample(pairs, min(len(pairs), AGAIN_PER_SECOND))
            for owner, server, client in (*fresh, *usual):
                if (server, client) in self.met and (owner, server, client) not in usual:
                    continue
                self._shake(owner, server, client)
                await asyncio.sleep(0)
            await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))

    def _pairs(self, now: float) -> Iterator[tuple[tuple[str, str], Files, Files]]:
        """Whoever may meet now."""
        for (namespace, tunnel, role), volume in list(self.volumes.items()):
            client = self.volumes.get((namespace, tunnel, "client"))
            if role == "server" and client is not None:
                for one, other in itertools.product(volume.held(now), client.held(now)):
                    yield (namespace, tunnel), one, other

    def _shake(self, owner: tuple[str, str], server: Files, client: Files) -> None:
        self.met.add((server, client))
        self.handshakes += 1
        try:
            seen = shake(self._context(server, True), self._context(client, False))
        except ssl.SSLError as error:
            self.failures.append(f"{owner[0]}/{owner[1]}: {error}")
            return
        spiffe = f"spiffe://{self._trust_domain}/ns/{owner[0]}/mtlstunnel/{owner[1]}"
        if seen != (f"{spiffe}/server", f"{spiffe}/client/api"):
            self.failures.append(f"{owner[0]}/{owner[1]}: other names: {seen}")


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """One handshake; the URI names of server and client as the other has verified them.

    Raises:
        ssl.SSLError: one of the two does not accept the other.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    far, near = server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up)
    waiting = [near, far]
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    if waiting:
        raise ssl.SSLError("the handshake did not end")
    with suppress(ssl.SSLWantReadError):
        near.read(1)  # TLS 1.3: the server's refusal of our certificate would arrive here
    return _uri(near), _uri(far)


def _uri(side: ssl.SSLObject) -> str:
    named = (side.getpeercert() or {}).get("subjectAltName", ())
    return " ".join(str(entry[1]) for entry in named if isinstance(entry, tuple) and entry[0] == "URI")


def _context(place: Path, files: Files, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    place.write_bytes(files.chain + files.key)
    context.load_cert_chain(place)
    context.load_verify_locations(cadata=files.bundle.decode())
    return context


async def rotate(stage: Stage, sizes: Sizes, say: Callable[[str], None]) -> Found:
    """Rotate the CA of the late tunnels under traffic."""
    with tempfile.TemporaryDirectory() as folder:
        traffic = Traffic(Path(folder), sizes.propagation_seconds, f"{ROTATING}.example")
        async with stage.api() as api:
            watching = asyncio.create_task(_follow(api, traffic))
            await _comes(lambda: len(traffic.volumes) >= 2 * sizes.late, watching)
            talking = asyncio.create_task(traffic.talk())
            await asyncio.sleep(3)
            before = {files for volume in traffic.volumes.values() for _, files in volume.versions}
            mark, began = stage.audit.mark(), time.time()
            change = {"metadata": {"annotations": {names.ROTATE_ANNOTATION: "1"}}}
            await api.patch(Ref(names.DOMAINS, "", ROTATING), change)
            phases = await _phases(api, say, talking)
            seconds = time.time() - began
            await asyncio.sleep(sizes.propagation_seconds + 2)  # the last bundle reaches the last pod
            for task in (watching, talking):
                task.cancel()
    user = Stage.account("operator")
    written = writes(stage.audit.since(mark, user), user)
    after = {volume.versions[-1][1] for volume in traffic.volumes.values()}
    for failure in traffic.failures[:5]:
        say(f"a failed handshake: {failure}")
    return {
        "rotation_seconds": seconds,
        **{f"rotation_{phase.lower()}_seconds": spent for phase, spent in phases.items()},
        "rotation_leaves": len({one.chain for one in after} - {one.chain for one in before}),
        "rotation_bundles": len({one.bundle for one in after}),
        "rotation_handshakes": traffic.handshakes,
        "rotation_pairs": len(traffic.met),
        "rotation_failures": len(traffic.failures),
        "rotation_writes_per_leaf": _secrets(written) / (2 * sizes.late),
    }


async def _follow(api: Api, traffic: Traffic) -> None:
    async for event in Watch(api, "secrets", label_selector=names.TUNNEL_LABEL):
        labels = event.raw.get("metadata", {}).get("labels", {})
        if event.type in ("ADDED", "MODIFIED") and labels[names.TUNNEL_LABEL].startswith(ROTATING):
            traffic.written(event.raw)


async def _phases(api: Api, say: Callable[[str], None], talking: asyncio.Task[None]) -> dict[str, float]:
    """Follow the rotation to its end; how long each phase took."""
    spent: dict[str, float] = {}
    phase, since = "", time.time()
    while True:
        raw = await api.get(Ref(names.DOMAINS, "", ROTATING))
        rotation = (raw.get("status") or {}).get("rotation") or {}
        seen = rotation.get("phase", "") if rotation.get("observedRequest") == "1" else ""
        if seen != phase:
            if phase:
                spent[phase] = time.time() - since
            phase, since = seen, time.time()
            say(f"rotation: {phase}")
        if phase == "Stable":
            return spent
        if talking.done():
            talking.result()
        if time.time() - since > PATIENCE_SECONDS:
            raise SystemExit(f"the rotation stands still in {phase}")
        await asyncio.sleep(0.5)


async def _comes(done: Callable[[], bool], task: asyncio.Task[None]) -> None:
    while not done():
        if task.done():
            task.result()
        await asyncio.sleep(0.1)


def _secrets(written: list[Request]) -> int:
    return sum(one.resource == "secrets" and one.name.startswith(ROTATING) for one in written)
