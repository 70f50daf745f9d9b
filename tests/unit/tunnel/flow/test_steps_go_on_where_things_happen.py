"""A coroutine without a task: it goes on inside the call that it waited for, can be cancelled, and knows futures."""

import asyncio

import pytest

from mtls_tunnel.flow.steps import Later, Steps


def test_it_runs_to_its_first_wait_and_goes_on_inside_finish() -> None:
    said: list[str] = []
    first, second = Later(), Later()

    async def story() -> None:
        said.append("begin")
        await first
        said.append("middle")
        await second
        said.append("end")

    Steps(story()).go()
    said.append("waiting")
    first.finish()
    first.finish()
    said.append("between")
    second.finish()
    assert said == ["begin", "waiting", "middle", "between", "end"]


def test_what_is_over_already_is_not_waited_for() -> None:
    over = Later()
    over.finish()
    said: list[str] = []

    async def story() -> None:
        await over
        said.append("end")

    Steps(story()).go()
    assert said == ["end"]


def test_an_error_is_raised_where_it_is_awaited() -> None:
    later = Later()
    caught: list[BaseException] = []

    async def story() -> None:
        try:
            await later
        except ValueError as error:
            caught.append(error)

    Steps(story()).go()
    wrong = ValueError("wrong")
    later.finish(wrong)
    later.finish(KeyError("too late"))
    assert caught == [wrong]


def test_cancelling_raises_where_it_waits_and_what_it_waited_for_is_forgotten() -> None:
    later, farewell = Later(), Later()
    said: list[str] = []

    async def story() -> None:
        try:
            await later
        except asyncio.CancelledError as cancelled:
            said.append(str(cancelled.args[0]))
            await farewell
            said.append("end")

    steps = Steps(story())
    steps.go()
    steps.cancel("drain")
    later.finish()
    assert said == ["drain"]
    farewell.finish()
    assert said == ["drain", "end"]
    steps.cancel("again")


def test_it_may_await_a_task() -> None:
    said: list[str] = []

    async def word() -> str:
        await asyncio.sleep(0)
        return "from a task"

    async def main() -> None:
        over = asyncio.get_running_loop().create_future()

        async def story() -> None:
            said.append(await asyncio.get_running_loop().create_task(word()))
            over.set_result(None)

        Steps(story()).go()
        await over

    asyncio.run(main())
    assert said == ["from a task"]


def test_what_it_raises_is_raised_to_whoever_made_it_go_on() -> None:
    async def story() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        Steps(story()).go()


def test_any_number_may_wait_for_one_future() -> None:
    """Two connections that ask the same question share one lookup."""
    said: list[str] = []

    async def main() -> None:
        shared = asyncio.get_running_loop().create_task(asyncio.sleep(0, "answer"))

        async def story() -> None:
            said.append(await shared)

        for _ in range(3):
            Steps(story()).go()
        said.append(await shared)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert said == ["answer"] * 4
