"""`tunnel certs show` of files: certificates, chains, bundles, CRLs, PEM and DER, and what is none of these."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_tunnel.app import certs_text
from mtls_tunnel.app.cli import main
from support.clock import NOW
from support.pki import Authority, Folder

Show = Callable[[Path], str]


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority(now=NOW)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    def call(path: Path) -> str:
        assert main(["certs", "show", str(path)]) == 0
        return capsys.readouterr().out

    return call


def lines(ca: Authority, *, days: float, since_days: float = -1, now: float = NOW) -> str:
    leaf = ca.leaf("web", dns=("web.example",), days=days, since_days=since_days)
    return "\n".join(certs_text.certificates([leaf.certificate], now))


def test_a_certificate_is_shown_with_names_purpose_dates_and_fingerprint(ca: Authority) -> None:
    uri = "spiffe://example.org/web"
    leaf = ca.leaf("web", org=("Example",), dns=("web.example",), ip=("10.0.0.1",), uri=(uri,), days=90).certificate
    assert list(certs_text.certificates([leaf], NOW)) == [
        "1. CN=web,O=Example",
        "   issuer       CN=Test Root,O=Test",
        "   names        DNS web.example, IP 10.0.0.1, URI spiffe://example.org/web",
        "   purpose      TLS server, TLS client",
        "   key          ECDSA secp256r1",
        "   valid        2026-11-20T12:00:00Z to 2027-02-19T12:00:00Z (90 days left)",
        f"   serial       {leaf.serial_number:x}",
        f"   sha256       {leaf.fingerprint(hashes.SHA256()).hex()}",
    ]


@pytest.mark.parametrize(
    ("days", "since_days", "text"),
    [
        (90.9, -1, "(90 days left)"),
        (1, -1, "(1 day left)"),
        (0.5, -1, "(12 h 0 min left)"),
        (-3, -10, "(EXPIRED 3 days ago)"),
        (30, 2, "(not valid yet, begins in 2 days: is a clock wrong?)"),
    ],
    ids=["rounded down", "one day", "hours", "expired", "not yet valid"],
)
def test_days_left_are_said_in_words(ca: Authority, days: float, since_days: float, text: str) -> None:
    assert text in lines(ca, days=days, since_days=since_days)


def test_a_certificate_without_san_is_said_to_be_refused(ca: Authority) -> None:
    shown = "\n".join(certs_text.certificates([ca.cn_only().certificate], NOW))
    assert "names        none: no subject alternative name" in shown


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ((0, 1, 2), "order: right"),
        ((0, 2, 1), "order: wrong, the chain is 1, 3, 2"),
        ((1, 2, 0), "order: wrong, the leaf is number 3"),
        ((0, 3), "order: broken, not part of the chain of the first: 2"),
        ((2, 3), "order: none, a bundle of CAs"),
    ],
    ids=["right", "intermediates swapped", "leaf last", "a stranger", "bundle"],
)
def test_the_order_of_a_chain_is_judged(ca: Authority, order: tuple[int, ...], text: str) -> None:
    below = ca.intermediate()
    pool = [below.leaf("web").certificate, below.certificate, ca.certificate, Authority("Other", now=NOW).certificate]
    shown = list(certs_text.certificates([pool[number] for number in order], NOW))
    assert shown[-1].startswith(text)


def test_control_characters_in_names_do_not_reach_the_terminal(ca: Authority) -> None:
    leaf = ca.leaf("\x1b[2Jweb\u2028", dns=("\x1b]0;owned\x07.example",)).certificate
    shown = "".join(certs_text.certificates([leaf], NOW))
    assert shown.isprintable()


def test_a_crl_is_shown_with_its_serials(ca: Authority) -> None:
    shown = list(certs_text.crl(ca.crl(255, number=3, hours=48), NOW))
    assert shown == [
        "CRL of CN=Test Root,O=Test",
        "   made         2026-11-21T11:00:00Z",
        "   next update  2026-11-23T12:00:00Z (2 days left)",
        "   number       3",
        "   revoked      1",
        "                ff at 2026-11-21T11:00:00Z",
    ]


def test_a_long_crl_is_cut(ca: Authority) -> None:
    shown = list(certs_text.crl(ca.crl(*range(1, 31)), NOW))
    assert shown[-1].strip() == "and 10 more"


def test_files_in_pem_and_der_are_shown(tmp_path: Path, show: Show) -> None:
    files = Folder(tmp_path)
    files.put("cert.der", files.server_credential.certificate.public_bytes(Encoding.DER))
    files.put("crl.der", files.authority.crl(files.client_credential).public_bytes(Encoding.DER))
    files.put("both.pem", files.client_credential.cert_pem + files.client_credential.key_pem)
    first = {name: show(tmp_path / name).splitlines()[0] for name in ("server.pem", "cert.der", "crl.der", "both.pem")}
    assert first == {
        "server.pem": f"{tmp_path}/server.pem: 1 certificate",
        "cert.der": f"{tmp_path}/cert.der: 1 certificate",
        "crl.der": f"{tmp_path}/crl.der: 1 CRL",
        "both.pem": f"{tmp_path}/both.pem: 1 certificate, 1 private key (not shown)",
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"hello", "the file holds no PEM block"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", "the file is incomplete"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "certificate 1 of 1 does not parse"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", "holds no certificate"),
        (b"\x30\x82\x01\x00garbage", "neither a certificate nor a CRL"),
    ],
    ids=["empty", "text", "cut", "broken", "request", "odd DER"],
)
def test_what_is_no_certificate_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, complaint: str
) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    assert main(["certs", "show", str(path)]) == 2
    assert complaint in capsys.readouterr().err


def test_what_is_neither_file_nor_address_is_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "show", str(tmp_path / "none.pem")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none.pem: no such file\n"


def test_a_key_is_counted_and_not_shown(tmp_path: Path, show: Show) -> None:
    files = Folder(tmp_path)
    shown = show(Path(files.server.key))
    assert shown == f"{files.server.key}: 1 private key (not shown)\n"


def test_a_file_without_an_end_is_not_read_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "show", "/dev/zero"]) == 2
    assert capsys.readouterr().err == "/dev/zero: larger than 64 MiB\n"
