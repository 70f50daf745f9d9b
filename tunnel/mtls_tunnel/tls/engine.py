"""One TLS connection on the descriptor of a non-blocking socket: handshake, read, write, end; and who is there.

The four verbs never block and never raise what is OpenSSL's: "not now" is a value, a refused peer is `PeerRejected`,
a broken connection is an OSError.  The socket belongs to the caller, before and after.

Half-close: `end` sends close_notify and leaves the reading side as it is.  A close_notify from the peer and a bare
FIN both end the input, and writing goes on working after either (SSL_OP_IGNORE_UNEXPECTED_EOF); `truncated` tells
them apart, from the alert that OpenSSL reports to an info callback.

Sources: SSL_read(3), SSL_write(3), SSL_shutdown(3); RFC 8446 §6.1 (half-close).
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cryptography import x509
from OpenSSL import SSL

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.tls import failures
from mtls_tunnel.tls.verify import Evidence, Known
from mtls_tunnel.trust.identity import Identity
from mtls_tunnel.trust.policy import Decision

RECORD_BYTES = 16384  # RFC 8446 §5.1: the most that one record holds; less room would leave bytes inside OpenSSL
MOST_RECORDS = 16  # in one `read`
MOST_WORDLESS = 128  # steps of OpenSSL within one `read` without payload, such as three for each key update
CLOSE_NOTIFY = 0
_VERSIONS = {SSL.TLS1_2_VERSION: "TLSv1.2", SSL.TLS1_3_VERSION: "TLSv1.3"}

Octets = bytes | memoryview
Chunks = Sequence[Octets]  # what was read or is to be written, in order; never with an empty piece in it
END: Chunks = ()

Leg = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other end of one leg; `identity` is None for a client that needed no certificate and sent none."""

    identity: Identity | None
    chain: tuple[x509.Certificate, ...]  # verified, leaf first, anchor last
    leg: Leg
    version: str  # TLSv1.2, TLSv1.3
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Presented:
    """The certificate that came with a failed handshake.  Nobody vouches for it."""

    subject: str
    sha256: str


class Side(Protocol):
    """What an engine asks of the context that made it."""

    leg: Leg

    def settle(self, connection: SSL.Connection, evidence: Evidence) -> Known | None:
        """Name the peer of a finished handshake; raises PeerRejected."""
        ...

    def confirm(self, peer: Peer, evidence: Evidence) -> None:
        """Judge a *peer* whose handshake began on an older context; raises PeerRejected."""
        ...

    def explain(self, evidence: Evidence) -> PeerRejected | None: ...

    def presented(self, connection: SSL.Connection) -> Presented | None: ...

    def established(self, connection: SSL.Connection) -> None:
        """Have `note` called for what a finished connection meets; a handshake alone would call it thirty times."""
        ...

    def keep(self, connection: SSL.Connection, known: Known | None) -> None:
        """Keep the session for the next connection, where that is this side's part."""
        ...


