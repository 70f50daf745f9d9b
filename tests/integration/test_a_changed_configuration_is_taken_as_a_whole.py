"""SIGHUP or a changed file re-reads everything: tunnels come, go and move; a broken file changes nothing."""

import signal
from pathlib import Path
from typing import Any

import pytest

from support.clients import PING, Refused, ask, connect, context, plain, read_all, refusal, talk
from support.guarded import Guarded, server_settings
from support.pki import Folder
from support.ports import free_port, listening
from support.scrape import get
from support.servers import Echo
from support.tunnels import Tunnel, write_settings
from support.waiting import eventually

FAILED = 'level=ERROR msg="config: reload failed, keeping the configuration in use" .*error='


def one(name: str, port: int, target: str) -> dict[str, Any]:
    return {"name": name, "mode": "server", "listen": f"127.0.0.1:{port}", "target": target}


def test_tunnels_come_and_go_without_touching_the_others(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    stays, goes, comes = free_port(), free_port(), free_port()
    shared = {"tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca}}
    with Echo() as backend:
        first = [one("stays", stays, backend.address), one("goes", goes, backend.address)]
        with Tunnel(tmp_path, {**shared, "tunnels": first}) as tunnel:
            tls = context(files, files.client)
            with connect(stays, tls) as kept, connect(goes, tls) as drained:
                assert ask(kept) == ask(drained) == PING
                tunnel.rewrite({"tunnels": [first[0], one("comes", comes, backend.address)]})
                tunnel.signal(signal.SIGHUP)
                eventually(lambda: listening(comes) and not listening(goes), "one has come, one has gone")
                assert talk(comes, tls) == PING
                assert ask(kept) == ask(drained) == PING
            eventually(lambda: get(tunnel.admin, "/readyz").status == 200, "ready")
            assert {label["tunnel"] for label in tunnel.samples().labels("mtlsd_active_connections")} >= {
                "stays",
                "comes",
            }


def test_a_changed_listen_is_bound_anew_and_connections_go_on(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        old, new = guarded.port, free_port()
        with connect(old, guarded.good) as kept:
            assert ask(kept) == PING
            guarded.tunnel.rewrite({"listen": f"127.0.0.1:{new}"})
            eventually(lambda: listening(new) and not listening(old), "it has moved")
            assert talk(new, guarded.good) == PING
            assert ask(kept) == PING


def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.greet()
        guarded.tunnel.rewrite({"acl": {"allow_cn": ["nobody"]}})
        eventually(lambda: denied(guarded), "the new rule is in force")
        guarded.tunnel.rewrite({"acl": {"allow_cn": ["frontend-service"]}})
        eventually(lambda: not denied(guarded), "the newer rule is in force")


def denied(guarded: Guarded) -> bool:
    try:
        return talk(guarded.port, guarded.good) != PING
    except Refused:
        return True


def test_target_limits_and_log_level_change_too(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded, Echo() as other:
        guarded.greet()
        guarded.tunnel.rewrite(
            {"target": other.address, "logging": {"level": "debug"}, "proxy": {"handshake_timeout": "300ms"}}
        )
        guarded.tunnel.hang_up()
        guarded.greet()
        eventually(lambda: other.accepted == 1, "the new target is dialled")
        with plain(guarded.port) as silent:
            assert read_all(silent) == b""
        guarded.tunnel.wait_for_line("reason=timeout")


BROKEN = [
    pytest.param("mode: [\n", id="no YAML"),
    pytest.param("", id="empty"),
    pytest.param("mode: server\nlisten: 127.0.0.1:1\n", id="half of it"),
    pytest.param("\t\x00", id="garbage"),
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_does_not_parse_changes_nothing(tmp_path: Path, text: str) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.greet()
        with connect(guarded.port, guarded.good) as kept:
            guarded.tunnel.file.write_text(text)
            guarded.tunnel.signal(signal.SIGHUP)
            guarded.tunnel.wait_for_line(FAILED)
            assert ask(kept) == PING
            guarded.greet()
        assert guarded.tunnel.value("mtlsd_reloads_total", result="failed") >= 1
        guarded.tunnel.rewrite({"acl": {"deny_cn": ["frontend-service"]}})
        guarded.tunnel.hang_up()
        refusal(guarded.port, guarded.good)
        guarded.tunnel.wait_for_line("acl: connection denied.*rule=deny_cn")


def test_the_admin_address_may_be_widened_on_its_own_port(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        tunnel = guarded.tunnel
        wide = {"enabled": True, "listen": f"0.0.0.0:{tunnel.admin}"}
        tunnel.rewrite({"health": wide, "metrics": wide})
        tunnel.hang_up()
        assert get(tunnel.admin, "/readyz").status == 200
        assert f'"health server listening" addr=0.0.0.0:{tunnel.admin}' in tunnel.output


def test_an_admin_port_that_cannot_be_had_leaves_the_one_before(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        tunnel = guarded.tunnel
        elsewhere = {"enabled": True, "listen": f"192.0.2.77:{tunnel.admin}"}
        tunnel.rewrite({"health": elsewhere, "metrics": elsewhere})
        tunnel.wait_for_line(FAILED + r".*this machine has no such address")
        assert get(tunnel.admin, "/readyz").status == 200


def test_if_one_port_cannot_be_had_nothing_changes(tmp_path: Path) -> None:
    """A new tunnel on a port in use: the tunnel beside it, good by itself, does not come either."""
    with Guarded(tmp_path) as guarded, Echo() as squatter:
        fine = free_port()
        settings = server_settings(guarded.files, guarded.port, guarded.backend.address)
        shared = {key: settings[key] for key in ("tls",)}
        tunnels = [
            one("old", guarded.port, guarded.backend.address),
            one("fine", fine, guarded.backend.address),
            one("clash", squatter.port, guarded.backend.address),
        ]
        kept = {key: guarded.tunnel.settings[key] for key in ("health", "metrics")}
        write_settings(guarded.tunnel.file, {**shared, **kept, "tunnels": tunnels})
        guarded.tunnel.signal(signal.SIGHUP)
        guarded.tunnel.wait_for_line(FAILED + f".*{squatter.port}")
        assert not listening(fine)
        guarded.greet()
