"""A tunnel that is configured no more drains, and its files still say who may stay: nobody outlives a revocation."""

from pathlib import Path
from typing import Any

import pytest

from support.clients import PING, Refused, ask, connect, context
from support.pki import Authority, Folder
from support.ports import free_port
from support.servers import Echo
from support.tunnels import Settings, Tunnel
from support.waiting import eventually

CUT = r'level=WARN msg="session closed: no longer authorized" peer_cn=bad .*'


def two(files: Folder, target: str) -> Settings:
    """Tunnels *goes* and *stays*; only *goes* has a bundle and CRLs of its own."""
    (files.path / "crls").mkdir()
    files.put("crls/ours.crl", files.authority.crl_pem())
    files.put("bundle.pem", files.authority.pem)

    def one(name: str, **tls: str) -> dict[str, Any]:
        material = {"cert": files.server.cert, "key": files.server.key, "ca": files.ca, **tls}
        return {"name": name, "mode": "server", "listen": f"127.0.0.1:{free_port()}", "target": target, "tls": material}

    crls = str(files.path / "crls")
    return {"tunnels": [one("goes", ca=str(files.path / "bundle.pem"), crl=crls), one("stays")]}


def port(tunnel: dict[str, Any]) -> int:
    return int(tunnel["listen"].rpartition(":")[2])


def test_a_revocation_and_a_removed_ca_cut_those_who_drain(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    ours, theirs = files.authority, Authority("Second Root")
    revoked = ours.client("bad")
    bad = context(files, files.write("revoked", revoked))
    foreign = context(files, files.write("foreign", theirs.client("bad")))
    good = context(files, files.client)
    with Echo() as backend:
        settings = two(files, backend.address)
        files.put("bundle.pem", ours.pem + theirs.pem)
        files.put("crls/theirs.crl", theirs.crl_pem())
        goes, stays = settings["tunnels"]
        with (
            Tunnel(tmp_path, settings) as tunnel,
            connect(port(goes), bad) as first,
            connect(port(goes), foreign) as second,
            connect(port(goes), good) as kept,
        ):
            assert ask(first) == ask(second) == ask(kept) == PING
            tunnel.rewrite({"tunnels": [stays]})
            tunnel.hang_up()
            assert ask(first) == ask(second) == ask(kept) == PING

            files.put("crls/ours.crl", ours.crl_pem(revoked, number=2))
            tunnel.wait_for_line(CUT + r"reason=revoked\b")
            with pytest.raises(Refused):
                ask(first)
            files.put("bundle.pem", ours.pem)
            tunnel.wait_for_line(CUT + r"reason=ca_removed\b")
            with pytest.raises(Refused):
                ask(second)
            assert ask(kept) == PING
            with connect(port(stays), good) as anew:
                assert ask(anew) == PING
        assert tunnel.count("no longer authorized") == 2, tunnel.output


def test_it_drains_by_what_was_read_last_once_its_files_are_gone(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    good = context(files, files.client)
    with Echo() as backend:
        settings = two(files, backend.address)
        goes, stays = settings["tunnels"]
        with Tunnel(tmp_path, settings) as tunnel, connect(port(goes), good) as kept:
            assert ask(kept) == PING
            tunnel.rewrite({"tunnels": [stays]})
            tunnel.hang_up()
            (files.path / "bundle.pem").unlink()
            (files.path / "crls" / "ours.crl").write_bytes(b"not a CRL")
            tunnel.hang_up()
            assert ask(kept) == PING
            assert "ERROR" not in tunnel.output
            kept.close()
            eventually(lambda: tunnel.value("mtlsd_active_connections") == 0, "no connection is left")
