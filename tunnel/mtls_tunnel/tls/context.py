"""`Material` and what is demanded of the peer become a TLS context.  The only file with TLS options.

TLS 1.2 and 1.3, AEAD suites with forward secrecy only, no compression, no renegotiation, no early data.  Trust is
the material's bundle and never the system's roots.  The demand for a client certificate stands on the context that
the socket is accepted with, to the end of the handshake; after it, nothing is left to demand, and an accepted
connection moves to a context shared by all, which only listens for alerts.

A context is made anew for each reload.  Its ticket keys are its own, so a ticket from before a reload, from another
tunnel or from another bundle is no ticket here, and a full handshake follows.

Sources: RFC 8446; RFC 9325 (recommendations for TLS); RFC 5077, RFC 8446 §4.6.1 (tickets).
"""

import functools
import hashlib
import ipaddress
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL, crypto

from mtls_tunnel.config.schema import Tls
from mtls_tunnel.errors import MaterialError, PeerRejected, Problem
from mtls_tunnel.tls import failures
from mtls_tunnel.tls.engine import Engine, Leg, Peer, Presented, note
from mtls_tunnel.tls.verify import Evidence, Known, Verifier, fill
from mtls_tunnel.trust import names
from mtls_tunnel.trust.material import Material
from mtls_tunnel.trust.policy import Policy

# AES-128 first: it costs a third less than AES-256 per byte, and nobody breaks either.
SUITES_13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
SUITES_12 = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
DEEPEST_CHAIN = 10  # intermediates; longer ones are made to keep verifiers busy (CVE-2023-0464)
_PARTIAL_WRITE = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE of ssl.h; pyOpenSSL sets it and has no name for it
_MINIMUM = {"TLS1.2": SSL.TLS1_2_VERSION, "TLS1.3": SSL.TLS1_3_VERSION}
_CLIENT_AUTH = {
    "required": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
    "optional": SSL.VERIFY_PEER,
    "none": SSL.VERIFY_NONE,
}


class _Context:
    """What both sides share."""

    leg: Leg

    def __init__(self, material: Material, tls: Tls, method: int) -> None:
        self._material = material
        self.digest = hashlib.sha256(f"{material.digest} {tls!r}".encode()).hexdigest()
        self._context = SSL.Context(method)
        self._secure(_MINIMUM[tls.min_version])
        self._present(material)
        store = self._context.get_cert_store()
        assert store is not None
        fill(store, material, whole_chain=tls.crl_check == "chain")
        self._verifier: Verifier

    def explain(self, evidence: Evidence) -> PeerRejected | None:
        return self._verifier.explain(evidence)

    def presented(self, connection: SSL.Connection) -> Presented | None:
        leaf = self._verifier.presented(connection)
        if leaf is None:
            return None
        try:
            subject = leaf.subject.rfc4514_string()
        except (ValueError, TypeError):
            subject = ""
        return Presented(subject, leaf.fingerprint(hashes.SHA256()).hex())

    def _engine(self, socket: object) -> tuple[SSL.Connection, Evidence]:
        connection = SSL.Connection(self._context, socket)  # type: ignore[arg-type]  # pyOpenSSL asks for its fileno
        evidence = Evidence()
        connection.set_app_data(evidence)
        return connection, evidence

    def _secure(self, minimum: int) -> None:
        context = self._context
        context.set_min_proto_version(minimum)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_cipher_list(SUITES_12)
        context.set_tls13_ciphersuites(SUITES_13)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_IGNORE_UNEXPECTED_EOF)
        # Buffers of idle connections go back to the allocator: 34 KB less for each.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # One SSL_write for a whole buffer, in place of a Python call for each record of 16 KB.
        context.clear_mode(_PARTIAL_WRITE)
        context.set_verify_depth(DEEPEST_CHAIN)
        # Sessions are kept in tickets (server) or by us (client); a cache inside OpenSSL would only grow.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(bytes.fromhex(self.digest))

    def _present(self, material: Material) -> None:
        try:
            self._context.use_certificate(material.leaf)
            self._context.use_privatekey(material.key)
            for certificate in material.chain:
                self._context.add_extra_chain_cert(certificate)
            self._context.check_privatekey()
        except (SSL.Error, crypto.Error, TypeError, ValueError) as error:
            failures.forget_errors()
            why = "; ".join(failures.texts_of(error)) if isinstance(error, SSL.Error) else str(error)
            problem = Problem("", "tls.cert", f"OpenSSL refuses the certificate {material.cert_path}: {why}")
            raise MaterialError(problem) from error


