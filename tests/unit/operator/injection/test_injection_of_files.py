"""`tunnel-operator inject`: YAML in, YAML out, without a cluster."""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtls_tunnel_operator.app import cli
from mtls_tunnel_operator.app.inject import run
from mtls_tunnel_operator.injection.patch import inject
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.settings import Defaults
from support.raw_pods import container
from support.tunnel_resources import space, tunnel, tunnel_raw

TUNNEL = yaml.safe_dump(tunnel_raw())
# Six lines that are a million values when the anchors are written out.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
)


def workload(kind: str, *way: str, namespace: str = "shop") -> str:
    """A workload whose pod template stands below *way*."""
    pod: Any = {"metadata": {"labels": {"app": "postgres"}}, "spec": {"containers": [{"name": "db", "image": "d"}]}}
    for key in reversed(way):
        pod = {key: pod}
    metadata = {"name": "w", "namespace": namespace, **pod.pop("metadata", {})}
    return yaml.safe_dump({"apiVersion": "x/v1", "kind": kind, "metadata": metadata, **pod}, sort_keys=False)


def injected(tmp_path: Path, *documents: str, flags: tuple[str, ...] = ("--sidecar-image=i:1",)) -> tuple[int, str]:
    """Exit code and output for a file of *documents*."""
    (tmp_path / "in.yaml").write_text("---\n".join(documents), encoding="utf-8")
    words = ["inject", "-f", str(tmp_path / "in.yaml"), *flags]
    out = io.StringIO()
    args = cli.parser_of(words).parse_args(words)
    return run(args, out), out.getvalue()


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        pytest.param("Pod", (), id="Pod"),
        *[
            pytest.param(kind, ("spec", "template"), id=kind)
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
        ],
        pytest.param("Rollout", ("spec", "template"), id="pain 33: a kind that nobody told us of"),
        pytest.param("CronJob", ("spec", "jobTemplate", "spec", "template"), id="CronJob"),
        pytest.param("PodTemplate", ("template",), id="PodTemplate"),
    ],
)
def test_pain_33_pods_are_found_by_their_shape(tmp_path: Path, kind: str, way: tuple[str, ...]) -> None:
    code, text = injected(tmp_path, TUNNEL, workload(kind, *way))

    pod = list(yaml.safe_load_all(text))[1]
    for key in way:
        pod = pod[key]
    assert code == 0
    assert container(pod)["image"] == "i:1"


def test_the_result_is_what_the_webhook_would_make(tmp_path: Path) -> None:
    _, text = injected(tmp_path, TUNNEL, workload("Pod"))

    pod = yaml.safe_load(workload("Pod"))
    parts = parts_of(space("shop"), pod["metadata"]["labels"], "default", [tunnel()])
    assert list(yaml.safe_load_all(text))[1] == inject(pod, parts, space("shop"), Defaults("i:1")).pod


def test_what_was_injected_comes_out_as_it_went_in(tmp_path: Path) -> None:
    _, once = injected(tmp_path, TUNNEL, workload("Deployment", "spec", "template"), workload("Pod"))
    code, again = injected(tmp_path, once)
    assert (code, again) == (0, once)


def test_everything_else_stays_as_it_was_written(tmp_path: Path) -> None:
    """Texts that two YAML versions read differently, quotes, flow style, the order of keys, documents, items."""
    service = """\
kind: Service
apiVersion: v1
metadata: {name: s, annotations: {"a": 'y', b: "1e3"}}
spec:
  at: 12:30
  when: 2026-11-21
  octal: 0644
  big: 1e3
  word: y
  text: |
    two
    lines
"""
    listed = "kind: List\napiVersion: v1\nitems:\n  - kind: ConfigMap\n    data: {z: '1', a: '2'}\n"

    code, text = injected(tmp_path, service, TUNNEL, listed)

    assert code == 0
    assert text.split("---\n")[1] == service
    assert text.split("---\n")[3] == listed


def test_pods_in_lists_are_injected_where_they_stand(tmp_path: Path) -> None:
    pod = yaml.safe_load(workload("Pod"))
    nested = {"kind": "List", "items": [{"kind": "PodList", "items": [pod]}, {"kind": "ConfigMap"}]}

    _, text = injected(tmp_path, TUNNEL, yaml.safe_dump(nested))

    items = list(yaml.safe_load_all(text))[1]["items"]
    assert container(items[0]["items"][0])["name"] == "mtls-tunnel"
    assert items[1] == {"kind": "ConfigMap"}


