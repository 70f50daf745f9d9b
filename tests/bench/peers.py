"""The four proxies, configured alike: what each is told, how it is started and which versions it reports.

Alike means: one worker; TLS 1.3 only; a certificate demanded of the other side, its name checked in client mode;
64 KiB buffers where the program has a setting (stunnel's 18 KiB are fixed when it is compiled); tickets as each issues
them by default; no access log; timeouts out of reach.  The suite and the group come from the ends (certificates.py).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.streams import HOST, SERVER_NAME

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE_PATH = REPOSITORY / "tunnel"
_SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
_PACKAGES = "apt-get install haproxy nginx libnginx-mod-stream stunnel4 openssl util-linux"
_MODULES = re.compile(r"--modules-path=(\S+)")

Mode = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What one instance of a proxy needs to know."""

    mode: Mode
    listen: int
    target: int
    certificates: Path
    folder: Path  # its own, for its configuration and what it writes
    connections: int
    admin: int = 0  # a port for the endpoints that the tunnel serves in a pod

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy that can be started: *command* writes the configuration and returns the arguments."""

    name: str
    title: str
    command: Callable[[Setup], list[str]]
    version: Callable[[], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    buffers: str = "64 KiB"


def find(program: str) -> str:
    """Return the path of *program*, also from the folders of system daemons.  FileNotFoundError names the package."""
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed: {_PACKAGES}")
    return path


def said(*argv: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command that prints something and return it, both outputs together."""
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return done.stdout


def _versions(text: str, own: str) -> list[str]:
    """The program's *own* version and the OpenSSL it runs with, which each names after the one it was built with."""
    found = re.search(own, text)
    return [*([found[0]] if found else []), *re.findall(r"OpenSSL \d\S+", text)[-1:]]


def _haproxy(setup: Setup) -> list[str]:
    own = "server" if setup.mode == "server" else "client"
    tls = f"ssl crt {setup.certificates}/{own}-both.pem ca-file {setup.certificates}/ca.pem verify required"
    inbound = f" {tls} ssl-min-ver TLSv1.3" if setup.mode == "server" else ""
    outbound = (
        f" {tls} ssl-min-ver TLSv1.3 sni str({SERVER_NAME}) verifyhost {SERVER_NAME}" if setup.mode == "client" else ""
    )
    text = f"""global
  nbthread 1
  maxconn {setup.connections}
  tune.bufsize 65536
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend bench
  bind {HOST}:{setup.listen}{inbound}
  default_backend application
backend application
  server one {HOST}:{setup.target}{outbound}
"""
    return [find("haproxy"), "-db", "-f", str(setup.write("haproxy.cfg", text))]


def _nginx(setup: Setup) -> list[str]:
    tls = f"""ssl_protocols TLSv1.3;
    ssl_certificate {setup.certificates}/server.pem;
    ssl_certificate_key {setup.certificates}/server-key.pem;
    ssl_client_certificate {setup.certificates}/ca.pem;
    ssl_verify_client on;"""
    outbound = f"""proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate {setup.certificates}/client.pem;
    proxy_ssl_certificate_key {setup.certificates}/client-key.pem;
    proxy_ssl_trusted_certificate {setup.certificates}/ca.pem;
    proxy_ssl_verify on;
    proxy_ssl_server_name on;
    proxy_ssl_name {SERVER_NAME};"""
    server = setup.mode == "server"
    text = f"""load_module {_nginx_modules()}/ngx_stream_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * setup.connections + 200};
pid {setup.folder}/nginx.pid;
error_log stderr crit;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections {2 * setup.connections + 100}; }}
stream {{
  server {{
    listen {HOST}:{setup.listen}{" ssl" if server else ""} backlog=4096;
    {tls if server else outbound}
    proxy_pass {HOST}:{setup.target};
    proxy_buffer_size 64k;
    proxy_timeout 1h;
  }}
}}
"""
    return [find("nginx"), "-p", str(setup.folder), "-e", "stderr", "-c", str(setup.write("nginx.conf", text))]


def _nginx_modules() -> str:
    """Where this build keeps its dynamic modules; distributions differ."""
    match = _MODULES.search(said(find("nginx"), "-V"))
    return match[1] if match else "/usr/lib/nginx/modules"


def _stunnel(setup: Setup) -> list[str]:
    own = "server" if setup.mode == "server" else "client"
    client = f"client = yes\nsni = {SERVER_NAME}\ncheckHost = {SERVER_NAME}" if setup.mode == "client" else ""
    text = f"""foreground = yes
pid =
syslog = no
debug = crit
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[bench]
accept = {HOST}:{setup.listen}
connect = {HOST}:{setup.target}
{client}
cert = {setup.certificates}/{own}.pem
key = {setup.certificates}/{own}-key.pem
CAfile = {setup.certificates}/ca.pem
verifyChain = yes
requireCert = yes
sslVersionMin = TLSv1.3
libwrap = no
TIMEOUTidle = 3600
"""
    return [find("stunnel"), str(setup.write("stunnel.conf", text))]


def _tunnel(setup: Setup, python: str) -> list[str]:
    own = "server" if setup.mode == "server" else "client"
    name = f"\n  server_name: {SERVER_NAME}" if setup.mode == "client" else ""
    endpoints = f"{{enabled: true, listen: '{HOST}:{setup.admin}'}}"
    text = f"""mode: {setup.mode}
listen: "{HOST}:{setup.listen}"
target: "{HOST}:{setup.target}"
tls:
  cert: {setup.certificates}/{own}.pem
  key: {setup.certificates}/{own}-key.pem
  ca: {setup.certificates}/ca.pem
  min_version: TLS1.3{name}
proxy: {{idle_timeout: 1h, max_connections: {setup.connections}}}
health: {endpoints}
metrics: {endpoints}
logging: {{level: warn, access: none}}
expiry: {{warn_days: 1, critical_days: 1}}
"""
    return [python, "-m", "mtls_tunnel", "run", "-c", str(setup.write("tunnel.yaml", text))]


def tunnel(python: str) -> Peer:
    """The project's own tunnel under the interpreter *python*."""
    path = {"PYTHONPATH": str(PACKAGE_PATH)}
    libraries = (
        "import sys, OpenSSL as o, cryptography as c; print(*sys.version.split()[:1], o.__version__, c.__version__)"
    )

    def version() -> list[str]:
        words = said(python, "-c", libraries).split()
        own = _versions(said(python, "-m", "mtls_tunnel", "version", env=path), r"\A[^\n]+")
        named = zip(("Python", "pyOpenSSL", "cryptography"), words, strict=False)
        return [*own[:1], *(f"{name} {number}" for name, number in named), *own[1:]]

    return Peer("tunnel", "mtls-tunnel", lambda setup: _tunnel(setup, python), version, path)


def others() -> list[Peer]:
    """The proxies that the tunnel is compared with."""
    return [
        Peer(
            "haproxy",
            "HAProxy",
            _haproxy,
            lambda: _versions(said(find("haproxy"), "-vv"), r"HAProxy version \S+"),
        ),
        Peer(
            "nginx",
            "nginx stream",
            _nginx,
            lambda: _versions(said(find("nginx"), "-V"), r"nginx/\S+"),
        ),
        Peer(
            "stunnel",
            "stunnel",
            _stunnel,
            lambda: _versions(said(find("stunnel"), "-version"), r"stunnel \d\S+"),
            buffers="18 KiB, fixed",
        ),
    ]
