"""A peer that leaves by a bare FIN: passed on as an end and counted as truncated, or as an abort if so configured."""

from pathlib import Path

import pytest

from support.clients import PING, ask, connect
from support.guarded import Guarded
from support.waiting import eventually

CASES = [
    pytest.param(False, "eof", "truncated", id="by default an end"),
    pytest.param(True, "ConnectionResetError", "truncated", id="with require_close_notify an abort"),
]


@pytest.mark.parametrize(("required", "at_backend", "reason"), CASES)
def test_a_bare_fin(tmp_path: Path, required: bool, at_backend: str, reason: str) -> None:
    with Guarded(tmp_path, {"tls": {"require_close_notify": required}}) as guarded:
        with connect(guarded.port, guarded.good) as connection:
            assert ask(connection) == PING
        eventually(lambda: guarded.backend.endings == [at_backend], f"{at_backend}: {guarded.backend.endings}")
        guarded.tunnel.wait_for_value(1, "mtlsd_sessions_closed_total", reason=reason)


@pytest.mark.parametrize("required", [False, True])
def test_a_proper_goodbye_is_an_end(tmp_path: Path, required: bool) -> None:
    with Guarded(tmp_path, {"tls": {"require_close_notify": required}}) as guarded:
        with connect(guarded.port, guarded.good) as connection:
            assert ask(connection) == PING
            connection.unwrap().close()
        eventually(lambda: guarded.backend.endings == ["eof"], f"an end: {guarded.backend.endings}")
        guarded.tunnel.wait_for_value(1, "mtlsd_sessions_closed_total", reason="eof")