def test_an_anchor_that_two_pods_share_is_written_out(tmp_path: Path) -> None:
    """Injecting one of them must not change the other."""
    shared = """\
kind: List
items:
- {kind: Pod, metadata: {name: a, namespace: shop, labels: {app: postgres}}, spec: &spec {containers: [{name: c}]}}
- {kind: Pod, metadata: {name: b, namespace: shop, labels: {app: other}}, spec: *spec}
"""
    _, text = injected(tmp_path, TUNNEL, shared)

    first, second = list(yaml.safe_load_all(text))[1]["items"]
    assert "initContainers" in first["spec"]
    assert second["spec"] == {"containers": [{"name": "c"}]}


def test_a_template_without_metadata_gets_it(tmp_path: Path) -> None:
    everyone = tunnel_raw()
    absent = {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}
    everyone["spec"]["server"]["workload"]["selector"] = absent
    bare = (
        "kind: Deployment\nmetadata: {name: d, namespace: shop}\nspec: {template: {spec: {containers: [{name: c}]}}}\n"
    )

    _, text = injected(tmp_path, yaml.safe_dump(everyone), bare)

    template = list(yaml.safe_load_all(text))[1]["spec"]["template"]
    assert template["metadata"]["labels"]["mtlstunnel.dev/injected"] == "true"


def test_tunnels_and_namespaces_may_come_from_another_file(tmp_path: Path) -> None:
    (tmp_path / "tunnels.yaml").write_text(TUNNEL, encoding="utf-8")
    closed = "kind: Namespace\nmetadata: {name: shop}\n"

    open_to_it = injected(tmp_path, workload("Pod"), flags=(f"--tunnels={tmp_path}/tunnels.yaml", "--sidecar-image=i"))
    (tmp_path / "tunnels.yaml").write_text(f"{TUNNEL}---\n{closed}", encoding="utf-8")
    not_opted_in = injected(
        tmp_path, workload("Pod"), flags=(f"--tunnels={tmp_path}/tunnels.yaml", "--sidecar-image=i")
    )

    assert "mtls-tunnel" in open_to_it[1]
    assert "mtls-tunnel" not in not_opted_in[1]


def test_defaults_are_those_of_the_release(tmp_path: Path) -> None:
    (tmp_path / "cm.yaml").write_text(
        "kind: ConfigMap\ndata: {sidecarImage: 'r/s:9', runAsUser: ''}\n", encoding="utf-8"
    )

    _, text = injected(tmp_path, TUNNEL, workload("Pod"), flags=(f"--defaults={tmp_path}/cm.yaml",))

    sidecar = container(list(yaml.safe_load_all(text))[1])
    assert sidecar["image"] == "r/s:9"
    assert "runAsUser" not in sidecar["securityContext"]


def test_standard_input_is_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TUNNEL}---\n{workload('Pod')}"))
    args = argparse.Namespace(file=["-"], tunnels=[], namespace="default", defaults=None, sidecar_image="i:1")

    assert run(args) == 0
    said = capsys.readouterr()
    assert "name: mtls-tunnel" in said.out
    assert said.err == "Pod shop/w: injected (shop/orders-db)\n"


def test_a_pod_that_must_be_injected_and_cannot_be_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = yaml.safe_load(workload("Pod"))
    pod["metadata"]["labels"]["mtlstunnel.dev/inject"] = "true"
    pod["spec"]["hostNetwork"] = True

    code, text = injected(tmp_path, TUNNEL, yaml.safe_dump(pod))

    assert code == 1
    assert list(yaml.safe_load_all(text))[1] == pod
    assert "error: Pod shop/w: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        pytest.param(["a: [1"], "in.yaml: while parsing", id="no YAML"),
        pytest.param(["a: 1\na: 2\n"], "key 'a' is given twice", id="a key twice"),
        pytest.param(["kind: Pod\nmetadata: {name: p}\n"], "no MtlsTunnel in these files", id="no tunnel"),
        pytest.param([TUNNEL, "just words\n"], "document 2: want a Kubernetes object, have str", id="no object"),
        pytest.param([TUNNEL, "kind: Pod\nspec: 1\n"], "Pod default/None: this is no pod", id="no pod"),
        pytest.param([TUNNEL.replace("app: postgres", "app: [1]")], "MtlsTunnel orders-db: spec.server", id="selector"),
        pytest.param(["&a [*a]\n"], "contains itself", id="endless"),
        pytest.param(["!!python/object:os.system {}\n"], "could not determine a constructor", id="code"),
        pytest.param([BOMB], "too large", id="a bomb"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], documents: list[str], said: str
) -> None:
    code, text = injected(tmp_path, *documents)

    assert (code, text) == (2, "")
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(
        file=[str(tmp_path / "no.yaml")], tunnels=[], namespace="d", defaults=None, sidecar_image="i"
    )
    assert run(args) == 2
    assert "no.yaml" in capsys.readouterr().err
