"""Live connections that a reload has to find too: without a certificate, and of a tunnel that was made anew."""

from pathlib import Path

import pytest

from support.clients import PING, Refused, ask, connect, context
from support.guarded import Guarded
from support.waiting import eventually

CLOSED = 'level=WARN msg="session closed: no longer authorized" '


@pytest.mark.parametrize("before", ["optional", "none"])
def test_without_a_certificate_it_is_cut_once_one_is_required(tmp_path: Path, before: str) -> None:
    with Guarded(tmp_path, {"tls": {"client_auth": before}}) as guarded:
        nobody = context(guarded.files, None)
        with connect(guarded.port, nobody) as anonymous:
            assert ask(anonymous) == PING
            guarded.tunnel.rewrite({"tls": {"client_auth": "required"}})
            guarded.tunnel.hang_up()
            with pytest.raises(Refused):
                ask(anonymous)
            guarded.tunnel.wait_for_line(CLOSED + r".*reason=denied rule=client_auth\b")
        guarded.greet()


def test_with_a_certificate_it_stays_when_one_becomes_required(tmp_path: Path) -> None:
    with (
        Guarded(tmp_path, {"tls": {"client_auth": "optional"}}) as guarded,
        connect(guarded.port, guarded.good) as live,
    ):
        assert ask(live) == PING
        guarded.tunnel.rewrite({"tls": {"client_auth": "required"}})
        guarded.tunnel.hang_up()
        assert ask(live) == PING


def test_a_tunnel_whose_series_were_renamed_judges_those_who_came_before(tmp_path: Path) -> None:
    """Another metrics prefix makes the tunnel anew; what was live drains, and is judged all the same."""
    with Guarded(tmp_path) as guarded:
        bad = guarded.files.write("bad", guarded.authority.client("bad"))
        with connect(guarded.port, context(guarded.files, bad)) as live, connect(guarded.port, guarded.good) as other:
            assert ask(live) == ask(other) == PING
            guarded.tunnel.rewrite({"metrics": {"prefix": "renamed"}})
            guarded.tunnel.hang_up()
            assert ask(live) == ask(other) == PING
            guarded.tunnel.rewrite({"acl": {"deny_cn": ["bad"]}})
            guarded.tunnel.hang_up()
            guarded.tunnel.wait_for_line(CLOSED + r"peer_cn=bad .*reason=denied\b")
            with pytest.raises(Refused):
                ask(live)
            assert ask(other) == PING
        eventually(lambda: guarded.tunnel.value("renamed_active_connections") == 0, "no connection is left")
