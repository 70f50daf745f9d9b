"""What the operating system says about an address becomes one plain sentence."""

import errno
import socket

import pytest

from mtls_tunnel.config.schema import Address
from mtls_tunnel.flow.binding import sentence as sentence_for
from mtls_tunnel.flow.listener import _remote


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EADDRINUSE, ""), "the port is in use by another program"),
        (OSError(errno.EADDRNOTAVAIL, ""), "127.0.0.1 is no address of this machine"),
        (socket.gaierror(socket.EAI_NONAME, ""), "127.0.0.1 is no address of this machine"),
        (PermissionError(errno.EACCES, ""), "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"),
        (OSError(errno.EAFNOSUPPORT, ""), "address family not supported by protocol"),
    ],
)
def test_a_sentence_for_each_error(error: OSError, sentence: str) -> None:
    assert sentence_for(Address("127.0.0.1", 80), error) == f"cannot listen on 127.0.0.1:80: {sentence}"


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (("192.0.2.1", 5), "192.0.2.1:5"),
        (("2001:db8::1", 5, 0, 0), "[2001:db8::1]:5"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1:5"),
    ],
)
def test_remotes_are_written_as_people_write_them(where: tuple[str, int], text: str) -> None:
    assert _remote(where) == text
