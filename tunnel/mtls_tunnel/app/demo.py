"""`tunnel demo`: the whole story on this machine, each step checked as it happens.

    caller -> client tunnel -> (mutual TLS) -> server tunnel -> echo backend

Everything lives in a temporary directory and on loopback ports that the kernel picks, and is gone
afterwards.  A step that does not happen as promised ends the demo with exit code 1.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mtls_tunnel.app import demo_stage as stage
from mtls_tunnel.app.demo_stage import NotAsPromised, Stage

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

SERVER = """\
mode: server
listen: "127.0.0.1:{tls_port}"
target: "127.0.0.1:{backend_port}"
tls: {{cert: pki/server.pem, key: pki/server-key.pem, ca: pki/ca.pem, crl: pki/crl.pem}}
acl: {{allow_cn: [frontend-service]}}
health: {{enabled: true, listen: "127.0.0.1:{admin_port}"}}
metrics: {{enabled: true, listen: "127.0.0.1:{admin_port}"}}
"""

CLIENT = """\
mode: client
listen: "127.0.0.1:{plain_port}"
target: "127.0.0.1:{tls_port}"
tls: {{cert: pki/client.pem, key: pki/client-key.pem, ca: pki/ca.pem, server_name: localhost}}
"""


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "demo",
        help="certificates, two tunnels, real traffic, refused clients, a reload and a revocation, on this machine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", metavar="DIR", help="work in DIR (made anew) and leave the files there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell the story; 0 when every step held."""
    with contextlib.ExitStack() as cleanup:
        if args.keep:
            folder = Path(args.keep).resolve()
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tunnel-demo-")))
        here = cleanup.enter_context(Stage(folder))
        for number, (title, step) in enumerate(STORY, start=1):
            print(f"\n{number}. {title}", flush=True)
            try:
                step(here)
            except NotAsPromised as error:
                print(f"   NOT AS PROMISED: {error}", flush=True)
                here.show_logs()
                return 1
    print(f"\nAll {len(STORY)} steps held. Next: tunnel certs --help, tunnel run --help.", flush=True)
    return 0


def _say(text: str) -> None:
    print(f"   {text}", flush=True)


def _certs(here: Stage, *words: str) -> None:
    from mtls_tunnel.app.cli import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as complaint:
        code = main(["certs", *words])
    if code:
        raise NotAsPromised(f"tunnel certs {' '.join(words)}: {complaint.getvalue().strip()}")
    _say("$ tunnel certs " + " ".join(word.replace(f"{here.folder}/", "") for word in words))


def make_certificates(here: Stage) -> None:
    pki = str(here.folder / "pki")
    _certs(here, "quickstart", pki)
    _certs(here, "issue", pki, "batch", "--cn", "batch-service", "--client")
    _certs(here, "init", str(here.folder / "foreign"))
    _certs(here, "issue", str(here.folder / "foreign"), "client", "--cn", "frontend-service", "--client")
    _certs(here, "crl", pki)
    _say("a CA, a server, a client (CN frontend-service), another service, and a foreign CA with the same name")


def start_tunnels(here: Stage) -> None:
    here.start_backend()
    here.start_tunnel("server", SERVER)
    here.start_tunnel("client", CLIENT)
    _say(f"echo backend on 127.0.0.1:{here.backend_port}, which knows nothing of TLS")
    _say(f"server tunnel on 127.0.0.1:{here.tls_port} (mutual TLS only), client tunnel on 127.0.0.1:{here.plain_port}")


def send_traffic(here: Stage) -> None:
    answer = here.ask(b"hello mtls\n")
    stage.expect(answer == b"echo: hello mtls\n", f"the answer through both tunnels was {answer!r}")
    _say(f"plain TCP in, plain TCP out, mutual TLS between: {answer.decode().strip()!r}")
    here.wait_for_log("server", "accepted connection")
    _say(here.last_log("server", "accepted connection"))


def refuse_strangers(here: Stage) -> None:
    pki, foreign = here.folder / "pki", here.folder / "foreign"
    for title, cert, word in (
        ("no certificate", None, "reason=no_certificate"),
        ("same name, foreign CA", foreign / "client.pem", "reason=unknown_ca"),
        ("known CA, not on the list", pki / "batch.pem", "acl: connection denied"),
    ):
        before = here.backend_connections
        said = here.refused(cert)
        here.wait_for_log("server", word)
        stage.expect(here.backend_connections == before, f"{title}: the backend saw a connection")
        _say(f"{title}: {said}; the backend saw nothing")
        _say("  " + here.last_log("server", word))


def replace_certificate(here: Stage) -> None:
    old = here.server_serial()
    with here.conversation() as live:
        stage.expect(live.ask(b"before\n") == b"echo: before\n", "the open connection did not answer before the reload")
        _certs(
            here,
            "issue",
            str(here.folder / "pki"),
            "server",
            "--dns",
            "localhost",
            "--ip",
            "127.0.0.1",
            "--server",
            "--force",
        )
        here.wait_until(lambda: here.server_serial() != old, "the new certificate was not served")
        stage.expect(live.ask(b"after\n") == b"echo: after\n", "the open connection did not survive the reload")
    _say(
        f"serial {old[:12]}... became {here.server_serial()[:12]}... on the next handshake; the open connection went on"
    )


def revoke_client(here: Stage) -> None:
    with here.conversation() as live:
        stage.expect(
            live.ask(b"still here\n") == b"echo: still here\n", "the client did not get through before its revocation"
        )
        _certs(here, "revoke", str(here.folder / "pki"), "client")
        _certs(here, "crl", str(here.folder / "pki"))
        here.wait_until(live.is_closed, "the live connection of the revoked client was not cut")
    here.wait_for_log("server", "no longer authorized")
    _say("the live connection was cut: " + here.last_log("server", "no longer authorized"))
    stage.expect(here.ask(b"again\n") == b"", "a revoked client got through")
    _say("and a new one is refused inside the handshake")


def read_metrics(here: Stage) -> None:
    for line in here.metrics("mtlsd_connections_total", "mtlsd_acl_decisions_total", "mtlsd_handshake_failures_total"):
        _say(line)
    here.stop_tunnels()
    _say("both tunnels drained and ended with exit code 0")


STORY: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("Certificates", make_certificates),
    ("A backend and two tunnels", start_tunnels),
    ("An application's traffic, unchanged", send_traffic),
    ("Clients that are refused", refuse_strangers),
    ("A new certificate without a restart", replace_certificate),
    ("A revocation cuts the live connection", revoke_client),
    ("What the server counted", read_metrics),
)
