"""What the chart tells the programs, they understand: flags, the ConfigMap of defaults, ports, names."""

from typing import Any

import pytest

from mtls_tunnel_operator.app.cli import parser_of
from mtls_tunnel_operator.app.hook import WEBHOOK
from mtls_tunnel_operator.settings import Defaults, defaults_of
from support import charts

RUN = charts.merged(charts.MATRIX["two namespaces"], {"rbac": {"certManager": True, "podMonitors": True}})


def containers(values: charts.Values) -> dict[str, dict[str, Any]]:
    specs = charts.pod_specs(charts.render(values))
    return {name.partition(" ")[2].rpartition("/")[2]: spec["containers"][0] for name, spec in specs.items()}


def parsed(container: dict[str, Any]) -> dict[str, Any]:
    words = [word.replace("$(POD_NAMESPACE)", charts.NAMESPACE) for word in container["args"]]
    return vars(parser_of(words).parse_args(words))


@pytest.mark.parametrize("case", charts.MATRIX)
def test_every_command_line_is_one_that_the_program_takes(case: str) -> None:
    for container in containers(charts.MATRIX[case]).values():
        if container["name"] == "router":
            continue  # the tunnel's own program, and its own test
        assert parsed(container)["command"] == container["args"][0]


def test_the_operator_is_told_where_and_how_to_work() -> None:
    args = parsed(containers(RUN)["mtls-tunnel-operator"])
    wanted = {
        "namespace": charts.NAMESPACE,
        "name": "mtls-tunnel",
        "scope": "Namespaces",
        "watch_namespaces": "shop,bank",
        "secrets": "GetOnly",
        "optional_kinds": "certificates,podmonitors",
        "lease_name": "mtls-tunnel-operator",
        "webhook_name": "mtls-tunnel",
        "webhook_service": "mtls-tunnel-injector",
        "webhook_certificate": "Operator",
        "log_level": "info",
        "log_format": "json",
    }
    assert {key: args[key] for key in wanted} == wanted


@pytest.mark.parametrize("part", ["operator", "injector"])
def test_probes_services_and_flags_agree_on_the_ports(part: str) -> None:
    ports = {"health": 18080, "metrics": 18081} | ({"webhook": 19443} if part == "injector" else {})
    values = {part: {"ports": ports}}
    container = containers(values)[f"mtls-tunnel-{part}"]
    args = parsed(container)
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == ports
    assert (args["health_listen"][1], args["metrics_listen"][1]) == (18080, 18081)
    assert args["listen"][1] == 19443 if part == "injector" else "listen" not in args
    assert [container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")] == [
        {"path": "/healthz", "port": "health"},
        {"path": "/readyz", "port": "health"},
    ]
    service = charts.named(charts.render(values), "Service", f"mtls-tunnel-{part}")
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()


def defaults(values: charts.Values) -> Defaults:
    entries = charts.named(charts.render(values), "ConfigMap", "mtls-tunnel-defaults")["data"]
    read, problems = defaults_of(entries, operator_namespace=charts.NAMESPACE, last=None)
    assert problems == ()
    return read


def test_the_defaults_of_the_chart_are_those_of_the_programs() -> None:
    built_in = Defaults(sidecar_image="mtls-tunnel:0.1.0", trust_domain_spec={"ca": {"type": "SelfSigned"}})
    assert defaults({}) == built_in


def test_every_default_can_be_set() -> None:
    values = {
        "sidecar": {
            "image": {"registry": "r.example", "repository": "t", "tag": "2", "pullPolicy": "Always"},
            "allowedImages": ["r.example/*"],
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": None, "cpu": "2"}},
            "runAsUser": None,
            "runAsGroup": 1000740000,
            "injection": "Container",
        },
        "clusterDomain": "corp.internal",
        "trustDomain": {
            "create": False,
            "name": "corp",
            "domain": "corp.example",
            "ca": {"mode": "CertManager", "issuerRef": {"kind": "Issuer", "name": "root"}},
            "spec": {"maxLeafDurationSeconds": 86400, "ca": {"durationSeconds": 31536000}},
        },
        "operator": {"maxConcurrentRollouts": 1000000},
    }
    assert defaults(values) == Defaults(
        sidecar_image="r.example/t:2",
        sidecar_pull_policy="Always",
        allowed_images=("r.example/*",),
        sidecar_resources={"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "2"}},
        run_as_user=None,
        run_as_group=1000740000,
        injection="Container",
        cluster_domain="corp.internal",
        trust_domain_name="corp",
        trust_domain="corp.example",
        trust_domain_create=False,
        trust_domain_spec={
            "ca": {
                "type": "CertManager",
                "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": "root"},
                "durationSeconds": 31536000,
            },
            "maxLeafDurationSeconds": 86400,
        },
        max_concurrent_rollouts=1000000,
        operator_namespace=charts.NAMESPACE,
    )


def test_images_by_digest_and_from_a_mirror() -> None:
    values = charts.MATRIX["corporate"]
    digest = f"sha256:{'0' * 64}"
    assert {container["image"] for container in containers(values).values()} == {
        f"registry.corp.example/mtls-tunnel-operator@{digest}"
    }
    assert defaults(values).sidecar_image == "registry.corp.example/mtls-tunnel:0.1.0"
    specs = charts.pod_specs(charts.render(values)).values()
    assert all(spec["imagePullSecrets"] == [{"name": "mirror"}] for spec in specs)


def test_the_hooks_look_for_the_webhook_that_the_chart_makes() -> None:
    configuration = charts.named(charts.defaults(), "MutatingWebhookConfiguration")
    assert configuration["webhooks"][0]["name"] == WEBHOOK
    for name in ("wait-injector", "delete-webhook", "test"):
        args = parsed(containers({})[f"mtls-tunnel-{name}"])
        assert (args["action"], args["name"]) == (name, configuration["metadata"]["name"])


@pytest.mark.parametrize("release", ["a", "x" * 53], ids=["short", "as long as Helm allows"])
def test_names_fit_whatever_the_release_is_called(release: str) -> None:
    for one in charts.render({"fullnameOverride": ""} | {"nameOverride": release}):
        assert len(one["metadata"]["name"]) <= 63
        assert all(len(str(value)) <= 63 for value in one["metadata"].get("labels", {}).values())


def test_each_job_ends_by_itself_and_cleans_up() -> None:
    manifests = charts.defaults()
    for one in manifests:
        annotations = one["metadata"].get("annotations", {})
        if "helm.sh/hook" in annotations:
            assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
        if one["kind"] in {"Job", "Pod"}:
            assert one["kind"] == "Pod" or one["spec"]["activeDeadlineSeconds"] > 0
            assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
    hooks = {one["metadata"]["annotations"]["helm.sh/hook"] for one in manifests if one["kind"] == "Job"}
    assert hooks == {"post-install,post-upgrade,post-rollback", "pre-delete"}


def test_pain_29_nothing_of_the_chart_has_a_finalizer() -> None:
    assert [one for one in charts.defaults() if one["metadata"].get("finalizers")] == []
