"""The CA in a Secret beside a tunnel is replaced in the order of docs/operator.md, and no pair of pods falls apart."""

import asyncio
from collections.abc import Callable

import pytest
from cryptography import x509

from mtls_tunnel.trust import chain
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.ca import Pair
from support.operator_stage import ORDERS, Stage, signer_of
from support.tunnel_resources import NOON, tunnel_raw

SERVER, CLIENT = "orders-db-mtls-server", "orders-db-mtls-client-api"
PROPAGATION, TICK = 180, 20  # a pod reads a Secret up to this much later
A, B = signer_of(NOON).pair, signer_of(NOON).pair


class Watched:
    """A tunnel whose CA stands in a Secret, looked at as the queue does, and what its pods may still hold."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.tunnel(tunnel_raw(certificate={"issuerRef": {"group": "", "kind": "Secret", "name": "my-ca"}}))
        self._written: dict[str, list[tuple[float, dict[str, bytes]]]] = {SERVER: [], CLIENT: []}
        self._again = 0.0
        self.refused: list[float] = []  # when some pair of pods did not accept each other

    def put(self, signs: Pair, beside: Pair | None = None) -> None:
        entries = {"tls.crt": signs.cert_pem, "tls.key": signs.key_pem, "ca.crt": beside.cert_pem if beside else b""}
        self.stage.store.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "my-ca", "namespace": ORDERS.namespace},
                "stringData": {key: value.decode() for key, value in entries.items()},
            }
        )

    def wait(self, seconds: float = 0, shows: tuple[Pair, ...] = ()) -> None:
        """Until the status shows these CAs, and then so long."""
        while shows and self.shown != [one.fingerprint for one in shows]:
            self._tick()
        for _ in range(0, int(seconds), TICK):
            self._tick()

    @property
    def shown(self) -> list[str]:
        return list(self.stage.status().get("trustBundle", {}).get("caFingerprints", ()))

    def _tick(self) -> None:
        self.stage.clock.now += TICK
        if self.stage.clock.now >= self._again:
            again = asyncio.run(self.stage.look())
            assert again is not None
            self._again = again
        for name, written in self._written.items():
            if self.stage.has("secrets", name) and (not written or written[-1][1] != self.stage.secret(name)):
                written.append((self.stage.clock.now, self.stage.secret(name)))
        if any(not _accept(one, two) for one in self._held(SERVER) for two in self._held(CLIENT)):
            self.refused.append(self.stage.clock.now)

    def _held(self, name: str) -> list[dict[str, bytes]]:
        """What a pod may have read by now: the newest that every pod has, and all after it."""
        written = self._written[name]
        old = [number for number, (time, _) in enumerate(written) if time <= self.stage.clock.now - PROPAGATION]
        return [content for _, content in written[max(old, default=0) :]]


def _accept(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    return _trusts(one, other) and _trusts(other, one)


def _trusts(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    leaf = x509.load_pem_x509_certificate(other["tls.crt"])
    return any(chain.issued(each, leaf) for each in ca.bundle_of(one["ca.crt"], "ca.crt"))


def as_documented(watched: Watched) -> None:
    watched.put(A, beside=B)
    watched.wait(PROPAGATION, shows=(A, B))
    watched.put(B, beside=A)
    watched.wait(2 * PROPAGATION, shows=(B, A))
    watched.put(B)


def signing_at_once(watched: Watched) -> None:
    watched.put(B, beside=A)
    watched.wait(2 * PROPAGATION, shows=(B, A))
    watched.put(B)


def forgetting_at_once(watched: Watched) -> None:
    watched.put(A, beside=B)
    watched.wait(PROPAGATION, shows=(A, B))
    watched.put(B)


@pytest.mark.parametrize(
    ("replace", "breaks"), [(as_documented, False), (signing_at_once, True), (forgetting_at_once, True)]
)
def test_only_the_documented_order_keeps_every_pair_of_pods_together(
    replace: Callable[[Watched], None], breaks: bool
) -> None:
    watched = Watched()
    watched.put(A)
    watched.wait(2 * PROPAGATION, shows=(A,))

    replace(watched)
    watched.wait(2 * PROPAGATION, shows=(B,))

    assert bool(watched.refused) is breaks
    assert [_trusts({"ca.crt": B.cert_pem}, watched.stage.secret(name)) for name in (SERVER, CLIENT)] == [True, True]
