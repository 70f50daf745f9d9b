"""A handshake that only looks: bytes from a server become what it presents and what it demands of clients.

Nothing is verified and nothing is offered: no certificate, no early data, and the caller hangs up afterwards.  It
is for `tunnel certs show HOST:PORT` and never for traffic, which is why it does not share a line with `context`.
Bytes in, bytes out; the caller owns the socket.
"""

from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

STEP_BYTES = 16384


@dataclass(frozen=True, slots=True)
class Presented:
    """What a server showed.  The chain is in the order in which it was sent, and may be a lie from end to end."""

    chain: tuple[x509.Certificate, ...]
    version: str
    cipher: str
    demands_certificate: bool
    acceptable: tuple[x509.Name, ...]  # the CAs it would take client certificates from; empty means it does not say


class ProbeFailed(Exception):
    """The server broke the handshake off, or does not speak TLS."""


class Probe:
    """One handshake as a client.  Feed what the server sends, send what `outgoing` returns."""

    def __init__(self, server_name: str) -> None:
        """`server_name` goes into the SNI; "" for a server that is known by its address."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_NONE)
        # A server with a short key or an old version shall be seen too, not refused.
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_info_callback(self._note)
        self._demanded = False
        self._connection = SSL.Connection(context, None)
        if server_name:
            self._connection.set_tlsext_host_name(server_name.encode("idna"))
        self._connection.set_connect_state()

    def step(self, received: bytes = b"") -> Presented | None:
        """Take what was received and go on; None as long as the server has to say more.

        Raises:
            ProbeFailed: with OpenSSL's words.
        """
        if received:
            self._connection.bio_write(received)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return None
        except SSL.Error as error:
            # TLS 1.2 ends so where a client certificate is required: what was asked is known all the same.
            if self._connection.get_peer_cert_chain(as_cryptography=True):
                return self._presented()
            raise ProbeFailed(_words(error)) from error
        return self._presented()

    def outgoing(self) -> bytes:
        """What has to be sent now; may be empty."""
        parts = []
        while True:
            try:
                parts.append(self._connection.bio_read(STEP_BYTES))
            except SSL.WantReadError:
                return b"".join(parts)

    def _note(self, connection: SSL.Connection, where: int, _: int) -> None:
        # The list of CAs may be empty in a demand, so the message itself is what counts.
        if where & SSL.SSL_CB_LOOP and b"server certificate request" in connection.get_state_string():
            self._demanded = True

    def _presented(self) -> Presented:
        chain = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        return Presented(
            tuple(chain),
            self._connection.get_protocol_version_name(),
            self._connection.get_cipher_name() or "handshake not completed",
            self._demanded,
            tuple(self._connection.get_client_ca_list(as_cryptography=True)),
        )


def _words(error: SSL.Error) -> str:
    entries = error.args[0] if error.args else []
    if isinstance(entries, list) and entries:
        return str(entries[-1][-1])
    return "the connection was closed in the handshake"
