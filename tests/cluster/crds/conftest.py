"""An API server that knows both kinds, and a quick way to ask it."""

import re
from collections.abc import Iterator

import pytest

from support.crds import DOMAINS, TUNNELS, Door
from support.kube import Kube
from support.processes import Child


@pytest.fixture(scope="session")
def kinds(api_server: Kube) -> Kube:
    """An API server that serves MtlsTunnel and MtlsTrustDomain: so it has accepted both CRDs, CEL cost included."""
    for file in (TUNNELS, DOMAINS):
        api_server.apply(file.read_text(encoding="utf-8"))
    for name in ("mtlstunnels", "mtlstrustdomains"):
        api_server("wait", "--for=condition=Established", f"crd/{name}.mtlstunnel.dev", "--timeout=30s")
    api_server.wait(
        lambda: api_server("get", "mtlstunnels,mtlstrustdomains", "-A") is not None, "both kinds are served"
    )
    return api_server


@pytest.fixture(scope="session")
def door(kinds: Kube) -> Iterator[Door]:
    with Child(kinds.command("proxy", "--port=0")) as proxy:
        line = proxy.wait_for_line("Starting to serve on")
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found
        yield Door(found[0])
