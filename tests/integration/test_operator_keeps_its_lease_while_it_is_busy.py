"""The Lease does not depend on the main loop's having time, and is not kept by one that hangs for good."""

import asyncio
import threading
import time

from mtls_tunnel_operator.app.leading import HANGING_SECONDS, Leading
from support.kube_api import ServerThread
from support.operators import LEASE, NAME, SPACE, installed
from support.waiting import eventually


def leading(server: ServerThread, silence: float = 0.0) -> Leading:
    return Leading(server.server.connection(), SPACE, f"{NAME}-operator", "me", silence=lambda: silence)


def test_a_main_loop_that_is_busy_for_twelve_seconds_keeps_the_lease() -> None:
    lost: list[str] = []

    async def story(mine: Leading) -> bool:
        await mine.acquire()
        mine.keep(lost.append)
        time.sleep(12)  # no loop turns here; 10 s without a renewal would be the end
        return mine.held()

    with ServerThread(installed()) as server, leading(server) as mine:
        assert asyncio.run(story(mine))
        assert lost == []
        asyncio.run(mine.release())
        assert not mine.held()
        assert server.store.objects[LEASE]["spec"]["holderIdentity"] == ""


def test_a_main_loop_that_hangs_loses_it() -> None:
    lost: list[str] = []
    told = threading.Event()

    def note(reason: str) -> None:
        lost.append(reason)
        told.set()

    with ServerThread(installed()) as server, leading(server, HANGING_SECONDS + 1) as mine:
        asyncio.run(mine.acquire())
        mine.keep(note)
        eventually(told.is_set, "it is given up")
        assert lost == ["the main loop has not turned for 61 s"]


def test_waiting_for_it_can_be_given_up() -> None:
    async def story(mine: Leading) -> None:
        waiting = asyncio.create_task(mine.acquire())
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.wait({waiting})
        await mine.release()

    with ServerThread(installed()) as server:
        with leading(server) as first:
            asyncio.run(first.acquire())
            first.keep(lambda _: None)
            other = Leading(server.server.connection(), SPACE, f"{NAME}-operator", "other", silence=lambda: 0.0)
            with other:
                asyncio.run(story(other))
                assert not other.held()
        assert server.store.objects[LEASE]["spec"]["holderIdentity"] == "me"
