"""What a TLS server sends back, as anybody on the way sees it: the records of its answer, and how it ended."""

import ssl
import struct

from support.clients import PING, plain

_RECORD = struct.Struct("!BHH")


def records_of_answer(port: int, tls: ssl.SSLContext, name: str) -> list[str]:
    """Shake hands, send a line, read to the end; the type of each record that came.

    Not their sizes: an ECDSA signature and an encoded ticket are a few bytes longer or shorter by chance.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.wrap_bio(incoming, outgoing, server_hostname=name)
    heard = b""
    with plain(port) as raw:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                chunk = raw.recv(1 << 16)
                heard += chunk
                incoming.write(chunk)
        try:
            client.write(PING)
            raw.sendall(outgoing.read())
            while chunk := raw.recv(1 << 16):
                heard += chunk
            end = "end of input"
        except (TimeoutError, ConnectionResetError) as error:
            end = type(error).__name__
    return [*_records(heard), end]


def _records(octets: bytes) -> list[str]:
    found: list[str] = []
    while octets:
        kind, _, size = _RECORD.unpack_from(octets)
        found.append(str(kind))
        octets = octets[_RECORD.size + size :]
    return found
