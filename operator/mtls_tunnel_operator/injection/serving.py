"""The certificate that the API server sees, exchanged while connections are being made.

The listener keeps one context for its whole life; at each handshake that context hands over to the newest
one.  A new pair is first loaded into a context of its own, so that a half-written Secret changes nothing,
and an exchange of key types leaves nothing of the old pair behind (loading into a live context would).

Keys go through anonymous memory: `ssl` reads only files, and the key must not lie on a disk.
"""

import os
import ssl
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mtls_tunnel_operator.errors import AuthorityError

READY_SECONDS = 3600  # less than this left: other replicas may have a better one
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Serving:
    """`context` is for the listener; `publish` gives it a certificate, again and again."""

    def __init__(self) -> None:
        self.context = _bare_context()
        self.context.sni_callback = self._hand_over
        self.not_after: float | None = None  # epoch seconds; None: nothing to serve yet
        self.fingerprint = ""
        self._current: ssl.SSLContext | None = None

    def publish(self, chain_pem: bytes, key_pem: bytes, now: float) -> bool:
        """Serve this pair from the next handshake on; False if it is the one being served.

        Raises:
            AuthorityError: BadServingCertificate; what was served before goes on.
        """
        try:
            leaf = x509.load_pem_x509_certificates(chain_pem)[0]
            context = _bare_context()
            _load(context, chain_pem, key_pem)
        except (ValueError, OSError) as error:  # SSLError is an OSError
            raise AuthorityError(
                "BadServingCertificate", f"tls.crt and tls.key of the serving Secret are no pair: {error}"
            ) from error
        ends = leaf.not_valid_after_utc.timestamp()
        if ends <= now < (self.not_after or 0):
            when = datetime.fromtimestamp(ends, UTC).isoformat()
            raise AuthorityError("BadServingCertificate", f"the new serving certificate has expired at {when}")
        fingerprint = _fingerprint(leaf)
        changed = fingerprint != self.fingerprint
        self._current, self.not_after, self.fingerprint = context, ends, fingerprint
        return changed

    def trouble(self, now: float) -> str:
        """Why nobody should be sent here, "" if all is well."""
        if self.not_after is None:
            return "no serving certificate yet"
        left = self.not_after - now
        return "" if left >= READY_SECONDS else f"the serving certificate has {max(left, 0):.0f} s left"

    def _hand_over(self, stream: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        stream.context = self._current
        return None


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)  # TLS 1.2; all of TLS 1.3 are AEAD
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # a ticket would outlive its certificate
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    descriptor = os.memfd_create("serving", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as memory:
            memory.write(key_pem.rstrip() + b"\n" + chain_pem)
        # Without a password callback OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise ValueError("the key is encrypted: store it without a password")


def _fingerprint(leaf: x509.Certificate) -> str:
    return leaf.fingerprint(SHA256()).hex()
