"""What an injected pod looks like, and that everything else in it is as it came."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection.patch import Injection, inject
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.model.revision import revision
from support.raw_pods import DEFAULTS, container, patched, raw_pod
from support.tunnel_resources import space, tunnel


def injected(pod: Any, *tunnels: Tunnel, **changed: Any) -> Injection:
    """*pod* with its parts in *tunnels*, in namespace shop."""
    seen = space("shop", accepts=("billing",))
    account = pod["spec"].get("serviceAccountName", "default")
    parts = parts_of(seen, pod["metadata"]["labels"], account, tunnels or (tunnel(),))
    return inject(pod, parts, seen, changed.get("defaults", DEFAULTS))


def test_the_whole_pod_of_a_server() -> None:
    pod = raw_pod()
    result = injected(pod)

    folder = names.volume_id("shop", "orders-db", "server")
    parts = parts_of(space("shop"), {"app": "postgres"}, "default", [tunnel()])
    probe = {"httpGet": {"path": "/readyz", "port": 15971, "scheme": "HTTP"}}
    assert result.pod == {
        **pod,
        "metadata": {
            "generateName": "postgres-",
            "labels": {
                "app": "postgres",
                "mtlstunnel.dev/injected": "true",
                "server.mtlstunnel.dev/orders-db": "true",
            },
            "annotations": {
                "mtlstunnel.dev/tunnels": "shop/orders-db",
                "mtlstunnel.dev/revision": revision(parts, "default", DEFAULTS),
            },
        },
        "spec": {
            **pod["spec"],
            "initContainers": [
                {
                    "name": "mtls-tunnel",
                    "image": "registry.example/mtls-tunnel:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": [
                        "run",
                        "-c",
                        "/etc/mtls-tunnel",
                        "--process",
                        f"/etc/mtls-tunnel/{folder}/process-15971.yaml",
                    ],
                    "restartPolicy": "Always",
                    "env": [
                        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                        {"name": "SA", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
                    ],
                    "ports": [
                        {"name": "mtls-admin", "containerPort": 15971, "protocol": "TCP"},
                        {"containerPort": 15432, "protocol": "TCP"},
                    ],
                    "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 120},
                    "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
                    "livenessProbe": {
                        "httpGet": {"path": "/healthz", "port": 15971, "scheme": "HTTP"},
                        "periodSeconds": 20,
                        "timeoutSeconds": 5,
                        "failureThreshold": 6,
                    },
                    "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}, "limits": {"memory": "128Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [
                        {
                            "name": f"mtls-tunnel-{folder}",
                            "mountPath": f"/etc/mtls-tunnel/{folder}",
                            "readOnly": True,
                        },
                        {
                            "name": "mtls-tunnel-no-token",
                            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                            "readOnly": True,
                        },
                    ],
                }
            ],
            "volumes": [
                {
                    "name": f"mtls-tunnel-{folder}",
                    "projected": {
                        "defaultMode": 0o444,
                        "sources": [
                            # First: where both have a key, the Secret's file is the one that is there.
                            {"configMap": {"name": "orders-db-mtls-server", "optional": False}},
                            {
                                "secret": {
                                    "name": "orders-db-mtls-server",
                                    "items": [
                                        {"key": "tls.crt", "path": "tls.crt"},
                                        {"key": "tls.key", "path": "tls.key"},
                                        {"key": "ca.crt", "path": "ca.crt"},
                                    ],
                                    "optional": False,
                                }
                            },
                        ],
                    },
                },
                {"name": "mtls-tunnel-no-token", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            ],
        },
    }
    assert patched(pod, result.ops) == result.pod
    assert result.warnings == ()


def test_pain_02_the_sidecar_is_the_first_init_container_and_its_start_is_awaited() -> None:
    migrations = {"name": "migrate", "image": "m"}
    result = injected(raw_pod(initContainers=[migrations]))

    first, second = result.pod["spec"]["initContainers"]
    assert (first["name"], first["restartPolicy"], second) == ("mtls-tunnel", "Always", migrations)
    assert first["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_pain_01_a_job_keeps_its_only_container_so_that_it_completes() -> None:
    job = raw_pod("orders-api", restartPolicy="Never", containers=[{"name": "report", "image": "r"}])
    result = injected(job)

    assert result.pod["spec"]["containers"] == job["spec"]["containers"]
    assert container(result.pod)["restartPolicy"] == "Always"
    assert result.warnings == ()


def test_pain_03_a_native_sidecar_is_no_container_that_logs_or_exec_would_take() -> None:
    result = injected(raw_pod())

    assert [one["name"] for one in result.pod["spec"]["containers"]] == ["db"]
    assert names.DEFAULT_CONTAINER_ANNOTATION not in result.pod["metadata"]["annotations"]


def test_pain_03_a_classic_container_stands_last_and_the_default_is_the_application() -> None:
    result = injected(raw_pod(), tunnel(proxy={"injection": "Container"}))

    assert [one["name"] for one in result.pod["spec"]["containers"]] == ["db", "mtls-tunnel"]
    assert "initContainers" not in result.pod["spec"]
    assert "restartPolicy" not in container(result.pod)
    assert result.pod["metadata"]["annotations"][names.DEFAULT_CONTAINER_ANNOTATION] == "db"


def test_pain_03_a_default_container_that_the_user_chose_stays() -> None:
    pod = raw_pod()
    pod["metadata"]["annotations"] = {names.DEFAULT_CONTAINER_ANNOTATION: "other"}

    result = injected(pod, tunnel(proxy={"injection": "Container"}))

    assert result.pod["metadata"]["annotations"][names.DEFAULT_CONTAINER_ANNOTATION] == "other"


@pytest.mark.parametrize("mode", ["NativeSidecar", "Container"])
def test_pain_05_there_is_no_pre_stop_hook(mode: str) -> None:
    assert "lifecycle" not in container(injected(raw_pod(), tunnel(proxy={"injection": mode})).pod)


def test_pain_16_volumes_are_mounted_as_whole_directories() -> None:
    assert all("subPath" not in mount for mount in container(injected(raw_pod()).pod)["volumeMounts"])


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"limits": {"memory": "64Mi"}}, id="a limit"),
        pytest.param({"requests": {"memory": "64Mi"}}, id="one request"),
    ],
)
def test_pain_20_cpu_and_memory_are_always_requested_or_limited(asked: Any) -> None:
    found = container(injected(raw_pod(), tunnel(proxy={"resources": asked})).pod)["resources"]

    assert {"cpu", "memory"} <= {**found.get("limits", {}), **found["requests"]}.keys()
    assert "memory" not in found["requests"] or "limits" not in asked, "a default request might exceed the limit"


def test_pain_21_an_autoscaler_finds_requests_whatever_the_resource_says_of_limits() -> None:
    asked = {"limits": {"cpu": "1"}}
    assert container(injected(raw_pod(), tunnel(proxy={"resources": asked})).pod)["resources"] == {
        "requests": {"memory": "40Mi"},  # that of cpu is its limit: the API server fills it in
        "limits": {"cpu": "1"},
    }


def test_pain_22_probes_of_the_application_and_of_other_sidecars_are_left_alone() -> None:
    probed = {"name": "db", "image": "d", "livenessProbe": {"httpGet": {"path": "/", "port": 5432}}}
    mesh = {"name": "mesh", "image": "m", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 15021}}}
    pod = raw_pod(containers=[probed], initContainers=[mesh])

    result = injected(pod)

    assert result.pod["spec"]["containers"] == [probed]
    assert result.pod["spec"]["initContainers"][1] == mesh


def test_one_sidecar_serves_several_tunnels_and_the_server_leads() -> None:
    ledger = tunnel("ledger", server=_server(9000, 19000, {"app": "ledger"}), clients=[_client("pg", 9999, "grpc")])
    pod = raw_pod()

    result = injected(pod, ledger, tunnel())

    server, client = names.volume_id("shop", "orders-db", "server"), names.volume_id("shop", "ledger", "client", "pg")
    sidecar = container(result.pod)
    assert sidecar["args"][-1] == f"/etc/mtls-tunnel/{server}/process-15971.yaml"
    assert [mount["mountPath"].rpartition("/")[2] for mount in sidecar["volumeMounts"]][:2] == [server, client]
    assert result.pod["metadata"]["annotations"][names.TUNNELS_ANNOTATION] == "shop/orders-db,shop/ledger"
    assert [key for key in result.pod["metadata"]["labels"] if key.startswith("server.")] == [
        "server.mtlstunnel.dev/orders-db"
    ]


def test_another_admin_port_is_asked_by_probes_and_read_from_a_file_of_its_own() -> None:
    sidecar = container(injected(raw_pod(), tunnel(observability={"adminPort": 16000})).pod)

    assert sidecar["args"][-1].endswith("/process-16000.yaml")
    assert {sidecar[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        16000
    }
    assert sidecar["ports"][0] == {"name": "mtls-admin", "containerPort": 16000, "protocol": "TCP"}


def test_a_client_of_a_tunnel_elsewhere_mounts_the_copies_of_its_own_namespace() -> None:
    far = tunnel(
        "bills",
        "billing",
        clients=[{**_client("shop", 7000, "pg"), "namespaces": {"from": "Names", "names": ["shop"]}}],
    )

    result = injected(raw_pod(), far)

    sources = result.pod["spec"]["volumes"][0]["projected"]["sources"]
    expected = names.object_name("bills", "client", "shop", namespace="billing")
    assert {sources[0]["configMap"]["name"], sources[1]["secret"]["name"]} == {expected}
    assert result.pod["metadata"]["annotations"][names.TUNNELS_ANNOTATION] == "billing/bills"


def test_each_service_account_has_its_own_certificate_where_the_tunnel_says_so() -> None:
    workload = {"selector": {"matchLabels": {"app": "postgres"}}, "serviceAccounts": ["db", "backup"]}
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}]
    per_account = tunnel(
        server={"workload": workload, "ports": ports}, clients=[], certificate={"subject": "PerServiceAccount"}
    )

    found = {
        injected(raw_pod(serviceAccountName=account), per_account).pod["spec"]["volumes"][0]["projected"]["sources"][1][
            "secret"
        ]["name"]
        for account in ("db", "backup")
    }

    assert len(found) == 2


def test_files_belong_to_the_group_of_the_pod_if_it_has_one() -> None:
    result = injected(raw_pod(securityContext={"fsGroup": 2000}))

    assert result.pod["spec"]["volumes"][0]["projected"]["defaultMode"] == 0o440


def test_the_platform_may_assign_the_numbers() -> None:
    defaults = replace(DEFAULTS, run_as_user=None, run_as_group=None)
    context = container(injected(raw_pod(), defaults=defaults).pod)["securityContext"]

    assert {"runAsUser", "runAsGroup"}.isdisjoint(context)
    assert context["runAsNonRoot"] is True


def test_a_tunnel_chooses_an_image_only_among_those_that_are_allowed() -> None:
    allowed = injected(raw_pod(), tunnel(proxy={"image": "registry.example/mtls-tunnel:2"}))
    refused = injected(raw_pod(), tunnel(proxy={"image": "evil.example/miner:1"}))

    assert container(allowed.pod)["image"] == "registry.example/mtls-tunnel:2"
    assert container(refused.pod)["image"] == "registry.example/mtls-tunnel:1"
    assert "evil.example/miner:1" in refused.warnings[0]


@pytest.mark.parametrize(
    ("pod", "proxy", "warned"),
    [
        pytest.param(raw_pod(terminationGracePeriodSeconds=10), {}, "terminationGracePeriodSeconds 10", id="grace"),
        pytest.param(raw_pod(), {"drainTimeoutSeconds": 30}, "drainTimeoutSeconds 30", id="default grace"),
        pytest.param(
            raw_pod(restartPolicy="OnFailure"), {"injection": "Container"}, "never completes", id="classic in a Job"
        ),
    ],
)
def test_what_will_not_end_well_is_said_at_once(pod: Any, proxy: Any, warned: str) -> None:
    (warning,) = injected(pod, tunnel(proxy=proxy)).warnings
    assert warned in warning


def test_settings_of_a_tunnel_that_does_not_lead_are_named_as_ignored() -> None:
    second = tunnel(
        "ledger",
        server=_server(9000, 19000, {"app": "ledger"}),
        clients=[_client("pg", 9999, "grpc")],
        proxy={"image": "registry.example/mtls-tunnel:9"},
    )

    result = injected(raw_pod(), tunnel(), second)

    assert container(result.pod)["image"] == "registry.example/mtls-tunnel:1"
    assert any("shop/ledger are ignored: tunnel shop/orders-db leads" in warning for warning in result.warnings)


def test_the_pod_that_came_is_not_changed() -> None:
    pod = raw_pod(volumes=[{"name": "v", "emptyDir": {}}], initContainers=[{"name": "i", "image": "i"}])
    before = copy.deepcopy(pod)

    injected(pod)

    assert pod == before


def _server(target: int, tls: int, labels: Any) -> Any:
    ports = [{"name": "grpc", "targetPort": target, "tlsPort": tls}]
    return {"workload": {"selector": {"matchLabels": labels}}, "ports": ports}


def _client(name: str, local: int, port: str) -> Any:
    listeners = [{"port": port, "localPort": local}]
    return {"name": name, "selector": {"matchLabels": {"app": "postgres"}}, "listeners": listeners}
