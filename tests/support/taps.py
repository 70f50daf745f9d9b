"""What a TLS server sends back, in sizes: the records of its whole answer, in order, and how it ended."""

import ssl
import struct

from support.clients import PING, plain

_RECORD = struct.Struct("!BHH")


def sizes_of_answer(port: int, tls: ssl.SSLContext, name: str) -> list[str]:
    """Shake hands, send a line, read to the end; each record that came as "type:size"."""
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
        # An ECDSA signature is 70 to 72 bytes long, by chance: the flight that holds it is told by its type alone.
        found.append(f"{kind}" if len(found) < 6 else f"{kind}:{size}")
        octets = octets[_RECORD.size + size :]
    return found
