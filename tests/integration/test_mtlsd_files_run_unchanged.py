"""An mtlsd user's two files, unchanged, with `tunnel -config`: the same lines, endpoints, metrics and signals.

The story is mtlsd's own quick start, step by step, in one test: each step stands on the one before.
"""

import shutil
import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from support.clients import connect, plain, read_exactly
from support.processes import REPOSITORY, Child, run
from support.scrape import get, samples
from support.tools import need, need_free_ports
from support.tunnels import ENVIRONMENT, PROGRAM, RELOADED, WATCHED, command
from support.waiting import eventually

EXAMPLES = REPOSITORY / "tunnel" / "examples"
CERTS = "testdata/certs"
SERVER_STARTS = [
    'level=INFO msg="mtlsd starting" mode=server',
    f'level=INFO msg="certificates loaded" cert={CERTS}/server.pem key={CERTS}/server-key.pem ca={CERTS}/ca.pem',
    'level=INFO msg="listener: serving mTLS" listen=0.0.0.0:8443 target=127.0.0.1:8080',
    'level=INFO msg="health server listening" addr=127.0.0.1:9000',
    'level=INFO msg="metrics server listening" addr=127.0.0.1:9001',
    'level=INFO msg="certstore: watching files for changes" '
    f"cert={CERTS}/server.pem key={CERTS}/server-key.pem ca={CERTS}/ca.pem",
]
CLIENT_STARTS = [
    'level=INFO msg="mtlsd starting" mode=client',
    f'level=INFO msg="certificates loaded" cert={CERTS}/client.pem key={CERTS}/client-key.pem ca={CERTS}/ca.pem',
    'level=INFO msg="dialer: listening" listen=127.0.0.1:9080 server=127.0.0.1:8443',
]


@contextmanager
def mtlsd_quick_start(folder: Path) -> Iterator[dict[str, Child]]:
    """The four terminals of mtlsd's quick start."""
    made = command("certs", "quickstart", CERTS, cwd=folder)
    assert made.returncode == 0, made.stderr
    for name in ("server.yaml", "client.yaml"):
        shutil.copy(EXAMPLES / name, folder / name)
    with ExitStack() as stack:

        def start(name: str, *argv: str | Path) -> Child:
            running[name] = stack.enter_context(Child(argv, cwd=folder, env=ENVIRONMENT))
            return running[name]

        running: dict[str, Child] = {}
        echo = start("echo", sys.executable, EXAMPLES / "echo-server.py", "-addr", "127.0.0.1:8080")
        echo.wait_for_line('level=INFO msg="echo server listening" addr=127.0.0.1:8080')
        start("server", *PROGRAM, "-config", "server.yaml").wait_for_line("watching files for changes")
        start("client", *PROGRAM, "-config=client.yaml").wait_for_line("dialer: listening")
        relay = start("relay", sys.executable, EXAMPLES / "test-client.py")
        relay.wait_for_line('msg="test-client listening" listen=127.0.0.1:7070 tunnel=127.0.0.1:9080')
        yield running


def without_time(lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines]


def test_the_quick_start_of_mtlsd_holds_line_by_line(tmp_path: Path) -> None:
    nc = need("nc", "netcat-openbsd")
    need_free_ports(7070, 8080, 8443, 9000, 9001, 9080)
    with mtlsd_quick_start(tmp_path) as running:
        server, client = running["server"], running["client"]
        assert without_time(server.lines)[: len(SERVER_STARTS)] == SERVER_STARTS
        assert without_time(client.lines)[: len(CLIENT_STARTS)] == CLIENT_STARTS

        answer = run([nc, "-N", "127.0.0.1", "7070"], text="hello mtlsd\n")
        assert answer.stdout == "echo: hello mtlsd\n"
        server.wait_for_line(r'^time=\S+ level=INFO msg="listener: accepted connection" peer_cn=frontend-service')
        client.wait_for_line(r'^time=\S+ level=INFO msg="dialer: connected" server=127.0.0.1:8443')

        endpoints_answer()
        a_copied_certificate_is_noticed(server, tmp_path)
        sighup_reloads(server)
        sighup_reloads(client)
        sigterm_waits_for_an_open_connection(server, client)


def endpoints_answer() -> None:
    assert get(9000, "/healthz").body.strip() == '{"status":"alive"}'
    assert get(9000, "/readyz").body.strip() == '{"status":"ready"}'
    assert get(9000, "/certz").body.startswith('{"days_left":')
    assert list(get(9000, "/certz").json()) == ["days_left", "not_after"]
    eventually(lambda: samples(9001).value("mtlsd_active_connections") == 0, "the first connection has ended")
    seen = samples(9001)
    assert seen.value("mtlsd_connections_total") == 1
    assert seen.value("mtlsd_bytes_proxied_total", direction="client_to_target") == len("hello mtlsd\n")
    assert seen.value("mtlsd_bytes_proxied_total", direction="target_to_client") == len("echo: hello mtlsd\n")
    assert seen.value("mtlsd_acl_decisions_total", result="allow") == 1
    assert seen.value("mtlsd_dial_errors_total") == 0
    assert seen.value("mtlsd_connection_duration_seconds_count") == 1
    assert seen.value("mtlsd_tls_handshake_duration_seconds_count") == 1


def a_copied_certificate_is_noticed(server: Child, folder: Path) -> None:
    """`cp /new/certs/server.pem testdata/certs/server.pem`: one file, so it was renewed for the same key."""
    renewed = renewed_for_the_same_key(folder / CERTS)
    (folder / "new.pem").write_bytes(renewed.public_bytes(Encoding.PEM))
    shutil.copy(folder / "new.pem", folder / CERTS / "server.pem")
    server.wait_for_line(f"level=INFO {WATCHED}")
    tls = ssl.create_default_context(cafile=folder / CERTS / "ca.pem")
    tls.load_cert_chain(folder / CERTS / "client.pem", folder / CERTS / "client-key.pem")
    with connect(8443, tls) as connection:
        assert connection.getpeercert(binary_form=True) == renewed.public_bytes(Encoding.DER)


def renewed_for_the_same_key(certs: Path) -> x509.Certificate:
    old = x509.load_pem_x509_certificate((certs / "server.pem").read_bytes())
    authority = x509.load_pem_x509_certificate((certs / "ca.pem").read_bytes())
    key = load_pem_private_key((certs / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    again = (
        x509.CertificateBuilder(extensions=list(old.extensions))
        .subject_name(old.subject)
        .issuer_name(authority.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    return again.sign(key, hashes.SHA256())


def sighup_reloads(tunnel: Child) -> None:
    before = len(tunnel.lines)
    tunnel.signal(signal.SIGHUP)
    tunnel.wait_for_line(f" {RELOADED}", after=before)
    received, reloaded = 'level=INFO msg="received SIGHUP, reloading certificates"', f"level=INFO {RELOADED}"
    said = [line for line in without_time(tunnel.lines[before:]) if line in (received, reloaded)]
    assert said == [received, reloaded]


def sigterm_waits_for_an_open_connection(server: Child, client: Child) -> None:
    with plain(9080) as caller:
        caller.sendall(b"one\n")
        assert read_exactly(caller, 10) == b"echo: one\n"
        server.signal(signal.SIGTERM)
        eventually(lambda: get(9000, "/readyz").status == 503, "not ready while draining")
        assert get(9000, "/healthz").status == 200
        caller.sendall(b"two\n")
        assert read_exactly(caller, 10) == b"echo: two\n"
        assert server.alive
    assert server.wait() == 0
    client.signal(signal.SIGTERM)
    assert client.wait() == 0
