"""`ulimit -n 64` and two hundred clients: no spinning, no crash, and when they leave it goes on by itself."""

import time
from contextlib import ExitStack
from pathlib import Path

from support.clients import plain
from support.guarded import Guarded
from support.procfs import cpu_seconds
from support.scrape import get
from support.waiting import eventually

CLIENTS = 200
LIMITED = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")


def test_accepting_backs_off_and_recovers(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"proxy": {"handshake_timeout": "60s"}}, wrapper=LIMITED) as guarded:
        guarded.greet()
        guarded.tunnel.wait_until_idle()
        descriptors = guarded.tunnel.descriptors
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                stack.enter_context(plain(guarded.port))
            eventually(lambda: guarded.tunnel.descriptors >= 50, "the limit is felt")
            used, since = cpu_seconds(guarded.tunnel.pid), time.monotonic()
            assert get(guarded.tunnel.admin, "/healthz").status == 200
            eventually(lambda: time.monotonic() - since > 3, "three seconds at the limit")
            spent = (cpu_seconds(guarded.tunnel.pid) - used) / (time.monotonic() - since)
            assert spent < 0.25, "it spins"
            assert guarded.tunnel.alive
        guarded.greet()
        guarded.tunnel.wait_until_idle()
        guarded.tunnel.wait_for_descriptors(descriptors)
