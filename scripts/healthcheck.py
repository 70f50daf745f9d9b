"""HEALTHCHECK of the image: exit 0 while the tunnel does its work, else 1 and one line that says why.

The check cannot know which configuration the container was started with, so it asks the kernel first:
does a process of this user listen at all?  If one listens on the health address (TUNNEL_ADMIN, default
127.0.0.1:9000), its /healthz decides; where `health` is off, a bound listener is the proof.  No connection
is made to a tunnel's own port: it would be a failed handshake in its log.

Only the standard library, started with -I -S: it runs every half minute beside the tunnel.
"""

import contextlib
import http.client
import os
import sys
from pathlib import Path

LISTEN = "0A"  # include/net/tcp_states.h
DEFAULT_ADMIN = "127.0.0.1:9000"


def main(proc: Path = Path("/proc")) -> str:
    """Return what is wrong, or "" if nothing is."""
    ports = listening(proc)
    if not ports:
        return "nothing listens"
    admin = os.environ.get("TUNNEL_ADMIN", DEFAULT_ADMIN)
    host, _, port = admin.rpartition(":")
    if int(port) not in ports:
        return ""
    asking = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=3)
    try:
        asking.request("GET", "/healthz")
        status = asking.getresponse().status
        return "" if status == 200 else f"/healthz answered {status}"
    except (OSError, http.client.HTTPException) as error:
        return f"http://{admin}/healthz: {error}"


def listening(proc: Path) -> set[int]:
    """Return the TCP ports on which processes that this user may look into listen."""
    owned: set[str] = set()
    for folder in proc.glob("[0-9]*/fd"):
        # Another user's cannot be listed; a descriptor may be closed between the listing and the look.
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    owned.add(os.readlink(folder / name))
    ports: set[int] = set()
    for table in ("tcp", "tcp6"):
        file = proc / "net" / table
        rows = file.read_text().splitlines()[1:] if file.exists() else []
        for row in map(str.split, rows):
            if row[3] == LISTEN and f"socket:[{row[9]}]" in owned:
                ports.add(int(row[1].rpartition(":")[2], 16))
    return ports


if __name__ == "__main__":
    if problem := main():
        sys.exit(problem)