class Engine:
    """One connection.  `handshake` until it says True; then the other three."""

    __slots__ = ("_connection", "_evidence", "_fault", "_kept", "_parting", "_side", "peer", "wants_write")

    def __init__(self, connection: SSL.Connection, evidence: Evidence, side: Side) -> None:
        self._connection = connection
        self._evidence = evidence
        self._side = side
        self._kept = side.leg == "inbound"
        self._fault: OSError | None = None
        self._parting = False  # a close_notify was begun that the kernel has not taken yet
        self.wants_write = False
        self.peer: Peer | None = None

    @property
    def decision(self) -> Decision | None:
        """What the ACL said of the peer inside the handshake (client leg), if it was asked."""
        return self._evidence.decision

    @property
    def truncated(self) -> bool:
        """Whether the input ended without close_notify.  Only meaningful after `read` returned 0."""
        return not self._evidence.close_notify

    def handshake(self) -> bool:
        """Go on with the handshake; False means: again when readable (or writable, if `wants_write`).

        Raises:
            PeerRejected: it failed, and the alert that says so has been written.
        """
        connection = self._connection
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self.wants_write = False
            return False
        except SSL.WantWriteError:
            self.wants_write = True
            return False
        except SSL.Error as error:
            failures.forget_errors()
            raise self._side.explain(self._evidence) or failures.failure_of(error) from error
        self.wants_write = False
        self._settle(connection)
        return True

    def confirm(self, side: Side) -> None:
        """Judge the peer again, by the context of a reload that overtook the handshake.

        Raises:
            PeerRejected: a handshake that began now would fail.
        """
        if self.peer is not None:
            side.confirm(self.peer, self._evidence)

    def presented(self) -> Presented | None:
        """The certificate that the peer of a failed handshake showed."""
        return self._side.presented(self._connection)

    def refused(self) -> Identity | None:
        """Who it was that the ACL refused inside the handshake."""
        known = self._evidence.known
        return None if known is None else known.identity

    def server_name(self) -> str | None:
        """The name that the client asked for (SNI)."""
        name = self._connection.get_servername()
        return None if name is None else name.decode("ascii", "backslashreplace")

    def read(self) -> Chunks | None:
        """Read what is there, up to `MOST_RECORDS` records; END is the end of input, None nothing now.

        It stops before it has to ask the kernel in vain: a record that is not full is the last one for now.

        Raises:
            OSError: the connection is broken.
        """
        chunks: list[bytes] = []
        recv = self._connection.recv
        self._evidence.wordless = 0
        try:
            chunk = recv(RECORD_BYTES)
            if len(chunk) < RECORD_BYTES and self._kept:
                return (chunk,)
            chunks.append(chunk)
            while len(chunk) == RECORD_BYTES and len(chunks) < MOST_RECORDS:
                chunk = recv(RECORD_BYTES)
                chunks.append(chunk)
        except SSL.WantReadError:
            return chunks or None
        except SSL.ZeroReturnError:
            if self._evidence.flooded and not chunks:
                raise _flood() from None
            return chunks or END
        except SSL.WantWriteError:
            self.wants_write = True
            return chunks or None
        except SSL.Error as error:
            failures.forget_errors()
            # OpenSSL names a fault once.  What came before it counts, so it may have to wait for the next read.
            self._fault = self._fault or failures.broken_of(error)
            if not chunks:
                raise self._fault from error
        if not self._kept:
            self._keep()
        return chunks

    def write(self, chunks: Chunks) -> int:
        """Write *chunks* and return how many bytes were taken; whatever was not is to be offered again, first.

        A piece is taken as a whole or not at all, and OpenSSL may have begun with one that it did not take:
        so it must come again with the same bytes, and then perhaps more.

        Raises:
            OSError: the connection is broken.
        """
        taken = 0
        send = self._connection.send
        try:
            for chunk in chunks:
                taken += send(chunk)
        except (SSL.WantWriteError, SSL.WantReadError):
            return taken
        except SSL.Error as error:
            failures.forget_errors()
            raise failures.broken_of(error) from error
        return taken

    def end(self) -> bool:
        """Send close_notify; False means: again when writable.  Reading goes on.

        Raises:
            OSError: the connection is broken.
        """
        connection = self._connection
        # OpenSSL counts it as sent from the first try on; what is left of it only goes out with another call.
        if connection.get_shutdown() & SSL.SENT_SHUTDOWN and not self._parting:
            return True
        try:
            connection.shutdown()
        except SSL.WantWriteError:
            self._parting = True
            return False
        except SSL.WantReadError:
            pass  # it went out with something else, and the peer's own is not waited for here
        except SSL.Error as error:
            failures.forget_errors()
            raise failures.broken_of(error) from error
        self._parting = False
        return True

    def drop(self) -> None:
        """Let go of OpenSSL's memory.  No verb may be called afterwards."""
        del self._connection

    def _settle(self, connection: SSL.Connection) -> None:
        evidence = self._evidence
        resumed = evidence.known is None
        known = self._side.settle(connection, evidence)
        number = connection.get_protocol_version()
        version = _VERSIONS.get(number) or connection.get_protocol_version_name()
        if known is None:
            self.peer = Peer(None, (), self._side.leg, version)
        else:
            self.peer = Peer(known.identity, known.chain, self._side.leg, version, resumed)
        evidence.known = known
        evidence.path = {}
        self._side.established(connection)

    def _keep(self) -> None:
        """After the first bytes from a server: its tickets (TLS 1.3) have come with them."""
        self._kept = True
        self._side.keep(self._connection, self._evidence.known)


def note(connection: SSL.Connection, where: int, code: int) -> None:
    """Called by OpenSSL for each alert and for each step of a message that is no payload."""
    evidence: Evidence = connection.get_app_data()
    if where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT and code & 0xFF == CLOSE_NOTIFY:
        evidence.close_notify = True
    evidence.wordless += 1
    if evidence.wordless > MOST_WORDLESS:
        # As long as they keep coming OpenSSL does not return, and nobody else is served: this makes it return.
        evidence.flooded = True
        connection.set_shutdown(connection.get_shutdown() | SSL.RECEIVED_SHUTDOWN)


def _flood() -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, "the peer floods the connection with messages without payload")
