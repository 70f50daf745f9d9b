"""HAProxy, nginx stream and stunnel as the other end of a tunnel: mutual TLS, in either role.

Each maker writes a configuration into a folder and returns the command that runs it in the foreground, with
one plain and one TLS side.  `side` says which of the two it listens on: "server" takes mutual TLS and speaks
plain TCP behind it, "client" takes plain TCP and dials mutual TLS with the name `localhost`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from support.pki import Folder
from support.ports import free_port, listening
from support.processes import Child
from support.tools import need, need_file
from support.waiting import eventually

Side = Literal["server", "client"]
Maker = Callable[[Path, Folder, Side, int, str], list[str]]


@contextmanager
def peer(maker: Maker, folder: Path, files: Folder, side: Side, target: str) -> Iterator[int]:
    """Run one; the value is the port that it listens on."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with Child(maker(folder, files, side, port, target), new_session=True) as child:

        def up() -> bool:
            assert child.alive, child.output
            return listening(port)

        eventually(up, f"{child.argv[0]} listens on {port}")
        yield port


def haproxy(folder: Path, files: Folder, side: Side, port: int, target: str) -> list[str]:
    program = need("haproxy")
    identity = files.server if side == "server" else files.client
    both = folder / "both.pem"
    both.write_bytes(Path(identity.cert).read_bytes() + Path(identity.key).read_bytes())
    tls = f"ssl crt {both} ca-file {files.ca} verify required"
    bind = f"bind 127.0.0.1:{port}" + (f" {tls}" if side == "server" else "")
    server = f"server it {target}" + (f" {tls} sni str(localhost) verifyhost localhost" if side == "client" else "")
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  nbthread 1\n  maxconn 200\n"
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 300s\n  timeout server 300s\n"
        "  timeout client-fin 300s\n  timeout server-fin 300s\n"
        f"listen it\n  {bind}\n  {server}\n"
    )
    return [program, "-db", "-q", "-f", str(config)]


def nginx(folder: Path, files: Folder, side: Side, port: int, target: str) -> list[str]:
    program = need("nginx")
    module = need_file("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream")
    if side == "server":
        tls = (
            f"ssl_certificate {files.server.cert}; ssl_certificate_key {files.server.key};"
            f" ssl_client_certificate {files.ca}; ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;"
        )
    else:
        tls = (
            f"proxy_ssl on; proxy_ssl_certificate {files.client.cert}; proxy_ssl_certificate_key {files.client.key};"
            f" proxy_ssl_trusted_certificate {files.ca}; proxy_ssl_verify on; proxy_ssl_name localhost;"
            " proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        )
    config = folder / "nginx.conf"
    config.write_text(
        f"load_module {module};\ndaemon off;\nmaster_process off;\nworker_processes 1;\n"
        f"pid {folder}/nginx.pid;\nerror_log stderr warn;\nevents {{ worker_connections 400; }}\n"
        "stream {\n  proxy_half_close on;\n  proxy_timeout 300s;\n"
        f"  server {{ listen 127.0.0.1:{port}{' ssl' if side == 'server' else ''}; proxy_pass {target}; {tls} }}\n}}\n"
    )
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]


def stunnel(folder: Path, files: Folder, side: Side, port: int, target: str) -> list[str]:
    program = need("stunnel4")
    identity = files.server if side == "server" else files.client
    config = folder / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\nsyslog = no\ndebug = warning\n[it]\naccept = 127.0.0.1:{port}\nconnect = {target}\n"
        f"cert = {identity.cert}\nkey = {identity.key}\nCAfile = {files.ca}\nverifyChain = yes\nTIMEOUTclose = 300\n"
        + ("client = yes\nsni = localhost\ncheckHost = localhost\n" if side == "client" else "requireCert = yes\n")
    )
    return [program, str(config)]
