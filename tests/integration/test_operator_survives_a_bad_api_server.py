"""Answers that are wrong, late, lost or refused: the operator goes on, and ends where it would have ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_tunnel_operator.model.kinds import Ref
from support.kube_api import ServerThread, Trouble
from support.operators import OperatorProcess, condition, installed, tunnel
from support.waiting import eventually

TUNNEL = Ref("mtlstunnels", "shop", "orders-db")
NOT_LEASES = "/(?!apis/coordination).*"
SECONDS = 90.0


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread(installed("shop")) as thread:
        yield thread


def stands(server: ServerThread) -> bool:
    return server.call(lambda: condition(server.store, TUNNEL, "CertificatesReady")) == "True/Issued"


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(method="PATCH", path=NOT_LEASES, status=409, times=6, reason="Conflict"),
        Trouble(method="PATCH", path=NOT_LEASES, status=429, times=12, retry_after="1", reason="TooManyRequests"),
        Trouble(method="PATCH", path=NOT_LEASES, status=500, times=12),
        Trouble(method="PATCH", path=NOT_LEASES, status=502, times=6, raw=b"<html>Bad Gateway</html>"),
        Trouble(method="PATCH", path=NOT_LEASES, status=0, times=6),
        Trouble(method="PATCH", path=NOT_LEASES, status=0, times=4, after=True),
        Trouble(method="PATCH", path=".*/secrets/.*", status=0, times=1, hang=True),
        Trouble(method="GET", path=NOT_LEASES, status=503, times=12),
        Trouble(method="GET", path=".*/pods", status=410, times=1, reason="Expired"),
    ],
    ids=["409", "429", "500", "a proxy's 502", "reset", "answers lost", "silence", "reads fail", "410 in a list"],
)
def test_it_ends_where_it_would_have_ended(server: ServerThread, tmp_path: Path, trouble: Trouble) -> None:
    server.call(lambda: server.store.put(tunnel()))
    server.call(lambda: server.server.trouble(trouble))
    with OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: stands(server), "certificates are there", seconds=SECONDS)
        eventually(lambda: trouble.times == 0, "all trouble was met", seconds=SECONDS)
        assert operator.ask("/healthz") == 200
    owned = [ref for ref in server.store.objects if ref.plural == "secrets" and ref.namespace == "shop"]
    assert len(owned) == 2


def test_watches_that_are_cut_or_too_old_lose_nothing(server: ServerThread, tmp_path: Path) -> None:
    """Pain 30: a deletion that falls into the gap of a 410 is found by the next comparison or watch."""
    with OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: server.server.watches >= 7, "watching", seconds=SECONDS)
        server.call(lambda: server.store.put(tunnel()))
        eventually(lambda: stands(server), "certificates are there", seconds=SECONDS)
        for _ in range(3):
            server.call(server.server.cut_watches)
            eventually(lambda: server.server.watches >= 7, "watching again", seconds=SECONDS)
        server.call(server.store.compact)
        server.call(server.server.cut_watches)
        eventually(lambda: server.server.watches >= 7, "watching after 410", seconds=SECONDS)
        server.call(lambda: server.store.put(tunnel(name="later")))
        later = Ref("secrets", "shop", "later-mtls-server")
        eventually(lambda: later in server.store.objects, "events arrive again", seconds=SECONDS)
        assert operator.ask("/healthz") == 200


def test_pain_30_an_api_server_that_went_away_for_a_moment_costs_nothing(server: ServerThread, tmp_path: Path) -> None:
    with OperatorProcess(server, tmp_path) as operator:
        eventually(lambda: server.server.watches >= 7, "watching", seconds=SECONDS)
        server.stop()
        server.start()
        server.call(lambda: server.store.put(tunnel()))
        eventually(lambda: stands(server), "certificates are there", seconds=SECONDS)
        assert operator.alive


def test_an_api_server_that_stays_away_ends_the_process_so_that_it_starts_anew(
    server: ServerThread, tmp_path: Path
) -> None:
    with OperatorProcess(server, tmp_path) as operator:
        eventually(operator.works, "ready", seconds=SECONDS)
        server.stop()
        assert operator.wait(SECONDS) == 1
        assert operator.matching("lease: lost, ending now: not renewed for 10 s")
        server.start()
    with OperatorProcess(server, tmp_path):
        server.call(lambda: server.store.put(tunnel()))
        eventually(lambda: stands(server), "the next one works", seconds=SECONDS)


def test_no_api_server_at_all_is_waited_for(server: ServerThread, tmp_path: Path) -> None:
    server.call(lambda: server.store.put(tunnel()))
    server.stop()
    with OperatorProcess(server, tmp_path) as operator:
        operator.wait_for_line("lease: Unreachable", seconds=SECONDS)
        assert (operator.ask("/healthz"), operator.ask("/readyz")) == (200, 200)
        server.start()
        eventually(lambda: stands(server), "certificates are there", seconds=SECONDS)
