"""The first bytes of a connection: one name, none, or a refusal; the same however they are cut."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.tls.sni import Hello, client_hello, still_needed


def vector(size: int, octets: bytes) -> bytes:
    return len(octets).to_bytes(size, "big") + octets


def name_entry(name: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + vector(2, name)


def server_name(*entries: bytes) -> bytes:
    return b"\0\0" + vector(2, vector(2, b"".join(entries)))


def hello(*extensions: bytes, padding: int = 0) -> bytes:
    pad = (21).to_bytes(2, "big") + vector(2, bytes(padding)) if padding else b""
    body = b"\x03\x03" + bytes(32) + vector(1, b"s" * 32) + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\x01" + vector(3, body + vector(2, b"".join(extensions) + pad))


def records(message: bytes, *sizes: int) -> bytes:
    out, at = b"", 0
    for size in [*sizes, 16384, 16384, 16384, 16384, 16384]:
        if at < len(message):
            out += b"\x16\x03\x01" + vector(2, message[at : at + size])
            at += size
    return out


def real_hello(name: bytes) -> bytes:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    connection.set_tlsext_host_name(name)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


WHOLE = records(hello(server_name(name_entry(b"Web.Example.org"))))


def test_what_openssl_sends_is_read() -> None:
    assert client_hello(real_hello(b"Web.Example.org")) == Hello("web.example.org")


def test_one_dot_at_the_end_is_dropped() -> None:
    assert client_hello(records(hello(server_name(name_entry(b"a.Example."))))) == Hello("a.example")


@given(st.lists(st.integers(1, 40), max_size=12), st.data())
def test_waiting_for_what_is_still_needed_never_waits_for_more_than_comes(
    sizes: list[int], data: st.DataObject
) -> None:
    octets = records(hello(server_name(name_entry(b"a.example"))), *sizes)
    have = data.draw(st.integers(0, len(octets) - 1))
    while client_hello(octets[:have]) is None:
        more = still_needed(octets[:have])
        assert more > 0
        have += more
        assert have <= len(octets)


def test_a_hello_without_a_name_or_without_extensions_names_nobody() -> None:
    assert client_hello(records(hello())) == Hello(None)
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    assert client_hello(records(b"\x01" + vector(3, body))) == Hello(None)


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 400))
def test_any_cut_into_records_and_any_prefix_gives_the_same_answer(sizes: list[int], end: int) -> None:
    octets = records(hello(server_name(name_entry(b"a.example"))), *sizes)
    assert client_hello(octets + b"and what follows") == Hello("a.example")
    assert client_hello(octets[: min(end, len(octets) - 1)]) is None


@given(st.integers(1, 48000))
def test_padding_and_size_do_not_matter(padding: int) -> None:
    assert client_hello(records(hello(server_name(name_entry(b"a.example")), padding=padding))) == Hello("a.example")


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([server_name(name_entry(b""))], id="empty"),
        pytest.param([server_name()], id="no name"),
        pytest.param([server_name(name_entry(b"a.b.."))], id="two trailing dots"),
        pytest.param([server_name(name_entry(b"."))], id="only a dot"),
        pytest.param([server_name(name_entry(b"a..b"))], id="empty label"),
        pytest.param([server_name(name_entry(b"10.0.0.1"))], id="address"),
        pytest.param([server_name(name_entry(b"::1"))], id="IPv6 address"),
        pytest.param([server_name(name_entry(b"a\0b.example"))], id="NUL"),
        pytest.param([server_name(name_entry("ä.example".encode()))], id="UTF-8"),
        pytest.param([server_name(name_entry(b"a" * 64 + b".example"))], id="long label"),
        pytest.param([server_name(name_entry(b".".join([b"a" * 63] * 5)))], id="long name"),
        pytest.param([server_name(name_entry(b"a"), name_entry(b"b"))], id="two names"),
        pytest.param([server_name(name_entry(b"a", kind=1))], id="another kind"),
        pytest.param([server_name(name_entry(b"a")), server_name(name_entry(b"b"))], id="two extensions"),
        pytest.param([b"\0\0" + vector(2, vector(2, name_entry(b"a")) + b"x")], id="bytes behind the list"),
    ],
)
def test_a_name_that_is_none_is_refused_and_never_guessed(extensions: list[bytes]) -> None:
    with pytest.raises(PeerRejected) as caught:
        client_hello(records(hello(*extensions)))
    assert caught.value.reason == "bad_sni"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
        pytest.param(b"\x16\x02\x00", id="SSL 2"),
        pytest.param(b"\x80\x2e\x01\x00\x02", id="SSLv2 hello"),
        pytest.param(b"\x17\x03\x03\x00\x10", id="another record type"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="empty record"),
        pytest.param(b"\x16\x03\x01\xff\xff", id="oversized record"),
        pytest.param(b"\x16\x03\x01\x00\x01\x02", id="another message"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="16 MB"),
        pytest.param(records(b"\x01" + vector(3, b"\x03\x03")), id="cut inside"),
        pytest.param(records(hello()[:-2] + b"\x00\x09"), id="length beyond the end"),
    ],
)
def test_what_cannot_become_a_hello_is_refused_at_once(octets: bytes) -> None:
    with pytest.raises(PeerRejected) as caught:
        client_hello(octets)
    assert caught.value.reason == "not_tls"


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_else(octets: bytes) -> None:
    for candidate in (octets, WHOLE[: len(octets) % len(WHOLE)] + octets):
        with contextlib.suppress(PeerRejected):
            found = client_hello(candidate)
            assert found is None or found.server_name is None or found.server_name == found.server_name.lower()
