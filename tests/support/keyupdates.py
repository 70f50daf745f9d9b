"""A TLS 1.3 client that can update its keys at will, which no Python library offers: the machine's libssl by ctypes.

Source: SSL_key_update(3).
"""

import ctypes
from ctypes import c_char_p, c_int, c_long, c_void_p
from types import TracebackType
from typing import Any, Self

from support.clients import plain
from support.pki import Written
from support.tools import missing

PEM = 1
CTRL_SET_TLSEXT_HOSTNAME = 55
NOT_REQUESTED, REQUESTED = 0, 1  # whether the other side shall update its keys too


def _library() -> Any:
    try:
        library = ctypes.CDLL("libssl.so.3")
    except OSError:
        missing("libssl.so.3", "apt-get install libssl3")
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = c_void_p
    library.SSL_CTX_new.argtypes = library.SSL_new.argtypes = [c_void_p]
    library.SSL_CTX_free.argtypes = library.SSL_free.argtypes = [c_void_p]
    library.SSL_CTX_use_certificate_file.argtypes = [c_void_p, c_char_p, c_int]
    library.SSL_CTX_use_PrivateKey_file.argtypes = [c_void_p, c_char_p, c_int]
    library.SSL_set_fd.argtypes = library.SSL_key_update.argtypes = [c_void_p, c_int]
    library.SSL_ctrl.argtypes = [c_void_p, c_int, c_long, c_char_p]
    library.SSL_connect.argtypes = library.SSL_do_handshake.argtypes = [c_void_p]
    library.SSL_write.argtypes = [c_void_p, c_char_p, c_int]
    library.SSL_read.argtypes = [c_void_p, c_void_p, c_int]
    return library


class KeyUpdater:
    """One connection to the tunnel on *port*.  Trusts whoever answers: it is the one that is to be feared."""

    def __init__(self, port: int, identity: Written) -> None:
        self._ssl = _library()
        self._context = c_void_p(self._ssl.SSL_CTX_new(self._ssl.TLS_client_method()))
        assert self._ssl.SSL_CTX_use_certificate_file(self._context, identity.cert.encode(), PEM) == 1
        assert self._ssl.SSL_CTX_use_PrivateKey_file(self._context, identity.key.encode(), PEM) == 1
        self._socket = plain(port)
        self._socket.settimeout(None)  # libssl is to block
        self._connection = c_void_p(self._ssl.SSL_new(self._context))
        self._ssl.SSL_set_fd(self._connection, self._socket.fileno())
        self._ssl.SSL_ctrl(self._connection, CTRL_SET_TLSEXT_HOSTNAME, 0, b"localhost")
        assert self._ssl.SSL_connect(self._connection) == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ssl.SSL_free(self._connection)
        self._ssl.SSL_CTX_free(self._context)
        self._socket.close()

    def ask(self, question: bytes) -> bytes:
        """Send *question* and read what comes back first."""
        assert self._ssl.SSL_write(self._connection, question, len(question)) == len(question)
        buffer = ctypes.create_string_buffer(16384)
        size = self._ssl.SSL_read(self._connection, buffer, len(buffer))
        return buffer.raw[: max(size, 0)]

    def update(self, kind: int) -> bool:
        """Send one key update; False once the other side has ended the connection."""
        if self._ssl.SSL_key_update(self._connection, kind) != 1:
            return False
        return bool(self._ssl.SSL_do_handshake(self._connection) == 1)
