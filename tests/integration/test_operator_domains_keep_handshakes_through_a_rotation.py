"""A whole CA rotation, with TLS handshakes (OpenSSL, strict) between pods that read their volumes late.

The Secrets are those that the operator writes into an API server in memory.  At each tick each pod reads some
version of its Secret that is at most propagationSeconds old, and every server is dialled by every client; each of
them proves who it is.
"""

import asyncio
import itertools
import ssl
import time
from random import Random

from mtls_tunnel_operator.authority import state
from mtls_tunnel_operator.model.kinds import Ref
from support.trust_domains import World

PROPAGATION = 60
Files = tuple[bytes, bytes, bytes]  # chain, key, bundle


class Pod:
    """Reads its Secret late, each time by another delay."""

    def __init__(self, world: World, ref: Ref, random: Random) -> None:
        self.world, self.ref, self.random = world, ref, random
        self.versions: list[tuple[float, Files]] = []
        self.has: Files | None = None

    def read(self) -> Files:
        now, raw = self.world.clock.now, self.world.store.objects[self.ref]
        there = (state.entry(raw, "tls.crt"), state.entry(raw, "tls.key"), state.entry(raw, "ca.crt"))
        if not self.versions or self.versions[-1][1] != there:
            late = 0.0 if self.has is None else self.random.choice((0, PROPAGATION - 1))
            earliest = self.versions[-1][0] if self.versions else 0.0
            self.versions.append((max(earliest, now + late), there))
        self.has = [files for at, files in self.versions if at <= now][-1]
        return self.has


def shake(folder: str, server: Files, client: Files) -> None:
    """One handshake with certificates on both sides; raises ssl.SSLError."""
    ends = [_context(folder, server, ssl.PROTOCOL_TLS_SERVER), _context(folder, client, ssl.PROTOCOL_TLS_CLIENT)]
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    objects = [ends[0].wrap_bio(a, b, server_side=True), ends[1].wrap_bio(b, a)]
    done = [False, False]
    for _ in range(20):
        for side in (1, 0):
            if not done[side]:
                try:
                    objects[side].do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    pass
    assert done == [True, True]
    try:
        objects[1].read(1)  # TLS 1.3: the server's refusal of our certificate would arrive here
    except ssl.SSLWantReadError:
        return


def _context(folder: str, files: Files, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    chain, key, bundle = files
    path = f"{folder}/pair.pem"
    with open(path, "wb") as file:
        file.write(chain + key)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=bundle.decode())
    return context


def test_no_handshake_fails_while_the_ca_is_rotated(tmp_path: object) -> None:
    async def story() -> None:
        world = World(now=time.time())
        world.domain(propagationSeconds=PROPAGATION, issuingSeconds=20)
        await world.look()
        world.tunnel("shop", "db")
        world.tunnel("shop", "cache")
        world.tunnel("shop", "api", role="client")
        await world.later(100, tick=10)
        random = Random(7)
        pods = [Pod(world, ref, random) for ref in world.leaves for _ in range(2)]
        world.annotate(rotate="1")
        world.again = world.clock.now

        shaken: set[tuple[Files, Files]] = set()
        phases: list[str] = []
        for _ in range(70):
            await world.later(10, tick=10)
            phases.append(world.phase())
            servers = {pod.read() for pod in pods if pod.ref.name.endswith("server")}
            clients = {pod.read() for pod in pods if pod.ref.name.endswith("client")}
            for pair in set(itertools.product(servers, clients)) - shaken:
                shake(str(tmp_path), *pair)
                shaken.add(pair)

        assert [phase for phase, _ in itertools.groupby(phases)] == ["Distributing", "Issuing", "Retiring", "Stable"]
        assert {bundle for pod in pods for _, _, bundle in [pod.read()]} == {world.domains.signer("").bundle_pem}
        assert len({chain for pair in shaken for chain, _, _ in pair}) == 6  # each of three leaves, old and new

    asyncio.run(story())
