"""The Secrets of a domain's CAs: two processes that read the same state cannot both act on it."""

import asyncio
from dataclasses import replace

import pytest

from mtls_tunnel_operator.authority import state
from mtls_tunnel_operator.authority.state import Authority, Progress
from mtls_tunnel_operator.control.domains.store import DomainStore, Stored, memories_of
from mtls_tunnel_operator.errors import AuthorityError, Conflict
from mtls_tunnel_operator.model.kinds import Ref
from support.clock import NOW
from support.kube_api import MemoryApi, cluster
from support.rotating import pair

HOME = "mtls-tunnel-system"
ONE = Authority(1, "Current", pair(1), progress=Progress("Stable", NOW))


def place() -> tuple[MemoryApi, DomainStore]:
    api = MemoryApi(cluster())
    return api, DomainStore(api, HOME)


async def with_one() -> tuple[MemoryApi, DomainStore, Stored]:
    api, store = place()
    await store.create("default", ONE, await store.read("default"))
    return api, store, await store.read("default")


def test_of_two_that_make_the_same_ca_at_once_the_first_wins() -> None:
    async def story() -> None:
        _api, store = place()
        read = await store.read("default")
        await store.create("default", ONE, read)

        with pytest.raises(Conflict):
            await store.create("default", replace(ONE, pair=pair(2)), read)
        assert [one.fingerprint for one in (await store.read("default")).authorities] == [pair(1).fingerprint]

    asyncio.run(story())


def test_of_two_that_change_the_phase_at_once_the_first_wins() -> None:
    async def story() -> None:
        _, store, read = await with_one()
        one = read.authorities[0]
        await store.write("default", replace(one, progress=Progress("Distributing", NOW)), read)

        with pytest.raises(Conflict):
            await store.write("default", replace(one, progress=Progress("Issuing", NOW)), read)
        assert (await store.read("default")).authorities[0].progress.phase == "Distributing"

    asyncio.run(story())


def test_a_ca_that_was_deleted_meanwhile_is_not_made_anew_without_its_key() -> None:
    async def story() -> None:
        api, store, read = await with_one()
        api.store.remove(Ref("secrets", HOME, "default-ca-1"))

        with pytest.raises(Conflict):
            await store.write("default", read.authorities[0], read)
        assert (await store.read("default")).secrets == {}

    asyncio.run(story())


def test_another_ca_under_the_same_name_is_not_deleted() -> None:
    async def story() -> None:
        api, store, read = await with_one()
        api.store.remove(Ref("secrets", HOME, "default-ca-1"))
        await store.create("default", replace(ONE, pair=pair(2)), replace(read, secrets={}))

        with pytest.raises(Conflict):
            await store.remove("default", read.authorities[0], read)
        assert len((await store.read("default")).authorities) == 1

    asyncio.run(story())


def test_what_else_has_the_name_of_a_ca_is_in_the_way() -> None:
    async def story() -> None:
        _, store, read = await with_one()

        with pytest.raises(AuthorityError) as caught:
            await store.create("default", replace(ONE, sequence=5, pair=pair(2)), read)
        assert caught.value.reason == "NameConflict"

    asyncio.run(story())


def test_changing_the_phase_leaves_certificate_and_key_as_they_are() -> None:
    async def story() -> None:
        api, store, read = await with_one()
        await store.write("default", replace(read.authorities[0], progress=Progress("Issuing", NOW, "x")), read)

        raw = api.store.objects[Ref("secrets", HOME, "default-ca-1")]
        assert state.entry(raw, "tls.crt") == pair(1).cert_pem
        assert state.entry(raw, "tls.key") == pair(1).key_pem

    asyncio.run(story())


def test_the_bundle_is_written_once_and_remembers_what_it_trusts() -> None:
    async def story() -> None:
        api, store, read = await with_one()
        following = Authority(2, "Next", pair(2), stored_role="Next")
        current = replace(read.authorities[0], progress=Progress("Distributing", NOW, "7"))
        known = state.assemble([current, following])
        await store.publish("default", known, None)
        api.store.asked.clear()

        raw = await store.get("configmaps", "default-bundle")
        await store.publish("default", known, raw)

        assert [one.verb for one in api.store.asked] == ["get"]
        kept = memories_of(raw)
        assert [(one.certificate, one.role, one.sequence) for one in kept] == [
            (pair(1).certificate, "Current", 1),
            (pair(2).certificate, "Next", 2),
        ]
        assert kept[0].progress == Progress("Distributing", NOW, "7")

    asyncio.run(story())


@pytest.mark.parametrize("text", ["", "garbage", "{}", '[{"fingerprint": 1}]', "[1]", "null"])
def test_a_bundle_whose_memory_was_damaged_remembers_nothing(text: str) -> None:
    known = state.assemble([replace(ONE, stored_role="Current")])

    async def story() -> None:
        _api, store = place()
        await store.publish("default", known, None)
        raw = await store.get("configmaps", "default-bundle")
        assert raw is not None
        raw["metadata"]["annotations"]["mtlstunnel.dev/cas"] = text
        assert memories_of(raw) == ()

    asyncio.run(story())
