"""Killed between any two writes, or answered by errors, the operator converges; each Secret has had one key."""

import asyncio
import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.errors import ApiError, OperatorError
from support.kube_api import MemoryApi, Trouble
from support.operator_stage import Stage
from support.tunnel_resources import tunnel_raw


class Killed(BaseException):
    """The process is gone."""


def dies_before_write(api: MemoryApi, number: int) -> None:
    """The process ends when it is about to make that write."""
    writes = itertools.count()

    def may_write() -> bool:
        if next(writes) == number:
            raise Killed
        return True

    api.may_write = may_write


def keys_stored(stage: Stage) -> dict[str, set[str]]:
    """Every key that each Secret ever held."""
    found: dict[str, set[str]] = {}
    for moment in stage.store.history:
        if moment.object["kind"] == "Secret":
            found.setdefault(moment.object["metadata"]["name"], set()).add(moment.object["data"]["tls.key"])
    return found


@pytest.mark.parametrize("number", range(8))
def test_killed_before_any_write_the_next_process_goes_on(number: int) -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    dies_before_write(stage.api, number)
    try:
        asyncio.run(stage.look())
    except Killed:
        stage.restart()
        asyncio.run(stage.look())
    assert {name: len(keys) for name, keys in keys_stored(stage).items()} == {
        "orders-db-mtls-server": 1,
        "orders-db-mtls-client-api": 1,
    }
    with stage.quiet():
        asyncio.run(stage.look())


def test_a_process_that_sees_late_issues_nothing_twice() -> None:
    """The watch of the new process has not told of the Secrets of the one before: the API server is asked."""
    stage = Stage()
    key = stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    before = stage.secret("orders-db-mtls-server")
    stage.restart()
    stage.see()
    for ref in [ref for ref in stage.view.objects if ref.plural == "secrets"]:
        stage.view.drop(ref)
    asyncio.run(stage.reconciler.tunnel(key))
    assert stage.secret("orders-db-mtls-server") == before


def test_an_answer_that_is_lost_is_no_reason_for_another_key() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    stage.api.trouble(Trouble(method="PATCH", path=".*/secrets/.*", status=0, times=3, after=True))
    settle(stage)
    assert [len(keys) for keys in keys_stored(stage).values()] == [1, 1]


@pytest.mark.parametrize("status", [409, 410, 429, 500, 503, 0])
@pytest.mark.parametrize("path", [".*/secrets/.*", ".*/configmaps/.*", ".*/services/.*", ".*/status"])
def test_any_error_of_the_api_server_is_overcome(status: int, path: str) -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    stage.api.trouble(Trouble(method="PATCH", path=path, status=status, times=5))
    settle(stage)
    assert stage.condition("Accepted")[1] == "Accepted"
    assert stage.condition("CertificatesReady")[1] == "Issued"
    assert {len(keys) for keys in keys_stored(stage).values()} == {1}


def test_what_cannot_be_written_is_said_with_what_to_do() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    stage.api.trouble(Trouble(method="PATCH", path=".*/secrets/.*", status=403, times=9, reason="Forbidden"))
    with pytest.raises(ApiError, match="403"):
        asyncio.run(stage.look())
    status, reason, message = stage.condition("CertificatesReady")
    assert (status, reason) == ("False", "RenewalFailing")
    assert "kubectl auth can-i" in message


def test_a_renewal_that_is_refused_leaves_the_certificate_in_place() -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    asyncio.run(stage.look())
    before = stage.secret("orders-db-mtls-server")
    stage.clock.now += 80_000  # beyond two thirds of a day
    stage.api.trouble(Trouble(method="PATCH", path=".*/secrets/.*", status=500, times=99))
    with pytest.raises(ApiError):
        asyncio.run(stage.look())
    assert stage.secret("orders-db-mtls-server") == before
    assert stage.condition("CertificatesReady")[:2] == ("True", "RenewalFailing")


troubles = st.lists(
    st.builds(
        Trouble,
        method=st.sampled_from(["PATCH", "GET", ".*"]),
        path=st.sampled_from([".*", ".*/secrets/.*", ".*/configmaps/.*", ".*/status"]),
        status=st.sampled_from([0, 409, 410, 429, 500, 503]),
        times=st.integers(1, 4),
        after=st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(troubles, st.lists(st.integers(0, 8), max_size=3))
def test_whatever_happens_each_secret_has_one_key_in_the_end(ordered: list[Trouble], deaths: list[int]) -> None:
    stage = Stage()
    stage.tunnel(tunnel_raw())
    stage.api.trouble(*ordered)
    for number in deaths:
        dies_before_write(stage.api, number)
        with contextlib.suppress(Killed, OperatorError):
            asyncio.run(stage.look())
        left: list[Any] = stage.api.troubles
        stage.restart()
        stage.api.trouble(*left)
    settle(stage)
    assert {len(keys) for keys in keys_stored(stage).values()} == {1}
    with stage.quiet():
        asyncio.run(stage.look())


def settle(stage: Stage) -> None:
    """The queue: again, until it works."""
    for _ in range(30):
        try:
            asyncio.run(stage.look())
        except OperatorError:
            continue
        return
    raise AssertionError("does not settle")
