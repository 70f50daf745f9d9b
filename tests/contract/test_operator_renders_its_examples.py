"""`tunnel-operator render` and the examples: each is carried out, and what is printed is what would be applied."""

from pathlib import Path

import pytest
import yaml

from mtls_tunnel.config.load import Source, load
from mtls_tunnel_operator.app.cli import main
from mtls_tunnel_operator.desired.same import sealed

EXAMPLES = Path(__file__).parents[2] / "operator" / "examples"
PRINTED = {
    "minimal": [
        "ConfigMap shop/orders-db-mtls-server",
        "Service shop/orders-db",
        "ConfigMap shop/orders-db-mtls-client-api",
    ],
    "typical": [
        "ConfigMap payments/ledger-mtls-server-c8c200e3",
        "Service payments/ledger-mtls",
        "ConfigMap payments/ledger-mtls-client-checkout-15c9a48e",
        "ConfigMap bi/ledger-mtls-client-reports-ba437285",
        "NetworkPolicy payments/ledger-mtls",
    ],
    "full": [
        "ConfigMap cache/redis-mtls-server-44c4cef1",
        "Service cache/redis-mtls",
        "NetworkPolicy cache/redis-mtls",
        "PodMonitor cache/redis-mtls",
        "Certificate cache/redis-mtls-server-44c4cef1",
    ],
    "external-server": ["ConfigMap billing/bank-mtls-client-billing"],
    "audit-mode": ["ConfigMap shop/search-mtls-server", "Service shop/search", "ConfigMap shop/search-mtls-client-web"],
    "federation": ["ConfigMap shop/journal-mtls-server", "Service shop/journal"],
    "namespaced-client": [
        "ConfigMap shop/warehouse-mtls-server",
        "Service shop/warehouse",
        "ConfigMap bi/warehouse-mtls-client-reports-efbe70c6",
    ],
}


def rendered(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["render", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    return str(path)


def test_every_example_is_rendered_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_is_carried_out(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = rendered(capsys, "-f", str(EXAMPLES / f"{name}.yaml"))

    assert (code, err) == (0, "")
    objects = list(yaml.safe_load_all(out))
    named = [f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}" for one in objects]
    assert named == PRINTED[name]
    for one in objects:
        assert sealed(one) == one  # nothing was lost on the way to the screen
        if one["kind"] == "ConfigMap":
            files = one["data"]
            process = Source("process.yaml", f"strict: true\n{files['process-15971.yaml']}")
            found = load([Source("tunnel.yaml", files["tunnel.yaml"])], process=process)
            assert found.warnings == ()
            named_files = {path.rpartition("/")[2] for each in found.config.tunnels for path in each.tls.ca}
            assert named_files <= {"ca.crt", *files}


def test_secrets_are_spoken_of_and_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = rendered(capsys, "-f", str(EXAMPLES / "minimal.yaml"))

    assert "kind: Secret" not in out
    assert (
        "# Secret shop/orders-db-mtls-server, made by the operator: "
        "spiffe://cluster.local/ns/shop/mtlstunnel/orders-db/server, orders-db.shop.svc.cluster.local" in out
    )


def test_rendering_twice_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    for name in PRINTED:
        assert len({rendered(capsys, "-f", str(EXAMPLES / f"{name}.yaml"))[1] for _ in range(2)}) == 1


def test_bundles_and_trust_domains_of_the_files_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "federation.yaml").read_text().replace("# put the CA certificates of trust domain", "PEM of")

    _, out, _ = rendered(capsys, "-f", written(tmp_path, text.replace("cluster.local", "td.example")))

    server = next(yaml.safe_load_all(out))["data"]
    assert server["federated-0.crt"] == "PEM of dr.example here, as PEM\n"
    assert "td.example/ns/shop/mtlstunnel/journal/server" in out


def test_defaults_of_a_release_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"clusterDomain": "k8s.example", "trustDomain": "td.example", "sidecarImage": "x", "unknown": "y"}
    release = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "r-defaults"}, "data": data}

    code, out, err = rendered(
        capsys, "-f", str(EXAMPLES / "minimal.yaml"), "--defaults", written(tmp_path, yaml.safe_dump(release))
    )

    assert (code, "orders-db.shop.svc.k8s.example:15432" in out, "spiffe://td.example/ns/shop" in out) == (
        0,
        True,
        True,
    )
    assert "warning: " in err
    assert "unknown: unknown, ignored" in err


def test_a_namespace_that_does_not_accept_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "namespaced-client.yaml").read_text().replace("accept-tunnels-from: shop", "other: shop")

    code, out, _ = rendered(capsys, "-f", written(tmp_path, text))

    assert code == 0
    assert "# client reports: not accepted by namespace bi" in out
    assert "ns/bi/" not in out


def test_a_suspended_tunnel_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "minimal.yaml").read_text().replace("spec:\n", "spec:\n  suspend: true\n")

    assert rendered(capsys, "-f", written(tmp_path, text)) == (
        0,
        "# MtlsTunnel shop/orders-db\n# is suspended: nothing would be applied\n",
        "",
    )


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", 2, "no MtlsTunnel in"),
        ("a: [", 2, "error: "),
        ("- 1", 2, "want a Kubernetes object, have list"),
        ("kind: List\nitems: [1]", 2, "want a Kubernetes object, have int"),
        (
            "apiVersion: mtlstunnel.dev/v1alpha1\nkind: MtlsTunnel\nmetadata: {name: x}\nspec: {}",
            1,
            "MtlsTunnel x: spec.server",
        ),
        ("apiVersion: mtlstunnel.dev/v1alpha1\nkind: MtlsTunnel\nmetadata: [x]\nspec: 7", 1, "error: "),
        ("apiVersion: mtlstunnel.dev/v1alpha1\nkind: MtlsTrustDomain\nmetadata: {name: x}\nspec: {}", 2, "trustDomain"),
    ],
)
def test_bad_input_is_told_in_one_line(
    text: str, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, out, err = rendered(capsys, "-f", written(tmp_path, text))

    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert words in err


def test_one_broken_resource_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minimal = (EXAMPLES / "minimal.yaml").read_text()
    broken = minimal.replace("tlsPort: 15432", "tlsPort: 5432")

    code, out, err = rendered(capsys, "-f", written(tmp_path, f"{broken}---\n{minimal}"))

    assert (code, out.count("kind: ConfigMap")) == (1, 2)
    assert "document 1: MtlsTunnel orders-db: spec.server.ports: a tlsPort must differ from every targetPort" in err


def test_a_trust_domain_that_does_not_fit_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "federation.yaml").read_text()
    text = text.replace("\nspec:\n  server:", "\nspec:\n  certificate: {trustDomain: other}\n  server:")

    code, _, err = rendered(capsys, "-f", written(tmp_path, text))

    assert code == 1
    assert "spec.certificate.trustDomain is not that of MtlsTrustDomain default, cluster.local: remove it" in err
