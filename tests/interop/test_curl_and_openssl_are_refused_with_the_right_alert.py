"""curl and `openssl s_client` against server mode: who must not get in hears why, in TLS's own words.

No certificate: certificate_required on TLS 1.3, handshake_failure on 1.2.  A foreign CA: unknown_ca.
An expired leaf: certificate_expired.  Nothing of what they sent reaches the backend.
"""

from collections.abc import Iterator

import pytest

from support.guarded import Guarded, Sign, handshake_failure
from support.pki import Authority, Written
from support.processes import run
from support.tools import need

VERSIONS = [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")]
# OpenSSL's error text for each alert, as both programs print it.
ALERTS = {
    "certificate_required": "alert certificate required",
    "handshake_failure": "alert handshake failure",
    "unknown_ca": "alert unknown ca",
    "certificate_expired": "alert certificate expired",
}


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


def stranger(guarded: Guarded, kind: str) -> Written | None:
    match kind:
        case "foreign":
            return guarded.files.write("foreign", Authority("Test Root").client())
        case "expired":
            return guarded.files.write("expired", guarded.authority.expired("frontend-service"))
        case _:
            return None


CASES = [
    pytest.param("none", "1.2", "handshake_failure", "no_certificate", id="no certificate, TLS 1.2"),
    pytest.param("none", "1.3", "certificate_required", "no_certificate", id="no certificate, TLS 1.3"),
    pytest.param("foreign", "1.2", "unknown_ca", "unknown_ca", id="foreign CA, TLS 1.2"),
    pytest.param("foreign", "1.3", "unknown_ca", "unknown_ca", id="foreign CA, TLS 1.3"),
    pytest.param("expired", "1.2", "certificate_expired", "expired", id="expired, TLS 1.2"),
    pytest.param("expired", "1.3", "certificate_expired", "expired", id="expired, TLS 1.3"),
]


@pytest.mark.parametrize(("kind", "version", "alert", "reason"), CASES)
def test_openssl_hears_the_alert_that_explains_it(
    guarded: Guarded, kind: str, version: str, alert: str, reason: str
) -> None:
    openssl = need("openssl")
    identity = stranger(guarded, kind)
    with guarded.refuses(seen(reason, identity)):
        ended = run(
            [
                *(openssl, "s_client", "-connect", f"127.0.0.1:{guarded.port}", "-servername", "localhost"),
                *("-CAfile", guarded.files.ca, f"-tls{version.replace('.', '_')}", "-quiet"),
                *(("-cert", identity.cert, "-key", identity.key) if identity else ()),
            ],
            text="payload\n",
        )
    assert ALERTS[alert] in ended.stderr


@pytest.mark.parametrize(("kind", "version", "alert", "reason"), CASES)
def test_curl_hears_the_alert_that_explains_it(
    guarded: Guarded, kind: str, version: str, alert: str, reason: str
) -> None:
    curl = need("curl")
    identity = stranger(guarded, kind)
    with guarded.refuses(seen(reason, identity)):
        ended = run(
            [
                *(curl, "-sS", "-o", "-", "--cacert", guarded.files.ca, f"https://localhost:{guarded.port}/"),
                *("--tlsv1.2", "--tls-max", version, "--ipv4", "--noproxy", "*"),
                *(("--cert", identity.cert, "--key", identity.key) if identity else ()),
            ]
        )
    if ended.returncode == 60:  # inside a handshake, curl has words of its own for this one alert
        assert (alert, version) == ("certificate_expired", "1.2")
        assert "SSL certificate verification failed" in ended.stderr
    else:
        assert ended.returncode in (35, 56)
        assert ALERTS[alert] in ended.stderr


def seen(reason: str, identity: Written | None) -> Sign:
    """The log names the certificate, if one came."""
    failure = handshake_failure(reason)
    certificate = r".*peer_subject=.*peer_sha256=[0-9a-f]{64}" if identity else ""
    return Sign(failure.metric, failure.labels, failure.line + certificate, reason)