class ServerContext(_Context):
    """Accepts TLS.  Who may pass is judged afterwards, by the session; that the chain is good is judged here."""

    leg: Leg = "inbound"

    def __init__(self, material: Material, tls: Tls, *, now: Callable[[], float]) -> None:
        """*now* is the wall clock in epoch seconds, for resumed sessions.

        Raises:
            MaterialError: OpenSSL refuses the certificate or its key.
        """
        super().__init__(material, tls, SSL.TLS_SERVER_METHOD)
        self._verifier = Verifier(material, whole_chain=tls.crl_check == "chain", now=now)
        self._required = tls.client_auth == "required"
        self._context.set_verify(_CLIENT_AUTH[tls.client_auth], self._verifier.callback)
        if tls.client_auth != "none":
            for certificate in material.anchors():
                self._context.add_client_ca(certificate)

    def engine(self, socket: object) -> Engine:
        """TLS for an accepted, non-blocking *socket*, which stays the caller's."""
        connection, evidence = self._engine(socket)
        connection.set_accept_state()
        return Engine(connection, evidence, self)

    def settle(self, connection: SSL.Connection, evidence: Evidence) -> Known | None:
        if evidence.known is not None:
            return evidence.known
        leaf = connection.get_peer_certificate()
        return None if leaf is None else self._verifier.recognise(leaf)

    def confirm(self, peer: Peer, evidence: Evidence) -> None:
        if peer.chain:
            self._verifier.confirm(peer.chain)
        elif self._required:
            raise PeerRejected("no_certificate", "the client sent no certificate, and since then one is required")

    def established(self, connection: SSL.Connection) -> None:
        # A callback for each connection would be a kilobyte for each.  The context of the handshake, whose callbacks
        # OpenSSL still knows, lives as long as the engine, which holds this object.
        connection.set_context(_listening())

    def keep(self, connection: SSL.Connection, known: Known | None) -> None:
        """Servers keep nothing: their tickets are with the clients."""


class ClientContext(_Context):
    """Dials TLS: chain, name and ACL of the server are judged inside the handshake, before its last flight leaves."""

    leg: Leg = "outbound"

    def __init__(
        self,
        material: Material,
        tls: Tls,
        *,
        host: str,
        policy: Callable[[], Policy] | None,
        now: Callable[[], float],
        name: str = "",
    ) -> None:
        """*host* is the target's, the name to expect if `tls` gives none; *policy* None means: no ACL on this leg.

        Raises:
            MaterialError: OpenSSL refuses the certificate or its key.
        """
        super().__init__(material, tls, SSL.TLS_CLIENT_METHOD)
        self.name = name
        self._expected = tls.server_name or host or "localhost"
        self._uris = tls.server_uri
        self._policy = policy
        self._sni = _sni(self._expected)
        self._session: tuple[SSL.Session, Known] | None = None
        self._verifier = Verifier(material, whole_chain=tls.crl_check == "chain", now=now, accept=self._accept)
        self._context.set_verify(SSL.VERIFY_PEER, self._verifier.callback)

    def engine(self, socket: object) -> Engine:
        """TLS for a connected, non-blocking *socket*, which stays the caller's; resumes the last session if it may."""
        connection, evidence = self._engine(socket)
        if self._sni:
            connection.set_tlsext_host_name(self._sni)
        kept = self._reusable()
        if kept is not None:
            connection.set_session(kept[0])
            evidence.offered = kept[1]
        connection.set_connect_state()
        return Engine(connection, evidence, self)

    def settle(self, connection: SSL.Connection, evidence: Evidence) -> Known | None:
        if evidence.known is not None:
            return evidence.known
        known = evidence.offered
        if known is None:
            raise PeerRejected("other", "the server showed no certificate")
        self._accept(known, evidence)
        return known

    def confirm(self, peer: Peer, evidence: Evidence) -> None:
        self._accept(self._verifier.confirm(peer.chain), evidence)

    def established(self, connection: SSL.Connection) -> None:
        # In another context its session would belong to that one, and could not be offered again from here.
        connection.set_info_callback(note)

    def keep(self, connection: SSL.Connection, known: Known | None) -> None:
        session = connection.get_session()
        if session is not None and known is not None:
            self._session = session, known

    def _reusable(self) -> tuple[SSL.Session, Known] | None:
        """The session of the last server, if that server would still be let in."""
        if self._session is None:
            return None
        try:
            self._verifier.still_valid(self._session[1])
            self._accept(self._session[1], Evidence())
        except PeerRejected:
            self._session = None
        return self._session

    def _accept(self, known: Known, evidence: Evidence) -> None:
        identity = known.identity
        match = names.match_uri(identity, self._uris) if self._uris else names.match_host(identity, self._expected)
        if not match:
            raise PeerRejected("name_mismatch", str(match))
        if self._policy is None:
            return
        evidence.decision = self._policy().decide(identity)
        if not evidence.decision.allowed:
            raise PeerRejected("denied", f"the ACL does not let this server be used ({evidence.decision.rule})")


@functools.cache
def _listening() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_info_callback(note)
    return context


def _sni(expected: str) -> bytes:
    """The server name to send: none for an address (RFC 6066 §3)."""
    try:
        ipaddress.ip_address(expected.removeprefix("[").removesuffix("]"))
    except ValueError:
        return expected.rstrip(".").encode("idna")
    return b""
