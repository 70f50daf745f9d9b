"""Whatever a resource says, the sidecar's files load without an error or a warning, and mean what it says."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtls_tunnel.config.load import Loaded, Source, load
from mtls_tunnel.config.schema import Address, Config
from mtls_tunnel.config.schema import Tunnel as Listener
from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired import config
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.injection.patch import inject
from mtls_tunnel_operator.model.kinds import ref_of
from mtls_tunnel_operator.model.parts import Part, parts_of, parts_of_tunnel
from mtls_tunnel_operator.model.resources import Tunnel
from support.generated_tunnels import FEDERATED, peers, tunnels
from support.raw_pods import DEFAULTS, raw_pod
from support.tunnel_resources import NOON, space, tunnel, tunnel_raw

many = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def loaded(parts: list[Part], given_peers: Peers) -> Loaded:
    """The parts of one pod, as its sidecar reads them: the first one leads."""
    sources = [
        Source.of_directory(
            f"{names.MOUNT_ROOT}/{part.volume_id}/tunnel.yaml", config.tunnel_yaml(part, given_peers).encode()
        )
        for part in parts
    ]
    strict = Source("process.yaml", f"strict: true\n{config.process_yaml(parts[0])}")
    return load(sources, process=strict)


def only(made: Tunnel, role: str = "server") -> tuple[Listener, ...]:
    """The listeners of the only part with this role."""
    part = next(part for part in parts_of_tunnel(made) if part.role == role)
    return loaded([part], Peers("cluster.local", spaces={"api": ("shop",)})).config.tunnels


@many
@given(st.data())
def test_every_part_of_every_resource_loads_strictly_and_without_a_warning(data: st.DataObject) -> None:
    made = data.draw(tunnels())
    given_peers = data.draw(peers(made))

    for part in parts_of_tunnel(made):
        found = loaded([part], given_peers)

        assert found.warnings == ()
        ports = len(part.client.listeners) if part.client else len(made.ports)
        assert len(found.config.tunnels) == ports
        watched = Address("", made.observability.admin_port)
        assert (found.config.health.listen, found.config.metrics.listen) == (watched, watched)
        assert found.config.health.enabled
        assert found.config.metrics.enabled


@many
@given(st.data())
def test_files_that_a_configuration_names_are_in_the_volume(data: st.DataObject) -> None:
    made = data.draw(tunnels())
    given_peers = data.draw(peers(made))

    for part in parts_of_tunnel(made):
        there = {"tls.crt", "tls.key", "ca.crt", *config.bundle_files(part, given_peers)}
        for listener in loaded([part], given_peers).config.tunnels:
            tls = listener.tls
            paths = [tls.cert, tls.key, *tls.ca, *(path for domain in tls.trust for path in domain.ca)]
            assert {path.rpartition("/")[0] for path in paths} == {f"{names.MOUNT_ROOT}/{part.volume_id}"}
            assert {path.rpartition("/")[2] for path in paths} <= there


@many
@given(st.lists(tunnels(), min_size=2, max_size=4), st.data())
def test_parts_in_several_resources_load_together(several: list[Tunnel], data: st.DataObject) -> None:
    unique = {made.key: made for made in several}
    parts = [part for made in unique.values() for part in parts_of_tunnel(made)]
    asked = Counter(port for part in parts for port in _ports(part))
    pod = sorted((part for part in parts if all(asked[port] == 1 for port in _ports(part))), key=lambda p: p.sort_key)
    if not pod:
        return

    given_peers = data.draw(peers(pod[0].tunnel))
    found = loaded(pod, given_peers)

    assert found.warnings == ()
    assert len(found.config.tunnels) == sum(len(_ports(part)) for part in pod)


def _ports(part: Part) -> list[int]:
    if part.client is None:
        return [port.tls_port for port in part.tunnel.ports]
    return [listener.local_port for listener in part.client.listeners]


def test_the_server_of_one_tunnel_and_client_of_two_others_is_one_process() -> None:
    server = parts_of_tunnel(tunnel())[0]
    twin = [{**tunnel_raw()["spec"]["clients"][0], "listeners": [{"port": "pg", "localPort": 6432}]}]
    others = [tunnel("ledger"), tunnel("orders-db", "payments", clients=twin)]
    parts = [server, *(parts_of_tunnel(other)[1] for other in others)]

    found = loaded(parts, Peers("cluster.local"))

    assert [(one.name, one.mode, str(one.listen), str(one.target)) for one in found.config.tunnels] == [
        ("shop.orders-db.server.15432", "server", ":15432", "127.0.0.1:5432"),
        ("shop.ledger.client.api.5432", "client", "localhost:5432", "ledger.shop.svc.cluster.local:15432"),
        (
            "payments.orders-db.client.api.6432",
            "client",
            "localhost:6432",
            "orders-db.payments.svc.cluster.local:15432",
        ),
    ]


@many
@given(st.data())
def test_what_is_planned_holds_what_was_rendered(data: st.DataObject) -> None:
    made = data.draw(tunnels())
    given_peers = data.draw(peers(made))
    world = World(given_peers, pod_monitors=True)

    planned = plan(made, world, NOON)

    for manifest in planned.apply:
        if manifest["kind"] == "ConfigMap":
            assert load([Source("tunnel.yaml", manifest["data"]["tunnel.yaml"])]).config.tunnels
            assert names.process_file(made.observability.admin_port) in manifest["data"]
    there = World(given_peers, objects={ref_of(one): one for one in planned.apply}, pod_monitors=True)
    again = plan(made, there, NOON + 5)
    assert (again.apply, again.delete, again.wake_at) == ((), (), None)


def test_limits_mean_what_the_resource_says() -> None:
    proxy = {
        "maxConnections": 7,
        "dialTimeoutSeconds": 3,
        "handshakeTimeoutSeconds": 4,
        "idleTimeoutSeconds": 0,
        "drainTimeoutSeconds": 11,
    }

    limits = only(tunnel(proxy=proxy))[0].proxy

    assert (limits.max_connections, limits.dial_timeout_seconds, limits.handshake_timeout_seconds) == (7, 3.0, 4.0)
    assert (limits.idle_timeout_seconds, limits.shutdown_timeout_seconds) == (0.0, 11.0)


def test_no_drain_is_no_wait_where_the_tunnels_own_zero_is_a_wait_without_end() -> None:
    assert 0 < only(tunnel(proxy={"drainTimeoutSeconds": 0}))[0].proxy.shutdown_timeout_seconds < 0.01


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, ("info", "denied")),
        ({"logLevel": "Debug", "accessLog": "All"}, ("debug", "all")),
        ({"logLevel": "Warning", "accessLog": "None"}, ("warn", "none")),
        ({"logLevel": "Error"}, ("error", "denied")),
    ],
)
def test_the_log_is_as_the_leading_resource_says(said: dict[str, str], meant: tuple[str, str]) -> None:
    found = loaded([parts_of_tunnel(tunnel(observability=said))[0]], Peers("cluster.local")).config.logging

    assert (found.level, found.access) == meant


@pytest.mark.parametrize(
    ("seconds", "days"), [(300, (0, 0)), (86400, (0, 0)), (30 * 86400, (5, 1)), (31536000, (30, 7))]
)
def test_a_leaf_of_a_day_is_not_reported_as_about_to_expire(seconds: int, days: tuple[int, int]) -> None:
    part = parts_of_tunnel(tunnel(certificate={"durationSeconds": seconds}))[0]

    expiry = loaded([part], Peers("cluster.local")).config.expiry

    assert (expiry.warn_days, expiry.critical_days) == days


def test_a_pod_made_with_another_admin_port_keeps_its_own() -> None:
    before = plan(tunnel(), World(Peers("cluster.local")), NOON).apply[0]
    world = World(Peers("cluster.local"), objects={ref_of(before): before})

    after = plan(tunnel(observability={"adminPort": 16000, "logLevel": "Debug"}), world, NOON).apply[0]

    ports = {}
    for file in (key for key in after["data"] if key.startswith("process")):
        config_of: Config = load(
            [Source("tunnel.yaml", after["data"]["tunnel.yaml"])], process=Source(file, after["data"][file])
        ).config
        ports[file] = (config_of.health.listen.port, config_of.logging.level)
    assert ports == {
        "process-15971.yaml": (15971, "debug"),
        "process-16000.yaml": (16000, "debug"),
    }


def test_a_leaf_of_another_trust_domain_must_chain_to_that_domains_own_ca() -> None:
    part = parts_of_tunnel(tunnel())[0]
    found = loaded([part], Peers("cluster.local", federated=FEDERATED)).config.tunnels[0].tls
    folder = f"{names.MOUNT_ROOT}/{part.volume_id}"

    assert found.ca == (f"{folder}/ca.crt",)
    assert [(one.domain, one.ca) for one in found.trust] == [
        ("dr.example", (f"{folder}/federated-0.crt",)),
        ("corp.example", (f"{folder}/federated-1.crt",)),
    ]


@pytest.mark.parametrize(("asked", "rendered"), [("VersionTLS12", "TLS1.2"), ("VersionTLS13", "TLS1.3")])
def test_the_oldest_tls_version_is_the_resources(asked: str, rendered: str) -> None:
    for role in ("server", "client"):
        assert only(tunnel(proxy={"minTLSVersion": asked}), role)[0].tls.min_version == rendered


def external(**fields: object) -> Tunnel:
    ports = [{"name": "pg", "tlsPort": 5433}]
    return tunnel(server={"type": "External", "external": {"host": "db.example.com", **fields}, "ports": ports})


def test_an_external_server_is_dialed_and_verified_by_its_name() -> None:
    found = only(external(), "client")[0]

    assert (str(found.target), found.tls.server_name, found.tls.server_uri) == (
        "db.example.com:5433",
        "db.example.com",
        (),
    )


def test_an_external_server_may_have_another_name_a_spiffe_id_and_a_ca() -> None:
    made = external(
        serverName="pg.example.com", spiffeID="spiffe://dr.example/ns/db/sa/pg", caBundleRef={"name": "bundle"}
    )
    part = parts_of_tunnel(made)[0]
    found = loaded([part], Peers("cluster.local", server_ca="PEM")).config.tunnels[0]

    assert (str(found.target), found.tls.server_name) == ("db.example.com:5433", "pg.example.com")
    assert found.tls.server_uri == ("spiffe://dr.example/ns/db/sa/pg",)
    assert found.tls.ca == (f"{names.MOUNT_ROOT}/{part.volume_id}/server-ca.crt",)
    assert config.bundle_files(part, Peers("cluster.local", server_ca="PEM")) == {"server-ca.crt": "PEM"}


def test_every_file_that_an_injected_pod_reads_is_planned() -> None:
    made = tunnel(observability={"adminPort": 16000})
    pod = inject(raw_pod(), parts_of(space(), {"app": "postgres"}, "", [made]), space(), DEFAULTS).pod
    (sidecar,) = (one for one in pod["spec"]["initContainers"] if one["name"] == names.CONTAINER)
    sources = [volume["projected"]["sources"] for volume in pod["spec"]["volumes"] if "projected" in volume]
    objects = {
        one["metadata"]["name"]: one
        for one in plan(made, World(Peers("cluster.local", spaces={"api": ("shop",)})), NOON).apply
        if one["kind"] == "ConfigMap"
    }

    (mounted,) = (source["configMap"]["name"] for listed in sources for source in listed if "configMap" in source)

    files = objects[mounted]["data"]
    assert "tunnel.yaml" in files
    assert sidecar["args"][-1].rpartition("/")[2] in files
