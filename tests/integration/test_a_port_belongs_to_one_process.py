"""A second process is refused a port that the first has, whatever that one has been through."""

from pathlib import Path

import pytest

from support.clients import PING, context, talk
from support.guarded import Guarded, server_settings
from support.pki import Folder
from support.ports import free_port
from support.servers import Echo
from support.tunnels import Tunnel
from support.waiting import eventually


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_a_second_process_on_the_same_port_ends_with_1(tmp_path: Path, host: str) -> None:
    with Guarded(tmp_path) as guarded:
        (tmp_path / "second").mkdir()
        settings = server_settings(guarded.files, guarded.port, guarded.backend.address)
        settings["listen"] = f"{host}:{guarded.port}"
        with Tunnel(tmp_path / "second", settings, wait=False) as second:
            assert second.wait() == 1
        (said,) = second.errors
        assert said == f"error: cannot listen on {host}:{guarded.port}: the port is in use by another program"
        guarded.greet()


def test_a_port_that_was_moved_at_a_reload_is_refused_too(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.tunnel.rewrite({"listen": f"0.0.0.0:{guarded.port}"})
        guarded.tunnel.hang_up()
        (tmp_path / "second").mkdir()
        settings = server_settings(guarded.files, guarded.port, guarded.backend.address)
        with Tunnel(tmp_path / "second", settings, wait=False) as second:
            assert second.wait() == 1


def test_a_reload_does_not_take_the_port_of_another_process(tmp_path: Path) -> None:
    files, port, other = Folder(tmp_path / "pki"), free_port(), free_port()
    tls = context(files, files.client)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Echo() as mine, Echo() as theirs:
        first = Tunnel(tmp_path / "one", server_settings(files, port, mine.address))
        with first, Tunnel(tmp_path / "two", server_settings(files, other, theirs.address)) as second:
            second.rewrite({"listen": f"127.0.0.1:{port}"})
            second.wait_for_line(r"reload failed.*the port is in use by another program")
            assert talk(port, tls) == talk(other, tls) == PING
            eventually(lambda: (mine.accepted, theirs.accepted) == (1, 1), "each has served its own")
