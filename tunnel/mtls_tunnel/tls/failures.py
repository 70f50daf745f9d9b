"""Why a handshake failed: OpenSSL's error entries become a reason word and a sentence for people.

The words are labels of mtlsd_handshake_failures_total and never change; OpenSSL's texts may, so an unknown one is
``other`` and keeps its text.  What a certificate was refused for is not here but in `verify`, which saw it.

Sources: OpenSSL ssl/ssl_err.c (texts); RFC 8446 §6 (alerts).
"""

import errno
import os

from OpenSSL import SSL, crypto

from mtls_tunnel.errors import PeerRejected

_NOT_TLS = "the first bytes are not a TLS ClientHello"
_REASONS: tuple[tuple[str, str, str], ...] = (
    # text of OpenSSL, reason, what it means
    ("peer did not return a certificate", "no_certificate", "the client sent no certificate"),
    ("no shared cipher", "no_shared_cipher", "the peer offers no cipher suite that is allowed here"),
    ("no suitable key share", "no_shared_cipher", "the peer offers no key exchange group that is allowed here"),
    ("no suitable groups", "no_shared_cipher", "the peer offers no key exchange group that is allowed here"),
    ("no suitable signature algorithm", "no_shared_cipher", "the peer offers no signature algorithm for our key"),
    ("unsupported protocol", "protocol_version", "the peer speaks no TLS version that is allowed here"),
    ("version too low", "protocol_version", "the peer speaks no TLS version that is allowed here"),
    ("wrong ssl version", "protocol_version", "the peer speaks no TLS version that is allowed here"),
    ("inappropriate fallback", "protocol_version", "the peer fell back to an older TLS version"),
    ("http request", "not_tls", "a plain HTTP request came in place of TLS"),
    ("https proxy request", "not_tls", "a plain HTTP CONNECT came in place of TLS"),
    ("wrong version number", "not_tls", _NOT_TLS),
    ("packet length too long", "not_tls", _NOT_TLS),
    ("record layer failure", "not_tls", _NOT_TLS),
    ("invalid server name", "bad_sni", "the server name that the client asks for is not a name"),
)
# On TLS records that are valid but odd these two come too; only before any record was good they mean "no TLS".
_FIRST_BYTES = ("unexpected message", "bad record type", "invalid record")
_CLOSED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN)


def failure_of(error: SSL.Error) -> PeerRejected:
    """Translate what `do_handshake` raised; the verify callback's own verdict goes before this."""
    if isinstance(error, SSL.ZeroReturnError):
        return PeerRejected("closed", "the peer closed the connection during the handshake")
    if isinstance(error, SSL.SysCallError):
        return _system(error)
    texts = texts_of(error)
    return next((found for text in texts if (found := _known(text)) is not None), _other(texts))


def texts_of(error: SSL.Error) -> tuple[str, ...]:
    """The reasons that OpenSSL queued, oldest first."""
    entries = error.args[0] if error.args else ()
    if not isinstance(entries, list):
        return (str(entries),) if entries else ()
    return tuple(str(entry[2] or entry[0]) for entry in entries)


def broken_of(error: SSL.Error) -> OSError:
    """Translate what reading or writing raised after the handshake: a reset, or a broken TLS stream."""
    if isinstance(error, SSL.SysCallError):
        code = error.args[0] if error.args else -1
        if isinstance(code, int) and code > 0:
            return OSError(code, os.strerror(code))
        return ConnectionResetError(errno.ECONNRESET, "the connection ended inside a TLS record")
    if not texts_of(error):
        return ConnectionResetError(errno.ECONNRESET, "the connection broke before")
    return ConnectionAbortedError(errno.ECONNABORTED, alert_of(texts_of(error)))


def alert_of(texts: tuple[str, ...]) -> str:
    """Say an alert in plain words, any other text as it is."""
    text = texts[0] if texts else "unknown TLS error"
    _, alert, name = text.partition(" alert ")
    return f"the peer sent the TLS alert {name.replace(' ', '_')}" if alert else text


def forget_errors() -> None:
    """Empty OpenSSL's error queue: what one connection left there must not be read as another one's failure."""
    try:
        # The public API has no call for it; this one fails at once and takes the queue along.
        crypto.X509Store().load_locations(None)
    except crypto.Error:
        return


def _system(error: SSL.SysCallError) -> PeerRejected:
    code = error.args[0] if error.args else -1
    if code == -1:
        return PeerRejected("closed", "the peer closed the connection during the handshake")
    reason = "closed" if code in _CLOSED else "other"
    return PeerRejected(reason, f"the connection broke during the handshake: {os.strerror(code)}")


def _known(text: str) -> PeerRejected | None:
    for part, reason, meaning in _REASONS:
        if part in text:
            return PeerRejected(reason, f"{meaning} ({text})")
    if " alert " in text:
        reason = "protocol_version" if text.endswith("protocol version") else "other"
        return PeerRejected(reason, f"{alert_of((text,))}: the other side broke the handshake off")
    return None


def _other(texts: tuple[str, ...]) -> PeerRejected:
    first = texts[0] if texts else "unknown TLS error"
    reason = "not_tls" if first in _FIRST_BYTES else "other"
    return PeerRejected(reason, first)
