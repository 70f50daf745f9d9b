"""A server name is one label under the domain, or the answer is the alert unrecognized_name and nobody is asked.

The names are written into the ClientHello byte by byte where a TLS library would not send them.
"""

import socket
from pathlib import Path

import pytest

from support.clients import PING, plain, rest
from support.hellos import SLICES, OverBio, Slices, entry, hello_with_names
from support.routed import DOMAIN, HOST, Routed, refused, server_name
from support.routes import Routes

OTHERS = [
    pytest.param("no_sni", "", id="none"),
    pytest.param("bad_sni", DOMAIN, id="the domain itself"),
    pytest.param("bad_sni", f"a.{HOST}.{DOMAIN}", id="two labels"),
    pytest.param("bad_sni", f"{HOST}.connect.tinyscale.org", id="another domain"),
    pytest.param("bad_sni", f"{HOST}.evil{DOMAIN}", id="another domain with the same end"),
    pytest.param("bad_sni", f"{HOST}.{DOMAIN}.evil.example", id="another domain with the same begin"),
    pytest.param("bad_sni", HOST, id="the label alone"),
    pytest.param("no_sni", "127.0.0.1", id="an address"),  # no library sends it: RFC 6066 forbids it
]
RAW = [
    pytest.param(b"127.0.0.1", id="an address, sent all the same"),
    pytest.param(b"' OR 1=1 --." + DOMAIN.encode(), id="SQL"),
    pytest.param(b"x'; DROP TABLE users; --." + DOMAIN.encode(), id="more SQL"),
    pytest.param(b"$1." + DOMAIN.encode(), id="a parameter"),
    pytest.param(b"../../etc/passwd." + DOMAIN.encode(), id="a path"),
    pytest.param("bücher.".encode() + DOMAIN.encode(), id="UTF-8"),
    pytest.param(b"a" * 64 + b"." + DOMAIN.encode(), id="a label of 64"),
    pytest.param(HOST.encode() + b".." + DOMAIN.encode(), id="an empty label"),
    pytest.param(HOST.encode() + b"." + DOMAIN.encode() + b"..", id="two dots at the end"),
    pytest.param(b"*." + DOMAIN.encode(), id="a wildcard"),
    pytest.param(b"%." + DOMAIN.encode(), id="a wildcard of LIKE"),
    pytest.param(HOST.encode() + b"\r\nlevel=INFO." + DOMAIN.encode(), id="a line break"),
]
SAME = [server_name().upper(), f"{server_name()}.", f"Test-Host-01.{DOMAIN}"]


def test_other_names_are_unrecognized_and_nobody_is_asked(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        for case in OTHERS:
            reason, name = map(str, case.values)
            with routed.refuses(refused(reason)):
                before = routed.lookups
                word = routed.attempt(name=name) if name else _without_name(routed)
                assert word.endswith("unrecognized_name"), case.id
                assert routed.lookups == before, case.id


def test_what_no_library_sends_is_unrecognized_too(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        for case in RAW:
            (name,) = case.values
            assert isinstance(name, bytes)
            with routed.refuses(refused("bad_sni")):
                before = routed.lookups
                assert _answer_to(routed, hello_with_names(entry(name))) == _UNRECOGNIZED, case.id
                assert routed.lookups == before, case.id


MALFORMED = [
    pytest.param(entry(b""), id="an empty name"),
    pytest.param(entry(HOST.encode() + b"\0." + DOMAIN.encode()), id="a NUL in the name"),
    pytest.param(entry(server_name().encode()) + entry(b"other." + DOMAIN.encode()), id="two names"),
    pytest.param(entry(server_name().encode(), kind=7), id="an unknown kind of name"),
]


def test_malformed_names_lead_nowhere(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        for case in MALFORMED:
            (names,) = case.values
            assert isinstance(names, bytes)
            with routed.refuses(refused("bad_sni")):
                before = routed.lookups
                assert _answer_to(routed, hello_with_names(names)), case.id
                assert routed.lookups == before, case.id


def test_case_and_a_dot_at_the_end_make_no_other_name(tmp_path: Path, routes: Routes) -> None:
    routed = Routed(tmp_path, routes)
    routed.put_host("MiXeD")
    with routed:
        for name in SAME:
            with plain(routed.port) as raw:
                client = OverBio(raw, routed.good, name)
                client.handshake(lambda flight: (flight,) if flight else ())
                assert client.ask() == PING
        assert routed.lets_in(connect_id="mixed")


@pytest.mark.parametrize("slices", SLICES)
def test_a_hello_in_any_slices_is_led_the_same_way(tmp_path: Path, routes: Routes, slices: Slices) -> None:
    with Routed(tmp_path, routes) as routed:
        tls = routed.good
        tls.set_alpn_protocols([f"{number:0200d}" for number in range(90)])  # over 16 KB
        with plain(routed.port) as raw:
            client = OverBio(raw, tls, server_name())
            client.handshake(slices)
            assert client.ask() == PING


def test_half_a_hello_is_cut_at_the_handshake_timeout(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes, {"proxy": {"handshake_timeout": "1s"}}) as routed, plain(routed.port) as raw:
        raw.sendall(hello_with_names(entry(server_name().encode()))[:-1])
        assert rest(raw) in ("closed", "reset")
        routed.tunnel.wait_for_line(r'msg="tls handshake failed" .*reason=timeout')
        assert routed.lookups == 0


# A record of type alert (21), fatal (2), unrecognized_name (112).
_UNRECOGNIZED = bytes((21, 3, 3, 0, 2, 2, 112))


def _without_name(routed: Routed) -> str:
    return routed.attempt(name="")


def _answer_to(routed: Routed, hello: bytes) -> bytes:
    with plain(routed.port) as raw:
        raw.sendall(hello)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(1 << 16), b""))
