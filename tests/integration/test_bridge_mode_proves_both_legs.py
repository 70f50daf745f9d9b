"""Bridge mode: mutual TLS in and mutual TLS out, each leg with its own certificate, CA and demands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.clients import PING, Version, context, plain, refusal, rest, talk
from support.guarded import Guarded
from support.hellos import OverBio, whole
from support.pki import SPIFFE_ID, Authority, Folder
from support.ports import free_port
from support.tunnels import Tunnel, merged
from support.waiting import eventually


@contextmanager
def bridged(folder: Path, over: Mapping[str, Any] | None = None) -> Iterator[tuple[Tunnel, Folder, Guarded]]:
    """(the bridge, the folder of those who call it, the server tunnel behind it): two CAs that share nothing."""
    west = Folder(folder / "west", ca=Authority("West Root"))
    far = Guarded(folder / "east", {"acl": {"allow_cn": ["gateway"]}}, ca=Authority("East Root"))
    out = far.files.write("gateway", far.authority.client("gateway"))
    far.files.client = out
    with far:
        settings: dict[str, Any] = {
            "mode": "bridge",
            "listen": f"127.0.0.1:{free_port()}",
            "target": f"127.0.0.1:{far.port}",
            "tls": {"cert": west.server.cert, "key": west.server.key, "ca": west.ca},
            "outbound": {"cert": out.cert, "key": out.key, "ca": far.files.ca, "server_name": "localhost"},
            "acl": {"allow_cn": ["frontend-service"]},
        }
        with Tunnel(folder, merged(settings, over or {}), name="bridge") as bridge:
            yield bridge, west, far


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_payload_passes_and_the_far_side_sees_the_gateway(tmp_path: Path, version: Version) -> None:
    with bridged(tmp_path) as (bridge, west, far):
        tls = context(west, west.client, version=version)
        assert talk(bridge.port, tls) == PING
        bridge.wait_for_line('msg="listener: accepted connection" peer_cn=frontend-service')
        far.tunnel.wait_for_line('msg="listener: accepted connection" peer_cn=gateway')


def test_the_acl_judges_who_comes_in(tmp_path: Path) -> None:
    with bridged(tmp_path) as (bridge, west, far):
        denied = west.write("denied", west.authority.client("somebody"))
        refusal(bridge.port, context(west, denied))
        bridge.wait_for_line('level=WARN msg="acl: connection denied" peer_cn=somebody')
        foreign = far.files.client  # good on the far side, nobody here
        refusal(bridge.port, context(west, foreign))
        bridge.wait_for_line(r'level=WARN msg="tls handshake failed" .*reason=unknown_ca\b')
        bridge.wait_until_idle()
        assert far.backend.accepted == 0


WRONG = [
    pytest.param({"outbound": {"server_name": "other.example"}}, "name_mismatch", id="another name"),
    pytest.param({"outbound": {"server_uri": SPIFFE_ID}}, "name_mismatch", id="another SPIFFE ID"),
]


@pytest.mark.parametrize(("over", "reason"), WRONG)
def test_a_wrong_server_on_the_outbound_leg_gets_nothing(tmp_path: Path, over: Mapping[str, Any], reason: str) -> None:
    with bridged(tmp_path, over) as (bridge, west, far):
        refusal(bridge.port, context(west, west.client))
        bridge.wait_for_line(rf'level=WARN msg="tls handshake failed" .*reason={reason}\b')
        bridge.wait_until_idle()
        far.tunnel.wait_until_idle()
        assert far.backend.accepted == 0


NO_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # of a good shape, and not to be decrypted


def test_a_client_that_breaks_tls_after_its_handshake_is_not_the_server_that_refuses(tmp_path: Path) -> None:
    with bridged(tmp_path) as (bridge, west, _):
        with plain(bridge.port) as raw:
            client = OverBio(raw, context(west, west.client))
            client.handshake(whole)
            bridge.wait_for_line('msg="dialer: connected"')
            raw.sendall(NO_RECORD)
            assert rest(raw) in ("closed", "reset")
            remote = "{}:{}".format(*raw.getsockname())
        bridge.wait_for_line(f'level=WARN msg="proxy: connection broke" remote={remote} ')
        bridge.wait_for_value(1, "mtlsd_sessions_closed_total", reason="error")
        assert bridge.value("mtlsd_handshake_failures_total", reason="other") == 0
        assert bridge.count("tls handshake failed") == 0


def test_a_server_that_refuses_the_bridge_after_its_handshake_is_named(tmp_path: Path) -> None:
    stranger = Folder(tmp_path / "stranger", ca=Authority("Nobody Knows")).client
    with bridged(tmp_path, {"outbound": {"cert": stranger.cert, "key": stranger.key}}) as (bridge, west, far):
        refusal(bridge.port, context(west, west.client))
        said = (
            rf'msg="tls handshake failed" remote=127.0.0.1:{far.port} reason=other .*the server broke off .*unknown_ca'
        )
        bridge.wait_for_line(said)
        bridge.wait_for_value(1, "mtlsd_handshake_failures_total", reason="other")


def test_the_outbound_leg_defaults_to_the_inbound_set(tmp_path: Path) -> None:
    with Guarded(tmp_path / "far") as far:
        both = far.files.write("both", far.authority.leaf("both", dns=("localhost",), ip=("127.0.0.1",)))
        settings = {
            "mode": "bridge",
            "listen": f"127.0.0.1:{free_port()}",
            "target": f"127.0.0.1:{far.port}",
            "tls": {"cert": both.cert, "key": both.key, "ca": far.files.ca},
        }
        with Tunnel(tmp_path, settings, name="bridge") as bridge:
            assert talk(bridge.port, far.good) == PING
            far.tunnel.wait_for_line("peer_cn=both")


def test_each_leg_is_reloaded(tmp_path: Path) -> None:
    with bridged(tmp_path) as (bridge, west, far):
        other = far.authority.client("gateway-two")
        far.tunnel.rewrite({"acl": {"allow_cn": ["gateway", "gateway-two"]}})
        far.tunnel.hang_up()
        far.files.write("gateway", other)
        bridge.hang_up()
        assert talk(bridge.port, context(west, west.client)) == PING
        eventually(lambda: far.tunnel.count("peer_cn=gateway-two") > 0, "the far side sees the new certificate")
