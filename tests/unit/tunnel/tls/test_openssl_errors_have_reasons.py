"""Texts of OpenSSL become the contract's reason words; no reason is a word that the metrics do not know."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from mtls_tunnel.observe.metrics import HANDSHAKE_REASONS
from mtls_tunnel.tls.failures import broken_of, failure_of, forget_errors


def queued(*texts: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", text) for text in texts])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (queued("peer did not return a certificate"), "no_certificate"),
        (queued("unsupported protocol"), "protocol_version"),
        (queued("no shared cipher"), "no_shared_cipher"),
        (queued("wrong version number"), "not_tls"),
        (queued("http request"), "not_tls"),
        (queued("unexpected message"), "not_tls"),
        (queued("ssl/tls alert handshake failure"), "other"),
        (queued("tlsv1 alert protocol version"), "protocol_version"),
        (queued("something that a later release says"), "other"),
        (queued(), "other"),
        (SSL.SysCallError(-1, "Unexpected EOF"), "closed"),
        (SSL.SysCallError(errno.ECONNRESET, "ECONNRESET"), "closed"),
        (SSL.SysCallError(errno.EIO, "EIO"), "other"),
        (SSL.ZeroReturnError(), "closed"),
    ],
)
def test_a_failed_handshake_has_a_reason(error: SSL.Error, reason: str) -> None:
    failure = failure_of(error)
    assert failure.reason == reason
    assert failure.detail


@given(st.lists(st.text(), max_size=3))
def test_no_text_gives_a_reason_that_the_metrics_do_not_know(texts: list[str]) -> None:
    assert failure_of(queued(*texts)).reason in HANDSHAKE_REASONS


def test_an_alert_is_named_in_words() -> None:
    assert "alert certificate_unknown" in failure_of(queued("sslv3 alert certificate unknown")).detail


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (SSL.SysCallError(errno.ECONNRESET, "ECONNRESET"), errno.ECONNRESET),
        (SSL.SysCallError(errno.EPIPE, "EPIPE"), errno.EPIPE),
        (SSL.SysCallError(-1, "Unexpected EOF"), errno.ECONNRESET),
        (queued("decryption failed or bad record mac"), errno.ECONNABORTED),
        (queued(), errno.ECONNRESET),
    ],
)
def test_a_broken_stream_is_an_os_error(error: SSL.Error, number: int) -> None:
    assert broken_of(error).errno == number


def test_the_error_queue_is_empty_afterwards() -> None:
    """What one connection leaves in OpenSSL's queue of the thread is what the next one would be accused of."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    failing = SSL.Connection(context, None)
    failing.set_accept_state()
    failing.bio_write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(SSL.Error):
        failing.do_handshake()
    forget_errors()
    waiting = SSL.Connection(context, None)
    waiting.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        waiting.do_handshake()
