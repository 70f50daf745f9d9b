"""TLS: a certificate set becomes a context, a context and a socket become an `Engine` that reads and writes plaintext.

    context   Material -> ServerContext, ClientContext: the only file with TLS options
    verify    the verify callback: a chain that OpenSSL found good becomes a `Known` peer, or is refused
    engine    one connection: handshake, read, write, end; `Peer` is who is on the other end
    failures  OpenSSL's errors become a reason word and a sentence
    sni       the first bytes of a connection -> the server name that is asked for
    probe     a handshake that only looks

pyOpenSSL works here directly on the descriptor of a non-blocking socket: OpenSSL's memory BIOs cost two more copies
and never shrink.  Whoever gives the socket keeps it and closes it.  No event loop, no clock, no log in this room:
clocks are arguments, readiness and deadlines belong to `flow`.
"""

from OpenSSL import SSL


def versions() -> str:
    """The OpenSSL that is in use, as it names itself."""
    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii")
