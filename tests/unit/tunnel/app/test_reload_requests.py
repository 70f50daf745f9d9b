"""Reasons to reload are merged while one is being served."""

import asyncio

from mtls_tunnel.app.watching import Request, Requests


def test_a_signal_wakes_whoever_waits() -> None:
    async def story() -> Request:
        requests = Requests()
        waiting = asyncio.create_task(requests.next())
        requests.signal()
        return await waiting

    assert asyncio.run(story()) == Request(frozenset(), True)


def test_two_signals_in_a_row_are_one_request() -> None:
    async def story() -> bool:
        requests = Requests()
        requests.signal()
        requests.signal()
        await requests.next()
        again = asyncio.create_task(requests.next())
        await asyncio.wait({again}, timeout=0)
        merged = not again.done()
        again.cancel()
        return merged

    assert asyncio.run(story())


def test_what_nobody_asked_for_comes_after_the_retry_time() -> None:
    async def story() -> Request:
        return await Requests().next(retry_seconds=0)

    assert asyncio.run(story()).unasked


def test_a_changed_certificate_leaves_the_configuration_unread() -> None:
    assert not Request(frozenset({"tls.crt"}), False).concerns(["tunnel.yaml"])


def test_a_changed_configuration_a_signal_and_a_first_look_read_it() -> None:
    for request in (
        Request(frozenset({"tunnel.yaml", "tls.crt"}), False),
        Request(frozenset({"tls.crt"}), True),
        Request(frozenset(), False),
    ):
        assert request.concerns(["tunnel.yaml"])
