"""Which pods a tunnel counts, and how each of them stands."""

from collections.abc import Callable, Iterable

from mtls_tunnel_operator.control.pods.census import Census, Expected, census
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.pods import Pod
from mtls_tunnel_operator.model.resources import Tunnel
from support.tunnel_resources import pod, space, tunnel


def looked_at(
    one: Tunnel, pods: Iterable[Pod], clashes: tuple[str, ...] = (), others: tuple[Tunnel, ...] = ()
) -> Census:
    held = list(pods)
    here: Callable[[str], Iterable[Pod]] = lambda name: [item for item in held if item.namespace == name]  # noqa: E731

    def expected(item: Pod) -> Expected:
        parts = parts_of(space(item.namespace), item.labels, item.account, (one, *others))
        return Expected(parts, "r1", clashes, parts[1:] if others else ())

    return census(one, {"api": ("shop",)}, here, expected)


def standings(found: Census) -> list[tuple[str, str]]:
    return [(member.pod.name, member.standing) for member in found.members]


def test_a_pod_counts_for_the_side_that_selects_it() -> None:
    found = looked_at(tunnel(), [pod("db"), pod("api", "orders-api"), pod("other", "else")])
    assert [(side.name, side.selected) for side in found.sides] == [("server", 1), ("api", 1)]


def test_a_pod_with_the_container_and_the_wanted_revision_is_up_to_date() -> None:
    found = looked_at(
        tunnel(), [pod("new", injected=True, revision="r1"), pod("old", injected=True, revision="r0"), pod("none")]
    )
    assert standings(found) == [("new", "UpToDate"), ("none", "NotInjected"), ("old", "Outdated")]


def test_a_revision_without_the_container_is_no_proof() -> None:
    assert standings(looked_at(tunnel(), [pod(revision="r1")])) == [("postgres-0", "NotInjected")]


def test_finished_and_leaving_pods_do_not_count() -> None:
    gone = [pod("a", phase="Succeeded"), pod("b", phase="Failed"), pod("c", deleting=True)]
    assert standings(looked_at(tunnel(), gone)) == []


def test_a_pod_that_opted_out_is_named_apart() -> None:
    side = looked_at(tunnel(), [pod(labels={"app": "postgres", "mtlstunnel.dev/inject": "false"})]).server
    assert side is not None
    assert (side.selected, side.opted_out) == (0, 1)


def test_pods_on_the_hosts_network_on_windows_and_with_our_containers_name_cannot_be_injected() -> None:
    pods = [pod("host", host_network=True), pod("win", windows=True), pod("same", foreign_container=True)]
    found = looked_at(tunnel(), pods)
    assert {member.standing for member in found.members} == {"CannotBeInjected"}


def test_two_parts_that_want_one_port_are_a_clash() -> None:
    found = looked_at(tunnel(), [pod()], clashes=("port 1 is wanted twice",))
    assert [(member.standing, member.why) for member in found.members] == [("Clash", "port 1 is wanted twice")]


def test_a_pod_of_an_account_that_is_not_listed_is_said() -> None:
    workload = {"selector": {"matchLabels": {"app": "postgres"}}, "serviceAccounts": ["db"]}
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}]
    one = tunnel(
        server={"workload": workload, "ports": ports}, clients=[], certificate={"subject": "PerServiceAccount"}
    )
    found = looked_at(one, [pod("right", account="db"), pod("wrong", account="default")])
    assert standings(found) == [("right", "NotInjected"), ("wrong", "OtherAccount")]


def test_the_leader_of_a_shared_pod_is_named_to_the_other_tunnel() -> None:
    other = tunnel("zebra")
    found = looked_at(other, [pod()], others=(tunnel("aardvark"),))
    assert found.server is not None
    assert [str(leader) for leader in found.server.leaders] == ["shop/aardvark"]


def test_each_pod_is_reported_once_however_many_parts_it_has() -> None:
    both = pod(labels={"app": "postgres"})
    client = {
        "name": "api",
        "selector": {"matchLabels": {"app": "postgres"}},
        "listeners": [{"port": "pg", "localPort": 15433}],
    }
    found = looked_at(tunnel(clients=[client]), [both])
    assert len(found.members) == 2
    assert len(found.standing("NotInjected")) == 1
