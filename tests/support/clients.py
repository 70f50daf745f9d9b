"""Clients of a tunnel: plain TCP, and TLS by the standard library.

The tunnel brings an OpenSSL of its own; the standard library uses the machine's, so these clients are
another implementation's release on the other end of the wire.  A refusal is named by the TLS alert that
arrived (`certificate_required`, `unknown_ca`, ...), or "closed" or "reset" where none did.
"""

import re
import socket
import ssl
from collections.abc import Iterable
from typing import Literal

from support.pki import Folder, Written
from support.waiting import DEADLINE_SECONDS

Version = Literal["", "1.2", "1.3"]
PING = b"are you there?\n"


class Refused(Exception):
    """The other side ended it.  `word` says how."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def plain(port: int, *, host: str = "127.0.0.1", seconds: float = DEADLINE_SECONDS) -> socket.socket:
    """A plain connection with a deadline on every call; the caller owns it."""
    return socket.create_connection((host, port), timeout=seconds)


def context(files: Folder, identity: Written | None, *, version: Version = "", ca: str = "") -> ssl.SSLContext:
    """What a client trusts and who it is.  *version* pins one TLS version."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca or files.ca)
    if identity:
        made.load_cert_chain(identity.cert, identity.key)
    if version:
        made.minimum_version = made.maximum_version = (
            ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
        )
    return made


def connect(
    port: int,
    tls: ssl.SSLContext,
    *,
    name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
    host: str = "127.0.0.1",
) -> ssl.SSLSocket:
    """A TLS connection after its handshake; the caller owns it.

    Raises:
        Refused: the handshake ended with an alert, an EOF or a reset.
    """
    raw = plain(port, host=host)
    try:
        return tls.wrap_socket(raw, server_hostname=name, session=session)
    except OSError as error:
        raise Refused(ending(error)) from error
    finally:
        raw.close()  # wrap_socket has taken the descriptor over, or it is of no use any more


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read *size* bytes, or what came before the end of input."""
    got = bytearray()
    while len(got) < size and (chunk := connection.recv(min(size - len(got), 1 << 18))):
        got += chunk
    return bytes(got)


def read_all(connection: socket.socket) -> bytes:
    """Read to the end of input."""
    return b"".join(iter(lambda: connection.recv(1 << 18), b""))


def rest(connection: socket.socket) -> str:
    """Read to whatever end there is, and name it: "closed", "reset" or an alert."""
    try:
        read_all(connection)
    except OSError as error:
        return ending(error)
    return "closed"


def ask(connection: socket.socket, question: bytes = PING) -> bytes:
    """Send *question*, read as much back.

    Raises:
        Refused: the connection ended instead.
    """
    try:
        connection.sendall(question)
        answer = read_exactly(connection, len(question))
    except OSError as error:
        raise Refused(ending(error)) from error
    if not answer:
        raise Refused("closed")
    return answer


def talk(port: int, tls: ssl.SSLContext, question: bytes = PING, *, name: str | None = "localhost") -> bytes:
    """One exchange over a connection of its own."""
    with connect(port, tls, name=name) as connection:
        return ask(connection, question)


def refusal(
    port: int,
    tls: ssl.SSLContext,
    *,
    name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
    eager: Iterable[bytes] = (PING,),
) -> str:
    """Try to get in, pressing *eager* payload on the server at once, and return how it was refused.

    A TLS 1.3 client has finished its handshake before the server has judged it; so the refusal is
    waited for by reading, and the payload is what must never arrive behind the tunnel.
    """
    try:
        with connect(port, tls, name=name, session=session) as connection:
            try:
                for message in eager:
                    connection.sendall(message)
            except OSError:
                pass  # the alert that explains it is still to be read
            got = connection.recv(1 << 16)
    except Refused as refused:
        return refused.word
    except TimeoutError:
        raise AssertionError("neither refused nor answered") from None
    except OSError as error:
        return ending(error)
    if got:
        raise AssertionError(f"was let in and got the answer {got!r}")
    return "closed"


def ending(error: OSError) -> str:
    """In one word, how the other side ended a connection."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed"
    if isinstance(error, ssl.SSLError):
        return re.sub(r"^(SSLV3|TLSV1|TLSV13)_ALERT_", "", str(error.reason)).lower()
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "reset"
    raise error
