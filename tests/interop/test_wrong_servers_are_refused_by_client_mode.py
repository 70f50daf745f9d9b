"""`openssl s_server` behind client mode: a server that is not the right one gets no byte of payload.

It is refused inside the handshake on TLS 1.2 and 1.3, so the server sees a handshake that failed: it is
told the reason by an alert, and it never answers a request.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_tunnel.trust.pki import Credential
from support.clients import PING, plain, rest
from support.guarded import client_settings
from support.pki import SPIFFE_ID, Authority, Folder
from support.ports import free_port
from support.processes import Child
from support.tools import need
from support.tunnels import Tunnel
from support.waiting import eventually

MARK = b"payload-that-must-not-leave\n"
# A name is judged by a verify callback, which can refuse but not choose the alert's number.
REFUSED_BY_NAME = "bad certificate|internal error"
OTHER_ID = "spiffe://example.org/somebody-else"


@contextmanager
def s_server(files: Folder, credential: Credential, version: str) -> Iterator[tuple[Child, int]]:
    """A TLS server that wants a client certificate and prints what it reads."""
    openssl, port = need("openssl"), free_port()
    written = files.write("s-server", credential)
    argv = [
        *(openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", written.cert, "-key", written.key),
        *("-cert_chain", written.cert, "-CAfile", files.ca, "-Verify", "3", f"-tls{version.replace('.', '_')}"),
    ]
    with Child(argv) as server:
        server.wait_for_line("^ACCEPT")
        yield server, port


def wrong_servers() -> list[Any]:
    """(what is presented by whom, settings of the client, reason, the alert that the server hears)"""
    return [
        pytest.param("other-name", {}, "name_mismatch", REFUSED_BY_NAME, id="another name"),
        pytest.param("foreign", {}, "unknown_ca", "unknown ca", id="the right name from a foreign CA"),
        pytest.param("expired", {}, "expired", "certificate expired", id="expired"),
        pytest.param("early", {}, "not_yet_valid", "bad certificate", id="not yet valid"),
        pytest.param("cn-only", {}, "name_mismatch", REFUSED_BY_NAME, id="the name only in the subject"),
        pytest.param("client", {}, "wrong_purpose", "unsupported certificate", id="a client's certificate"),
        pytest.param(
            "other-ip", {"tls": {"server_name": "127.0.0.1"}}, "name_mismatch", REFUSED_BY_NAME, id="another IP SAN"
        ),
        pytest.param(
            "other-id", {"tls": {"server_uri": SPIFFE_ID}}, "name_mismatch", REFUSED_BY_NAME, id="another SPIFFE ID"
        ),
        pytest.param(
            "no-id",
            {"tls": {"server_uri": SPIFFE_ID}},
            "name_mismatch",
            REFUSED_BY_NAME,
            id="a DNS name, no SPIFFE ID",
        ),
    ]


def presented(authority: Authority, kind: str) -> Credential:
    match kind:
        case "other-name":
            return authority.leaf("localhost", dns=("other.example",), ip=("127.0.0.1",))
        case "foreign":
            return Authority("Test Root").server()
        case "expired":
            return authority.expired("localhost")
        case "early":
            return authority.not_yet_valid("localhost")
        case "cn-only":
            return authority.cn_only("localhost")
        case "client":
            return authority.leaf("localhost", dns=("localhost",), server=False)
        case "other-ip":
            return authority.leaf("127.0.0.1", dns=("127.0.0.1",), ip=("127.0.0.2",))
        case "other-id":
            return authority.server(uri=(OTHER_ID,))
        case _:
            return authority.server()


@pytest.mark.parametrize("version", [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")])
@pytest.mark.parametrize(("kind", "over", "reason", "alert"), wrong_servers())
def test_a_wrong_server_is_refused_inside_the_handshake(
    tmp_path: Path, kind: str, over: Mapping[str, Any], reason: str, alert: str, version: str
) -> None:
    files = Folder(tmp_path / "pki")
    with s_server(files, presented(files.authority, kind), version) as (server, port):
        with Tunnel(tmp_path, client_settings(files, free_port(), f"127.0.0.1:{port}", over)) as tunnel:
            with plain(tunnel.port) as caller:
                caller.sendall(MARK)
                assert rest(caller) in ("closed", "reset")
            tunnel.wait_for_line(rf'level=WARN msg="tls handshake failed" .*reason={reason}\b')
            tunnel.wait_for_value(1, "mtlsd_handshake_failures_total", reason=reason)
            tunnel.wait_until_idle()
            assert tunnel.count("dialer: connected") == 0
        eventually(lambda: any("ERROR" in line for line in server.errors), "the server saw the handshake fail")
        everything = "\n".join([*server.lines, *server.errors])
        assert MARK.decode().strip() not in everything
        assert "CIPHER is" not in everything  # s_server prints it when a handshake has succeeded
        assert re.search(f"alert ({alert})", everything)


def test_the_right_server_gets_the_payload(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    with s_server(files, files.authority.server(uri=(SPIFFE_ID,)), "1.3") as (server, port):
        settings = client_settings(files, free_port(), f"127.0.0.1:{port}", {"tls": {"server_uri": SPIFFE_ID}})
        with Tunnel(tmp_path, settings) as tunnel, plain(tunnel.port) as caller:
            caller.sendall(PING)
            server.wait_for_line("^are you there")
            tunnel.wait_for_line(r'level=INFO msg="dialer: connected" server=')


@pytest.mark.parametrize("version", [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")])
def test_a_server_that_the_acl_denies_gets_nothing(tmp_path: Path, version: str) -> None:
    """In client mode the rules judge the server, beside its name."""
    files = Folder(tmp_path / "pki")
    with s_server(files, files.authority.server(), version) as (server, port):
        over = {"acl": {"allow_org": ["Somebody Else"]}}
        with Tunnel(tmp_path, client_settings(files, free_port(), f"127.0.0.1:{port}", over)) as tunnel:
            with plain(tunnel.port) as caller:
                caller.sendall(MARK)
                assert rest(caller) in ("closed", "reset")
            tunnel.wait_for_line(r'level=WARN msg="acl: connection denied" peer_cn=localhost .*rule=default\b')
            tunnel.wait_for_value(1, "mtlsd_acl_decisions_total", result="deny")
        assert MARK.decode().strip() not in "\n".join(server.lines)


def test_a_revoked_server_gets_nothing(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    revoked = files.authority.server()
    crl = files.put("ca.crl", files.authority.crl_pem(revoked))
    with s_server(files, revoked, "1.3") as (server, port):
        over = {"tls": {"crl": crl}}
        with Tunnel(tmp_path, client_settings(files, free_port(), f"127.0.0.1:{port}", over)) as tunnel:
            with plain(tunnel.port) as caller:
                caller.sendall(MARK)
                assert rest(caller) in ("closed", "reset")
            tunnel.wait_for_line(r'level=WARN msg="tls handshake failed" .*reason=revoked\b')
        eventually(lambda: any("alert certificate revoked" in line for line in server.errors), "the server was told")
        assert MARK.decode().strip() not in "\n".join(server.lines)
