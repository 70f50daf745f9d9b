"""The router that the chart installs has a configuration that the tunnel takes, from files that are mounted."""

from typing import Any

import pytest

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Tunnel
from support import charts

FILE = {"enabled": True, "tlsSecretName": "tls", "routesSecretName": "routes"}
DATABASE = {
    "enabled": True,
    "tlsSecretName": "tls",
    "environmentSecretName": "password",
    "store": {"type": "postgresql", "db_host": "postgres.db.svc"},
    "settings": {"acl": {"deny_cn": ["nobody"]}, "proxy": {"max_connections": 10000}},
}


def rendered(router: dict[str, Any]) -> tuple[Tunnel, dict[str, Any]]:
    """The configuration, read by the program, and the pod that it is for."""
    found = {charts.label(one): one for one in charts.render({"crds": {"enabled": False}, "router": router})}
    text = found["ConfigMap mtls-tunnel-router"]["data"]["router.yaml"]
    loaded = load([Source("router.yaml", text)])
    assert loaded.warnings == ()
    (tunnel,) = loaded.config.tunnels
    return tunnel, found["Deployment mtls-tunnel-router"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("router", [pytest.param(FILE, id="file"), pytest.param(DATABASE, id="PostgreSQL")])
def test_every_file_that_it_names_is_mounted_and_every_port_is_open(router: dict[str, Any]) -> None:
    tunnel, pod = rendered(router)
    (container,) = pod["containers"]
    assert tunnel.router is not None
    store = tunnel.router.store
    named = [tunnel.tls.cert, tunnel.tls.key, *tunnel.tls.ca, container["args"][-1]]
    named += [store.file] if store.type == "file" else []
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [name for name in named if name.rpartition("/")[0] not in mounted] == []
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert tunnel.listen.port in {port["containerPort"] for port in container["ports"]}


def test_what_is_said_beside_counts() -> None:
    tunnel, pod = rendered(DATABASE)
    assert tunnel.router is not None
    assert (tunnel.router.store.type, tunnel.router.store.db_host) == ("postgresql", "postgres.db.svc")
    assert (tunnel.proxy.max_connections, tunnel.acl.deny.cn) == (10000, ("nobody",))
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "password"}}]


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    names = [charts.label(one) for one in charts.render({"crds": {"enabled": False}})]
    assert [name for name in names if "router" in name] == []


def test_the_certificates_must_be_named() -> None:
    with pytest.raises(charts.Refused, match="tlsSecretName"):
        charts.render({"router": {"enabled": True}})
