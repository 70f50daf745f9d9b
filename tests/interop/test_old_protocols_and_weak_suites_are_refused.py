"""What TLS left behind stays there: old versions, CBC and NULL suites, compression, renegotiation, early data.

OpenSSL's own client is told to offer each of them, with its security level lowered so that it does.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import context, refusal
from support.guarded import Guarded, handshake_failure
from support.processes import run
from support.tools import need


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


def s_client(guarded: Guarded, *options: str, text: str = "payload\n") -> str:
    """Everything that `openssl s_client` with the good client's certificate has to say."""
    ended = run(
        [
            *(need("openssl"), "s_client", "-connect", f"127.0.0.1:{guarded.port}", "-servername", "localhost"),
            *("-CAfile", guarded.files.ca, "-cert", guarded.files.client.cert, "-key", guarded.files.client.key),
            *options,
        ],
        text=text,
    )
    return ended.stdout + ended.stderr


OLD = [
    pytest.param(("-tls1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_version", id="TLS 1.0"),
    pytest.param(("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_version", id="TLS 1.1"),
    pytest.param(
        ("-tls1_2", "-cipher", "AES128-SHA:AES256-SHA256:@SECLEVEL=0"),
        "no_shared_cipher",
        id="CBC with RSA key exchange",
    ),
    pytest.param(("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"), "no_shared_cipher", id="CBC"),
    pytest.param(("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"), "no_shared_cipher", id="NULL"),
    pytest.param(("-tls1_2", "-cipher", "AES128-CCM8:@SECLEVEL=0"), "no_shared_cipher", id="a short tag"),
]


@pytest.mark.parametrize(("options", "reason"), OLD)
def test_nothing_old_is_spoken(guarded: Guarded, options: tuple[str, ...], reason: str) -> None:
    with guarded.refuses(handshake_failure(reason)):
        s_client(guarded, *options)


def test_a_client_of_tls_1_2_is_refused_where_1_3_is_demanded(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"tls": {"min_version": "TLS1.3"}}) as guarded:
        tls = context(guarded.files, guarded.files.client, version="1.2")
        with guarded.refuses(handshake_failure("protocol_version")):
            assert refusal(guarded.port, tls) in ("protocol_version", "tlsv1_alert_protocol_version")


def test_compression_is_not_agreed_to(guarded: Guarded) -> None:
    assert "Compression: NONE" in s_client(guarded, "-comp", "-tls1_2", text="")


def test_renegotiation_is_refused(guarded: Guarded) -> None:
    said = s_client(guarded, "-tls1_2", text="R\n")
    assert "no renegotiation" in said


def test_early_data_is_not_taken(guarded: Guarded, tmp_path: Path) -> None:
    session, early = tmp_path / "session.pem", tmp_path / "early"
    early.write_bytes(b"early payload\n")
    said = s_client(guarded, "-tls1_3", "-sess_out", str(session), text="are you there?\n")
    assert "Max Early Data: 0" in said or "Early data was not sent" in said
    if session.exists():
        again = s_client(guarded, "-tls1_3", "-sess_in", str(session), "-early_data", str(early), text="")
        assert "Early data was accepted" not in again
