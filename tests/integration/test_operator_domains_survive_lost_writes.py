"""A rotation in which the API server refuses writes, loses answers, or somebody deletes CAs: it ends all the same.

Everything is in memory; what makes these long is that each is a whole rotation.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from support.kube_api import Trouble
from support.trust_domains import World

FAST: dict[str, Any] = {"propagationSeconds": 60, "issuingSeconds": 30}


async def settled() -> World:
    world = World()
    world.domain(**FAST)
    await world.look()
    world.tunnel("shop", "db")
    world.tunnel("bi", "reports")
    await world.later(200, tick=15)
    return world


def assert_all_verify(world: World) -> None:
    held = world.held()
    assert all(issuer in bundle for issuer, _ in held for _, bundle in held)


def assert_at_rest(world: World) -> None:
    assert world.condition("RotationInProgress")[:2] == ("False", "Stable")
    assert list(world.cas().values()) == ["Current"]
    assert set(world.held()) == {(world.domains.signer("").pair.fingerprint, world.domains.signer("").fingerprints)}


@dataclass(slots=True)
class Nth(Trouble):
    """The first `skip` requests that match are left alone."""

    skip: int = 0

    def meets(self, method: str, path: str) -> bool:
        if not Trouble.meets(self, method, path):
            return False
        self.skip -= 1
        return self.skip < 0


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("status", [409, 500, 0], ids=["409", "500", "answer lost"])
def test_a_write_that_is_refused_or_whose_answer_is_lost_leads_to_the_same_end(number: int, status: int) -> None:
    """The n-th write of the rotation to a CA's Secret or to the bundle; lost answers three times in a row."""

    async def story() -> None:
        world = await settled()
        where = ".*/default-(ca-.|bundle)"
        trouble = Nth("PATCH|DELETE", where, status=status, times=3, reason="Conflict", skip=number, after=status == 0)
        world.api.trouble(trouble)
        world.annotate(rotate="1")
        world.again = 0.0

        await world.later(1200, tick=15)

        assert trouble.times < 3
        assert world.status()["rotation"]["observedRequest"] == "1"
        assert world.phase() == "Stable"
        assert list(world.cas().values()) == ["Current"]
        assert_all_verify(world)

    asyncio.run(story())


@pytest.mark.parametrize("phase", ["Distributing", "Issuing", "Retiring"])
@pytest.mark.parametrize("slot", [1, 2])
def test_a_ca_secret_that_is_deleted_in_the_middle_of_a_rotation_breaks_nothing(phase: str, slot: int) -> None:
    async def story() -> None:
        world = await settled()
        world.annotate(rotate="1")
        world.again = 0.0
        for _ in range(100):
            await world.later(5)
            if world.phase() == phase:
                break
        world.delete("secrets", f"default-ca-{slot}")
        world.again = 0.0

        for _ in range(120):
            await world.later(15, tick=15)
            assert_all_verify(world)
        assert_at_rest(world)

    asyncio.run(story())
