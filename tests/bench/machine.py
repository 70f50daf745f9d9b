"""What a figure was measured on: processor, kernel, cores, limits; and what the proxies agreed on with a client."""

import os
import platform
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.peers import find, said
from bench.streams import GROUP, HOST, SERVER_NAME, SUITE

_TICKET_SECONDS = 0.5
_WANTED_DESCRIPTORS = 65_536


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts for the head of the report."""

    processor: str
    cores: int
    kernel: str
    virtual: str
    descriptors: int
    python: str
    openssl_of_ends: str


def describe() -> Machine:
    """Read what this machine says of itself."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpu, re.MULTILINE)
    return Machine(
        processor=model[1] if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        virtual="yes" if re.search(r"^flags\s*:.*\bhypervisor\b", cpu, re.MULTILINE) else "no",
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        python=platform.python_version(),
        openssl_of_ends=said(sys.executable, "-c", "import ssl; print(ssl.OPENSSL_VERSION)").strip(),
    )


def raise_descriptor_limit() -> int:
    """Ask for enough descriptors for 10,000 connections; return how many connections a proxy can hold now.

    A connection costs a proxy two descriptors, and stunnel takes at most 125 clients for every 256 of them.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, _WANTED_DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, PermissionError):  # only a privileged process may go beyond the hard limit
        wanted = hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (wanted * 125 // 256 - 50) // 100 * 100


def negotiated(port: int, certificates: Path) -> str:
    """Return suite, group and number of tickets as `openssl s_client` sees them on *port*."""
    argv = [
        *(find("openssl"), "s_client", "-connect", f"{HOST}:{port}", "-servername", SERVER_NAME, "-msg"),
        *("-ciphersuites", SUITE, "-groups", GROUP, "-CAfile", str(certificates / "ca.pem")),
        *("-cert", str(certificates / "client.pem"), "-key", str(certificates / "client-key.pem")),
    ]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as client:
        time.sleep(_TICKET_SECONDS)  # s_client ends with its input, and the tickets come after the handshake
        text, _ = client.communicate(timeout=10)
    suite = re.search(r"Cipher is (\S+)", text)
    group = re.search(r"(?:Temp Key|group): (\w+)", text)
    tickets = len(re.findall(r"<<< .*NewSessionTicket", text))
    return f"{suite[1] if suite else '?'}, {group[1] if group else '?'}, {tickets} ticket{'s' * (tickets != 1)}"
