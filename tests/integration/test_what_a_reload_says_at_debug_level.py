"""mtlsd's debug lines of a reload, and what `reauthorize: log` and `off` make of a connection that may go no longer."""

from pathlib import Path

import pytest

from support.clients import PING, ask, connect
from support.guarded import Guarded
from support.tunnels import WATCHED


def test_a_changed_file_is_named_before_the_reload(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"logging": {"level": "debug"}}) as guarded:
        before = len(guarded.tunnel.lines)
        guarded.files.write("server", guarded.authority.server())
        guarded.tunnel.wait_for_line(f"level=INFO {WATCHED}", after=before)
        changed = r'level=DEBUG msg="certstore: file changed, scheduling reload" file=\S*server(-key)?\.pem'
        guarded.tunnel.wait_for_line(changed, after=before)


@pytest.mark.parametrize("choice", ["log", "off"])
def test_a_connection_is_kept_where_the_configuration_says_so(tmp_path: Path, choice: str) -> None:
    line = "session kept: no longer authorized.*peer_cn=frontend-service .*reason=denied"
    acl = {"acl": {"reauthorize": choice}}
    with Guarded(tmp_path, acl) as guarded, connect(guarded.port, guarded.good) as connection:
        assert ask(connection) == PING
        guarded.tunnel.rewrite({"acl": {"deny_cn": ["frontend-service"]}})
        guarded.tunnel.hang_up()
        if choice == "log":
            guarded.tunnel.wait_for_line(line)
        assert ask(connection) == PING
        assert guarded.tunnel.count(line) == (choice == "log")
