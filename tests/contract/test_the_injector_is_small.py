"""What the injector loads and holds: no kopf, no Kubernetes client library, and little memory with many tunnels."""

import re
from pathlib import Path

from support.injectors import Injector
from support.kube_api import cluster
from support.procfs import rss_bytes
from support.raw_pods import raw_pod
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually

IMPORTED = re.compile(r"import time:\s+\d+ \|\s+\d+ \|\s*(\S+)")
NEVER = (
    *("kopf", "kubernetes", "jinja2", "jsonpatch", "multiprocessing", "unittest"),
    *("mtls_tunnel.app", "mtls_tunnel.flow", "mtls_tunnel.observe", "mtls_tunnel.tls"),
    *("mtls_tunnel_operator.control", "mtls_tunnel_operator.authority", "mtls_tunnel_operator.desired"),
)
GOAL_BYTES = 80_000_000
TUNNELS = 1000


def test_pain_18_a_thousand_tunnels_fit_and_nothing_of_the_operator_is_loaded(tmp_path: Path) -> None:
    store = cluster("shop", *(f"team-{number}" for number in range(20)))
    store.put(tunnel_raw())
    for number in range(TUNNELS):
        store.put(tunnel_raw(f"tunnel-{number}", f"team-{number % 20}"))
    injector = Injector(tmp_path, store)
    injector.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    with injector:
        assert "patch" in injector.review(raw_pod())
        assert f'cache_objects{{kind="tunnels"}} {TUNNELS + 1}.0' in injector.scrape()

        loaded = {found[1] for line in injector.child.errors if (found := IMPORTED.search(line))}
        assert "mtls_tunnel_operator.injection.server" in loaded
        assert [name for name in loaded if name in NEVER or name.startswith(tuple(f"{one}." for one in NEVER))] == []
        assert eventually(lambda: rss_bytes(injector.child.pid), "its memory") < GOAL_BYTES
        listed = {one.ref.plural for one in injector.api.asked()}
        assert "pods" not in listed, "it needs no right to see pods"
