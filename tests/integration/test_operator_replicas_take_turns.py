"""Two operators, one Lease: whoever loses it writes nothing more, whatever happened to it."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread
from support.operators import LEASE, OperatorProcess, condition, installed, tunnel
from support.waiting import eventually

SECONDS = 90.0


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread(installed("shop")) as thread:
        yield thread


def holder(server: ServerThread) -> str:
    """The pod that holds the Lease."""
    lease = server.call(lambda: server.store.objects.get(LEASE, {}))
    return str(lease.get("spec", {}).get("holderIdentity", "")).partition("_")[0]


def stands(server: ServerThread, name: str) -> bool:
    ref = Ref("mtlstunnels", "shop", name)
    return server.call(lambda: condition(server.store, ref, "CertificatesReady")) == "True/Issued"


def two(server: ServerThread, folder: Path, stack: ExitStack) -> tuple[OperatorProcess, OperatorProcess]:
    """The active one, with a tunnel that stands, and the one that waits."""
    first = stack.enter_context(OperatorProcess(server, folder, "first"))
    eventually(lambda: holder(server) == "first", "the first one leads")
    second = stack.enter_context(OperatorProcess(server, folder, "second"))
    server.call(lambda: server.store.put(tunnel(name="one")))
    eventually(lambda: stands(server, "one"), "a tunnel stands")
    eventually(lambda: second.ask("/readyz") == 200, "the second one is up")
    return first, second


def test_the_one_that_waits_is_healthy_and_does_nothing(server: ServerThread, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = two(server, tmp_path, stack)
        assert (second.ask("/healthz"), second.ask("/readyz")) == (200, 200)
        assert [one.number("mtls_tunnel_operator_leader") for one in (first, second)] == [1, 0]
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
        assert {one.agent for one in server.asked() if "(second)" in one.agent} == set()
        assert holder(server) == "first"


def test_sigterm_hands_over_at_once(server: ServerThread, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, _ = two(server, tmp_path, stack)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        eventually(lambda: holder(server) == "second", "the second one leads", seconds=SECONDS)
        server.call(lambda: server.store.put(tunnel(name="two")))
        eventually(lambda: stands(server, "two"), "and works", seconds=SECONDS)
    assert server.store.objects[LEASE]["spec"]["leaseTransitions"] == 1


def test_a_leader_that_is_killed_is_followed_and_what_it_left_half_done_is_finished(
    server: ServerThread, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, _ = two(server, tmp_path, stack)
        for number in range(10):
            server.call(partial(server.store.put, tunnel(name=f"more-{number}")))
        first.signal(signal.SIGKILL)
        first.wait()
        eventually(lambda: holder(server) == "second", "the second one leads", seconds=SECONDS)
        eventually(lambda: all(stands(server, f"more-{n}") for n in range(10)), "all stand", seconds=SECONDS)


def test_a_leader_that_was_stopped_for_twenty_seconds_writes_nothing_when_it_goes_on(
    server: ServerThread, tmp_path: Path
) -> None:
    """SIGSTOP: the work that waits in its queues is not done behind the back of the one that followed."""
    with ExitStack() as stack:
        first, _ = two(server, tmp_path, stack)
        for number in range(40):  # so that it is stopped in the middle of work
            server.call(partial(server.store.put, tunnel(name=f"more-{number}")))
        eventually(lambda: stands(server, "more-3"), "some are done")
        first.signal(signal.SIGSTOP)
        eventually(lambda: holder(server) == "second", "the second one leads", seconds=SECONDS)
        eventually(lambda: all(stands(server, f"more-{n}") for n in range(40)), "all stand", seconds=SECONDS)
        before = len(server.asked())
        first.signal(signal.SIGCONT)
        assert first.wait(SECONDS) == 1
        late = [one for one in server.asked()[before:] if "(first)" in one.agent and one.verb not in ("get", "list")]
        assert [one for one in late if one.status < 300] == []
        assert holder(server) == "second"
        assert first.matching("lease: lost")


def test_two_that_start_together_agree(server: ServerThread, tmp_path: Path) -> None:
    with OperatorProcess(server, tmp_path, "first") as first, OperatorProcess(server, tmp_path, "second") as second:
        both = (first, second)
        eventually(lambda: all(one.ask("/readyz") == 200 for one in both), "both are up", seconds=SECONDS)
        assert sorted(one.number("mtls_tunnel_operator_leader") for one in both) == [0, 1]
