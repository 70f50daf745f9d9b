"""What the operator plans, given to a real API server: accepted, and not different afterwards.

An object that the API server changes in what is ours would be written for ever.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtls_tunnel_operator import names
from mtls_tunnel_operator.desired.plan import plan
from mtls_tunnel_operator.desired.same import same
from mtls_tunnel_operator.desired.world import Peers, World
from mtls_tunnel_operator.model.kinds import Ref, ref_of
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Tunnel
from support.crds import DOMAINS, TUNNELS
from support.kube import Kube
from support.tunnel_resources import NOON

EXAMPLES = sorted((Path(__file__).parents[2] / "operator" / "examples").glob("*.yaml"))
FOREIGN = ("PodMonitor", "Certificate")  # their CRDs are not here
SPACES = ("shop", "payments", "bi", "cache", "billing", "mtls-tunnel-system")


@pytest.fixture(scope="module")
def kube(api_server: Kube) -> Kube:
    """An API server that knows our kinds and the examples' namespaces."""
    api_server.apply(
        TUNNELS, DOMAINS, *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in SPACES)
    )
    api_server("wait", "--for=condition=Established", "crd", "--all")
    return api_server


def stored(kube: Kube, path: Path) -> list[dict[str, Any]]:
    """The documents of an example as the API server has them."""

    def is_taken() -> bool:
        kube.apply(path)
        return True

    kube.wait(is_taken, f"{path.name} is taken")
    found = []
    for raw in yaml.safe_load_all(path.read_text()):
        meta = raw["metadata"]
        found.append(kube.get(raw["kind"].lower(), meta["name"], meta.get("namespace", "")))
    return found


def world(tunnel: Tunnel, objects: dict[Ref, Any]) -> World:
    """Everybody has accepted, and every bundle is there."""
    spaces = {client.name: (tunnel.key.namespace, "bi") for client in tunnel.clients}
    return World(Peers("cluster.local", spaces=spaces, server_ca="PEM"), objects)


def write(kube: Kube, manifests: Any) -> dict[Ref, Any]:
    """Apply *manifests*; what the API server has then."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] not in FOREIGN:
            ref = ref_of(manifest)
            words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={names.FIELD_MANAGER}", "-f", "-"]
            kube(*words, text=json.dumps(manifest))
            found[ref] = kube.get(ref.plural, ref.name, ref.namespace)
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_and_what_is_made_of_it_are_taken_and_stay_the_same(kube: Kube, path: Path) -> None:
    for raw in stored(kube, path):
        if raw["kind"] != "MtlsTunnel":
            continue
        tunnel = tunnel_of(raw)

        found = write(kube, plan(tunnel, world(tunnel, {}), NOON).apply)

        again = plan(tunnel, world(tunnel, found), NOON)
        assert [str(ref_of(one)) for one in again.apply if one["kind"] not in FOREIGN] == []
        assert again.delete == ()


def test_each_step_of_a_moved_port_is_taken(kube: Kube) -> None:
    """A Service whose ports get other names and numbers, step by step, and nothing of the old one stays."""
    raw = next(one for one in stored(kube, EXAMPLES[0].with_name("minimal.yaml")) if one["kind"] == "MtlsTunnel")
    raw["metadata"]["name"] = "moving"
    tunnel, now = tunnel_of(raw), NOON
    found = write(kube, plan(tunnel, world(tunnel, {}), now).apply)
    raw["spec"]["server"]["ports"] = [
        {"name": "pg", "targetPort": 5432, "tlsPort": 15433},
        {"name": "more", "targetPort": 5433, "tlsPort": 15434},
    ]
    tunnel = tunnel_of(raw)

    seen: list[list[tuple[str, int]]] = []
    for _ in range(10):
        step = plan(tunnel, world(tunnel, found), now)
        found |= write(kube, step.apply)
        service = found[Ref("services", "shop", "moving")]
        ports = sorted((port["name"], port["port"]) for port in service["spec"]["ports"])
        if not seen or seen[-1] != ports:
            seen.append(ports)
        if step.wake_at is None:
            break
        now = step.wake_at

    assert seen == [
        [("retiring-port-15432", 15432)],
        [("more", 15434), ("pg", 15433), ("retiring-port-15432", 15432)],
        [("more", 15434), ("pg", 15433)],
    ]


def test_a_change_by_somebody_else_is_seen_and_put_right(kube: Kube) -> None:
    raw = next(one for one in stored(kube, EXAMPLES[0].with_name("typical.yaml")) if one["kind"] == "MtlsTunnel")
    raw["metadata"]["name"] = "edited"
    tunnel = tunnel_of(raw)
    made = plan(tunnel, world(tunnel, {}), NOON).apply
    policy = next(one for one in made if one["kind"] == "NetworkPolicy")
    write(kube, made)

    kube.patch("networkpolicy", "edited-mtls", {"spec": {"ingress": [{}]}}, "payments")
    opened = kube.get("networkpolicy", "edited-mtls", "payments")
    assert not same(policy, opened)

    (healed,) = write(kube, [policy]).values()
    assert same(policy, healed)
