"""Two listeners on one port of a pod: the second would not start, so the pod is not injected and says why."""

from typing import Any

from mtls_tunnel_operator.model.parts import Part, clashes, parts_of_tunnel
from support.tunnel_resources import tunnel


def parts(*names: str, **spec: Any) -> list[Part]:
    return [part for name in names for part in parts_of_tunnel(tunnel(name, **spec))]


def server(*ports: tuple[int, int]) -> dict[str, object]:
    listed = [{"name": f"p{tls}", "targetPort": target, "tlsPort": tls} for target, tls in ports]
    return {"workload": {"selector": {"matchLabels": {"app": "x"}}}, "ports": listed}


def client(local: int, port: str = "p20000") -> list[dict[str, object]]:
    return [{"name": "c", "selector": {"matchLabels": {"a": "b"}}, "listeners": [{"port": port, "localPort": local}]}]


def test_a_server_whose_application_names_its_port_has_no_clash() -> None:
    assert clashes(parts("db", server=server((5432, 20000)), clients=[]), [5432]) == ()


def test_a_container_that_has_the_tls_port_is_named() -> None:
    assert clashes(parts("db", server=server((5432, 20000)), clients=[]), [20000]) == (
        "port 20000 is wanted by tlsPort p20000 of tunnel shop/db, and a container of the pod has it: "
        "choose another tlsPort",
    )


def test_two_servers_on_one_tls_port_are_named_both() -> None:
    found = clashes(parts("a", "b", server=server((80, 20000)), clients=[]), [])
    assert found == (
        "port 20000 is wanted by tlsPort p20000 of tunnel shop/b, and tlsPort p20000 of tunnel shop/a has it: "
        "choose another tlsPort",
    )


def test_two_tunnels_may_protect_one_port_on_two() -> None:
    both = parts("a", server=server((80, 20000)), clients=[]) + parts("b", server=server((80, 20001)), clients=[])
    assert clashes(both, [80]) == ()


def test_a_local_port_is_not_where_the_application_listens() -> None:
    """Server of one, client of another, both on 5432: the client's listener would not start."""
    own = parts("db", server=server((5432, 20000)), clients=[])
    other = [part for part in parts("up", server=server((1, 20000)), clients=client(5432)) if part.client]
    assert clashes(own + other, []) == (
        "port 5432 is wanted by client c of tunnel shop/up, and the application behind tunnel shop/db has it: "
        "choose another localPort",
    )


def test_only_the_leaders_admin_port_is_there() -> None:
    first = parts("a", server=server((80, 20000)), clients=[], observability={"adminPort": 16000})
    second = parts("b", server=server((81, 20001)), clients=[], observability={"adminPort": 20000})
    assert clashes(first + second, [15971]) == ()
    assert clashes(first + second, [16000]) == (
        "port 16000 is wanted by the sidecar's admin port (tunnel shop/a), and a container of the pod has it: "
        "choose another observability.adminPort",
    )


def test_no_parts_want_nothing() -> None:
    assert clashes([], [80, 443]) == ()
