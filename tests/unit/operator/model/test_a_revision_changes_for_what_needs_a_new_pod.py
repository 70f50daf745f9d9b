"""The hash that decides whether pods are restarted: it changes for what running pods cannot take over, only."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.model.parts import Part, parts_of_tunnel
from mtls_tunnel_operator.model.reading import tunnel_of
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.model.revision import contribution, image_of, revision, sidecar, tunnel_revision
from mtls_tunnel_operator.settings import Defaults
from support.crds import FULL, with_

DEFAULTS = Defaults(
    "registry.example/tunnel:1", allowed_images=("registry.corp.example/*", "registry.example/tunnel:1")
)
BASE = with_(FULL, {"metadata.namespace": "cache", "spec.observability.adminPort": 15999})


def of(changes: dict[str, Any] | None = None, defaults: Defaults = DEFAULTS, account: str = "redis") -> str:
    """The revision of a server pod of the tunnel with *changes*."""
    return revision([Part(tunnel_of(with_(BASE, changes or {})), "server")], account, defaults)


NEEDS_A_POD: dict[str, dict[str, Any]] = {
    "image": {"spec.proxy.image": "registry.corp.example/other:2"},
    "pull policy": {"spec.proxy.imagePullPolicy": "Never"},
    "injection": {"spec.proxy.injection": "NativeSidecar"},
    "resources": {"spec.proxy.resources": {"requests": {"cpu": "30m", "memory": "48Mi"}}},
    "adminPort": {"spec.observability.adminPort": 16001},
    "the tunnel's name": {"metadata.name": "redis-2"},
    "the tunnel's namespace": {"metadata.namespace": "cache-2"},
    "one certificate for all accounts": {
        "spec.certificate.subject": "PerRole",
        "spec.server.workload.serviceAccounts": None,
        "spec.clients.0.serviceAccounts": None,
        "spec.clients.1.serviceAccounts": None,
    },
}
# Every other field of the spec, with another value.
REACHES_RUNNING_PODS: dict[str, dict[str, Any]] = {
    "suspend": {"spec.suspend": False},
    "selector": {"spec.server.workload.selector": {"matchLabels": {"app": "x"}}},
    "accounts": {"spec.server.workload.serviceAccounts": ["redis", "more"]},
    "service": {"spec.server.workload.service": {"policy": "None", "address": "x.example"}},
    "tlsPort": {"spec.server.ports.0.tlsPort": 20001},
    "targetPort": {"spec.server.ports.0.targetPort": 20002},
    "a new port": {"spec.server.ports.2": {"name": "new", "targetPort": 1, "tlsPort": 20003}},
    "plaintextPolicy": {"spec.server.plaintextPolicy": "Permit"},
    "a client less": {"spec.clients.1": FULL["spec"]["clients"][0] | {"name": "w2"}},
    "authorization": {"spec.authorization": {}},
    "issuer": {"spec.certificate.issuerRef": {"name": "default"}},
    "duration": {"spec.certificate.durationSeconds": 86400},
    "renewal": {"spec.certificate.renewBeforeSeconds": 600},
    "trust domain": {"spec.certificate.trustDomain": "x"},
    "key": {"spec.certificate.privateKey": {}},
    "rollout": {"spec.rollout": {}},
    "TLS version": {"spec.proxy.minTLSVersion": "VersionTLS13"},
    "connections": {"spec.proxy.maxConnections": 1},
    "dialling": {"spec.proxy.dialTimeoutSeconds": 1},
    "handshakes": {"spec.proxy.handshakeTimeoutSeconds": 1},
    "idling": {"spec.proxy.idleTimeoutSeconds": 1},
    "draining": {"spec.proxy.drainTimeoutSeconds": 1},
    "PodMonitor": {"spec.observability.podMonitor": "None"},
    "access log": {"spec.observability.accessLog": "None"},
    "log level": {"spec.observability.logLevel": "Error"},
    "status": {"status": {"revision": "x"}},
    "generation": {"metadata.generation": 9},
    "uid": {"metadata.uid": "9"},
}


@pytest.mark.parametrize("name", NEEDS_A_POD)
def test_what_a_running_pod_cannot_take_over_changes_the_revision(name: str) -> None:
    assert of(NEEDS_A_POD[name]) != of()


@pytest.mark.parametrize("name", REACHES_RUNNING_PODS)
def test_what_reaches_running_pods_leaves_the_revision(name: str) -> None:
    assert of(REACHES_RUNNING_PODS[name]) == of()
    assert tunnel_of(with_(BASE, REACHES_RUNNING_PODS[name])) != tunnel_of(BASE) or name == "status"


def test_no_field_of_a_tunnel_is_forgotten() -> None:
    """A new field of the model belongs to one of the two tables; this fails until it is put there."""
    counted = {
        type_: len(fields(type_))
        for type_ in (Tunnel, type(tunnel_of(BASE).proxy), type(tunnel_of(BASE).observability))
    }
    assert list(counted.values()) == [16, 10, 4]


def test_accounts_matter_only_where_each_has_its_own_certificate() -> None:
    shared = NEEDS_A_POD["one certificate for all accounts"]
    assert of(account="other") != of(account="redis")
    assert of(shared, account="other") == of(shared, account="redis")


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"sidecar_image": "registry.example/tunnel:2"}, {"image"}),
        ({"sidecar_pull_policy": "Always"}, {"policy"}),
        ({"sidecar_resources": {}}, {"resources"}),
        ({"injection": "Container"}, {"injection"}),
        ({"run_as_user": 1000}, {"user"}),
        ({"run_as_group": None}, {"group"}),
        ({"cluster_domain": "x"}, set()),
        ({"trust_domain": "x"}, set()),
        ({"max_concurrent_rollouts": 1}, set()),
        ({"operator_namespace": "x"}, set()),
    ],
    ids=str,
)
def test_the_installation_moves_tunnels_that_leave_it_the_choice(change: dict[str, Any], moved: set[str]) -> None:
    free: dict[str, Any] = {"spec.proxy": {}}
    assert (of(free, replace(DEFAULTS, **change)) != of(free)) is bool(moved)
    # A tunnel that chooses for itself follows the installation only in whom the sidecar runs as.
    assert (of(defaults=replace(DEFAULTS, **change)) != of()) is bool(moved & {"user", "group"})


ALLOWED = Defaults("registry.example/tunnel:1", allowed_images=("registry.corp.example/*", "b.example/t@sha256:*0"))


@pytest.mark.parametrize(
    ("image", "defaults", "abroad", "used"),
    [
        pytest.param("", ALLOWED, "", False, id="none asked for"),
        pytest.param("registry.corp.example/a/b:2", ALLOWED, "", True, id="allowed by a star"),
        pytest.param("registry.corp.example.evil/a", ALLOWED, "", False, id="a longer host"),
        pytest.param("x/registry.corp.example/a", ALLOWED, "", False, id="the pattern inside"),
        pytest.param("registryXcorp.example/a", ALLOWED, "", False, id="a dot is a dot"),
        pytest.param("b.example/t@sha256:10", ALLOWED, "", True, id="a star within"),
        pytest.param("registry.corp.example/a", ALLOWED, "jobs", False, id="pods of another namespace"),
        pytest.param("evil.example/a", Defaults("registry.example/tunnel:1"), "", False, id="nothing is allowed"),
        pytest.param(
            "registry.example/tunnel:1", Defaults("registry.example/tunnel:1"), "", True, id="the default itself"
        ),
    ],
)
def test_a_tunnel_runs_no_image_that_the_installation_does_not_allow(
    image: str, defaults: Defaults, abroad: str, used: bool
) -> None:
    asking = tunnel_of(with_(BASE, {"spec.proxy": {"image": image} if image else {}}))
    part = Part(asking, "client", asking.clients[0], abroad)
    assert image_of(part, defaults) == (image if used else "registry.example/tunnel:1")
    assert sidecar([part], defaults).refused_image == ("" if used else image)


def test_the_leader_says_how_the_sidecar_is_and_others_that_differ_are_named() -> None:
    leader, other, same = (
        tunnel_of(with_(BASE, {"metadata.name": name, **changes}))
        for name, changes in (
            ("a", {}),
            ("b", {"spec.observability.adminPort": 16002, "spec.observability.logLevel": "Error"}),
            ("c", {"spec.proxy.maxConnections": 5}),
        )
    )
    parts = [
        Part(other, "server"),
        Part(same, "server"),
        Part(leader, "server"),
        Part(leader, "client", leader.clients[0]),
    ]
    made = sidecar(parts, DEFAULTS)
    assert (made.leader.tunnel.key.name, made.admin_port, made.native, made.pull_policy) == (
        "a",
        15999,
        False,
        "Always",
    )
    assert [part.tunnel.key.name for part in made.ignored] == ["b"]


@given(st.permutations(range(5)), st.sampled_from(["web", "batch", "redis"]))
def test_the_order_in_which_tunnels_are_known_is_of_no_matter(order: list[int], account: str) -> None:
    first, second = tunnel_of(BASE), tunnel_of(with_(BASE, {"metadata.name": "other"}))
    parts = [*parts_of_tunnel(first), *parts_of_tunnel(second)[:2]]
    assert revision([parts[index] for index in order], account, DEFAULTS) == revision(parts, account, DEFAULTS)


def test_each_part_of_a_pod_changes_its_revision() -> None:
    parts = parts_of_tunnel(tunnel_of(BASE))
    choices: list[tuple[Part, ...]] = [(), parts[:1], parts[:2], parts, parts[1:]]
    found = [revision(some, "web", DEFAULTS) for some in choices]
    assert found[0] == ""
    assert len(set(found)) == 5
    assert all(len(one) == 16 for one in found[1:])


def test_what_a_part_contributes_is_canonical_json_and_names_its_files() -> None:
    part = parts_of_tunnel(tunnel_of(with_(BASE, {"spec.proxy": {}})))[0]
    assert contribution(part, "redis", DEFAULTS) == (
        '{"sidecar":{"adminPort":15999,"image":"registry.example/tunnel:1","native":true,"pullPolicy":"IfNotPresent",'
        '"resources":{"limits":{"memory":"128Mi"},"requests":{"cpu":"10m","memory":"40Mi"}},"runAsGroup":65532,'
        f'"runAsUser":65532,"template":1}},"volumes":[["{part.volume_id}","{part.object_name("cache", "redis")}"]]}}'
    )


def test_a_tunnels_own_revision_covers_its_clients_and_accounts() -> None:
    base = tunnel_revision(tunnel_of(BASE), DEFAULTS)
    renamed = with_(BASE, {"spec.clients.1.name": "renamed"})
    more = with_(BASE, {"spec.clients.1.serviceAccounts": ["batch", "more"]})
    assert len({base, tunnel_revision(tunnel_of(renamed), DEFAULTS), tunnel_revision(tunnel_of(more), DEFAULTS)}) == 3
    assert tunnel_revision(tunnel_of(with_(BASE, REACHES_RUNNING_PODS["log level"])), DEFAULTS) == base
