"""HOST:PORT in all its forms, and which two of them cannot be listened on at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config import addresses
from mtls_tunnel.config.schema import Address
from support.configs import HOSTS


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8443", Address("0.0.0.0", 8443)),
        (":8443", Address("", 8443)),
        ("[::1]:8443", Address("::1", 8443)),
        ("[::]:8443", Address("::", 8443)),
        ("[fe80::1%eth0]:443", Address("fe80::1%eth0", 443)),
        ("localhost:0", Address("localhost", 0)),
        ("db_1.internal.:5432", Address("db_1.internal.", 5432)),
        ("10.0.0.1:080", Address("10.0.0.1", 80)),
    ],
)
def test_the_forms_of_a_listen_address_are_read(text: str, address: Address) -> None:
    assert addresses.parse(text, listening=True) == address


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("8443", "is a port alone - write its host too, such as 127.0.0.1:8443", id="only a port"),
        pytest.param("db", "has no port", id="no colon"),
        pytest.param("", "has no port", id="nothing"),
        pytest.param("host:", "has no usable port", id="empty port"),
        pytest.param("host:https", "has no usable port", id="service name"),
        pytest.param("host:65536", "has an impossible port", id="port too big"),
        pytest.param("host:-1", "has no usable port", id="negative port"),
        pytest.param("host:\u0661", "has no usable port", id="Arabic digit"),
        pytest.param("host:" + "1" * 5000, "has no usable port", id="endless port"),
        pytest.param("::1:8443", "more than one colon", id="IPv6 without brackets"),
        pytest.param("[::1]", "is no address", id="brackets without port"),
        pytest.param("[]:1", "is no address", id="empty brackets"),
        pytest.param("[localhost]:1", "no IPv6 address between its brackets", id="a name in brackets"),
        pytest.param("[::1%]:1", "no IPv6 address between its brackets", id="empty zone"),
        pytest.param("[::1%a b]:1", "unusable zone", id="zone with a space"),
        pytest.param("https://db:1", "is a URL", id="URL"),
        pytest.param("a b:1", "no possible name", id="space"),
        pytest.param("-a:1", "no possible name", id="dash in front"),
        pytest.param("a..b:1", "no possible name", id="empty label"),
        pytest.param("*:1", "no possible name", id="star"),
        pytest.param("a" * 64 + ":1", "no possible name", id="label of 64"),
        pytest.param("b\u00fccher:1", "beyond ASCII", id="umlaut"),
        pytest.param("22:22", "neither an IPv4 address nor a name", id="number for getaddrinfo"),
        pytest.param("010.0.0.1:1", "neither an IPv4 address nor a name", id="octal"),
        pytest.param("256.1.1.1:1", "neither an IPv4 address nor a name", id="256"),
        pytest.param("10.1:1", "neither an IPv4 address nor a name", id="two numbers"),
        pytest.param("0x7f000001:1", "neither an IPv4 address nor a name", id="hex"),
        pytest.param("1.2.3.4.:1", "neither an IPv4 address nor a name", id="IPv4 with a final dot"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        addresses.parse(text, listening=True)


@pytest.mark.parametrize(
    ("text", "part"), [(":8080", "has no host"), ("127.0.0.1:0", "a number from 1 to 65535"), ("[::1]:0", "from 1")]
)
def test_a_target_needs_a_host_and_a_port(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        addresses.parse(text, listening=False)


@given(HOSTS, st.integers(1, 65535))
def test_every_address_is_read_back_as_it_is_written(host: str, port: int) -> None:
    address = Address(host, port)

    assert addresses.parse(str(address), listening=False) == address


@given(st.text(max_size=20) | st.text("[]:.%0123456789abx*", max_size=20), st.booleans())
def test_a_text_is_an_address_or_a_value_error(text: str, listening: bool) -> None:
    try:
        address = addresses.parse(text, listening=listening)
    except ValueError:
        return
    assert addresses.parse(str(address), listening=listening) == address


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        pytest.param(":80", ":80", True, id="everything twice"),
        pytest.param(":80", "127.0.0.1:80", True, id="everything and one"),
        pytest.param("0.0.0.0:80", "10.0.0.1:80", True, id="all of IPv4 and one of it"),
        pytest.param("[::]:80", "[::1]:80", True, id="all of IPv6 and one of it"),
        pytest.param("[::]:80", "0.0.0.0:80", True, id="[::] is IPv4 too"),
        pytest.param("[0::0]:80", "10.0.0.1:80", True, id="[::] and an IPv4 address"),
        pytest.param("[::]:80", ":80", True, id="two ways to say everything"),
        pytest.param("[::]:80", "a:80", True, id="[::] and a name"),
        pytest.param("0.0.0.0:80", "a:80", False, id="all of IPv4 and a name"),
        pytest.param("[::]:80", "0.0.0.0:81", False, id="[::] on another port"),
        pytest.param("[::1]:80", "[0:0:0:0:0:0:0:1]:80", True, id="two spellings"),
        pytest.param("localhost:80", "127.0.0.1:80", True, id="localhost by name"),
        pytest.param("localhost:80", "[::1]:80", True, id="localhost has two addresses"),
        pytest.param("localhost:80", "LocalHost:80", True, id="localhost twice"),
        pytest.param("localhost:80", "[::]:80", True, id="localhost and every IPv6 address"),
        pytest.param("localhost:80", "127.0.0.2:80", False, id="localhost is no other loopback address"),
        pytest.param("Host:80", "host:80", True, id="a name in two cases"),
        pytest.param("0.0.0.0:80", "[::1]:80", False, id="two families"),
        pytest.param("127.0.0.1:80", "127.0.0.2:80", False, id="two addresses"),
        pytest.param("127.0.0.1:80", "127.0.0.1:81", False, id="two ports"),
        pytest.param("127.0.0.1:0", "127.0.0.1:0", False, id="the kernel picks"),
        pytest.param("a:80", "b:80", False, id="two names"),
    ],
)
def test_two_listeners_clash_when_they_share_a_port_and_an_address(one: str, other: str, clash: bool) -> None:
    first, second = (addresses.parse(text, listening=True) for text in (one, other))

    assert (addresses.overlap(first, second), addresses.overlap(second, first)) == (clash, clash)


@pytest.mark.parametrize(
    ("text", "name"), [("localhost", "localhost"), ("db.example.com.", "db.example.com"), ("::01", "::1"), ("::", "::")]
)
def test_a_server_name_is_a_name_or_an_address(text: str, name: str) -> None:
    assert addresses.name_or_ip(text) == name


@pytest.mark.parametrize("text", ["localhost:8443", "https://a", "*.example.com", "a b", "1.2.3"])
def test_a_server_name_has_no_port_and_no_wildcard(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        addresses.name_or_ip(text)
