"""What a sidecar loads and holds: a running tunnel has in memory what it serves with, and little else.

Which modules were loaded is asked of the interpreter (PYTHONPROFILEIMPORTTIME makes it list each import).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.guarded import Guarded
from support.procfs import rss_bytes
from support.scrape import get
from support.tunnels import Tunnel
from support.waiting import eventually

IMPORTED = re.compile(r"import time:\s+\d+ \|\s+\d+ \|\s*(\S+)")

# Never, whatever is configured: the operator's world, the other commands, and what only a mistake needs.
NEVER = (
    *("kopf", "kubernetes", "aiohttp", "mtls_tunnel_operator"),
    *("mtls_tunnel.app.certs", "mtls_tunnel.app.check", "mtls_tunnel.app.demo", "mtls_tunnel.app.status"),
    *("mtls_tunnel.config.dump", "mtls_tunnel.tls.probe", "mtls_tunnel.trust.pki"),
    *("difflib", "doctest", "multiprocessing", "pdb", "pydoc", "sqlite3", "unittest", "xml"),
)
# Only to render metrics.
FOR_METRICS = (
    *("prometheus_client", "mtls_tunnel.observe.exposition"),
    *("email.message", "html", "http.client", "http.server", "platform", "urllib.request", "wsgiref"),
)
# About 45 MB where this was written, 20 MB of them pages of shared libraries; the kernel decides how many of
# those count, so this bound only catches what has grown by a library.
GENEROUS_BYTES = 56 << 20


@contextmanager
def running(folder: Path, settings: Mapping[str, Any]) -> Iterator[Tunnel]:
    """A tunnel that serves, and lists what it imports on standard error."""
    with Guarded(folder, settings, env={"PYTHONPROFILEIMPORTTIME": "1"}) as guarded:
        # Loaded last of all, by the file watch.
        eventually(lambda: "mtls_tunnel.trust.ears" in imported(guarded.tunnel), "the files are watched")
        yield guarded.tunnel


def imported(tunnel: Tunnel) -> set[str]:
    return {found[1] for line in list(tunnel.errors) if (found := IMPORTED.match(line))}


def of(names: tuple[str, ...], modules: set[str]) -> list[str]:
    """Those of *modules* that are one of *names* or lie inside one."""
    return sorted(module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names))


@pytest.mark.parametrize("metrics", [True, False], ids=["with metrics", "without metrics"])
def test_it_loads_only_what_it_serves_with(tmp_path: Path, metrics: bool) -> None:
    with running(tmp_path, {"metrics": {"enabled": metrics}}) as tunnel:
        assert get(tunnel.admin, "/readyz").status == 200
        assert get(tunnel.admin, "/metrics").status == (200 if metrics else 404)
        modules = imported(tunnel)
    assert {"asyncio", "OpenSSL", "yaml", "mtls_tunnel.app.server"} <= modules
    assert of(NEVER, modules) == []
    assert bool(of(FOR_METRICS[:2], modules)) is metrics
    if not metrics:
        assert of(FOR_METRICS, modules) == []


def test_its_memory_stays_within_a_generous_bound(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        assert get(guarded.tunnel.admin, "/metrics").status == 200
        assert rss_bytes(guarded.tunnel.pid) < GENEROUS_BYTES
