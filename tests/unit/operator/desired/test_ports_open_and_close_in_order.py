"""A port is served everywhere before anybody dials it, and until nobody can any more."""

from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import Client, Listener, Port, Service, Tunnel
from support.staged_cluster import PROPAGATION, Cluster
from support.tunnel_resources import tunnel

ADDRESS = "db.example.com"
NAMES = ("pg", "admin", "metrics")
LATE = 10.0  # the longest between a plan and its writes
HOST = "orders-db.shop.svc.cluster.local"


def listeners(client: Client, ports: dict[str, int]) -> Client:
    return replace(client, listeners=tuple(Listener(name, number) for name, number in sorted(ports.items())))


@dataclass
class Edited:
    """A resource that somebody edits: ports by name, the listeners of each client, the Service's name."""

    ports: dict[str, int]
    wanted: dict[str, dict[str, int]]
    service: str = ""

    @property
    def tunnel(self) -> Tunnel:
        base = tunnel()
        assert base.workload is not None
        return replace(
            base,
            ports=tuple(Port(name, number, 5000 + NAMES.index(name)) for name, number in sorted(self.ports.items())),
            clients=tuple(listeners(replace(base.clients[0], name=name), each) for name, each in self.wanted.items()),
            workload=replace(base.workload, service=self.dialed),
        )

    @property
    def dialed(self) -> Service:
        return Service("None", address=self.service) if "." in self.service else Service(name=self.service)

    def edit(self, draw: st.DrawFn) -> None:
        """One change of any kind that the CRD would accept."""
        kind = draw(st.sampled_from(("renumber", "renumber", "service", "rename", "add", "remove", "listen", "client")))
        name = draw(st.sampled_from(sorted(self.ports)))
        if kind in ("renumber", "add"):
            free = sorted({15000, 15001, 15002, 15003} - set(self.ports.values()))
            self.ports[name if kind == "renumber" else draw(st.sampled_from(NAMES))] = draw(st.sampled_from(free))
        elif kind == "rename":
            new = draw(st.sampled_from(NAMES))
            if new not in self.ports:
                self.ports[new] = self.ports.pop(name)
                self.wanted = {
                    client: {new if port == name else port: local for port, local in chosen.items()}
                    for client, chosen in self.wanted.items()
                }
        elif kind == "remove" and len(self.ports) > 1:
            del self.ports[name]
            for client, chosen in self.wanted.items():
                kept = {port: local for port, local in chosen.items() if port != name}
                self.wanted[client] = kept or {min(self.ports): 6000}
        elif kind == "listen":
            some = draw(st.lists(st.sampled_from(sorted(self.ports)), min_size=1, unique=True))
            self.wanted["api"] = dict(zip(some, draw(st.permutations(range(6000, 6003))), strict=False))
        elif kind == "service":
            self.service = draw(st.sampled_from(sorted({"", "db", "db-mtls", ADDRESS} - {self.service})))
        elif kind == "client" and self.wanted.pop("batch", None) is None:
            self.wanted["batch"] = {name: 6000}


@st.composite
def edits(draw: st.DrawFn) -> list[Tunnel]:
    resource = Edited({"pg": 15000}, {"api": {"pg": 6000}})
    made = [resource.tunnel]
    for _ in range(draw(st.integers(1, 3))):
        resource.edit(draw)
        made.append(resource.tunnel)
    return made


# The operator comes late, fails half-way, and is asked again when it wanted to be, or at another time.
rounds = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.0, LATE)),
        st.sampled_from((1000, 1000, 1000, 0, 1, 2)),
        st.sampled_from((None, None, None, 0.0, 1.0, 60.0, PROPAGATION)),
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(edits(), st.lists(rounds, min_size=4, max_size=4), st.sampled_from((("shop",), ("bi",), ("bi", "shop"))))
def test_nobody_can_ever_dial_what_is_not_served_and_all_edits_arrive(
    versions: list[Tunnel], worked: list[list[tuple[float, int, float | None]]], spaces: tuple[str, ...]
) -> None:
    cluster = Cluster(versions[0], spaces=spaces)
    for version, steps in zip(versions, worked, strict=False):
        cluster.tunnel = version
        for late, writes, pause in steps:
            cluster.reconcile(late=late, writes=writes)
            wake_at = cluster.now if cluster.wake_at is None else cluster.wake_at
            cluster.now = max(cluster.now, wake_at) if pause is None else cluster.now + pause
            cluster.check()

    cluster.settle()

    last = versions[-1]
    numbers = {port.name: port.tls_port for port in last.ports}
    host = f"{last.service_name}.shop.svc.cluster.local" if last.service_name else ADDRESS
    assert cluster.served() == cluster.service_ports(host) == set(numbers.values())
    services = [ref.name for ref in cluster.objects if ref.plural == "services"]
    assert services == ([last.service_name] if last.service_name else [])
    for client in last.clients:
        leads = {(dial.local_port, dial.host, dial.tls_port) for dial in cluster.dials(client.name)}
        assert leads == {(each.local_port, host, numbers[each.port]) for each in client.listeners}


def settled(made: Tunnel) -> Cluster:
    cluster = Cluster(made)
    cluster.settle()
    return cluster


def test_a_new_tunnel_opens_at_once() -> None:
    cluster = Cluster(tunnel())

    made = cluster.reconcile()

    assert (made.wake_at, made.waiting) == (None, ())
    assert [dial.tls_port for dial in cluster.dials("api")] == [15432]
    assert cluster.service_ports(HOST) == {15432}


def test_a_moved_port_is_served_under_both_numbers_until_every_client_has_moved() -> None:
    cluster = settled(tunnel())
    cluster.change(ports=(Port("pg", 15433, 5432),))

    steps: list[tuple[set[int], set[int], int]] = []
    for _ in range(8):
        made = cluster.reconcile()
        step = cluster.served(), cluster.service_ports(HOST), cluster.dials("api")[0].tls_port
        if step not in steps:
            steps.append(step)
        if made.wake_at is None:
            break
        cluster.now = made.wake_at

    assert steps == [
        ({15432, 15433}, {15432}, 15432),
        ({15432, 15433}, {15432, 15433}, 15433),
        ({15433}, {15433}, 15433),
    ]


def test_a_stamp_from_the_future_does_not_hold_a_change_up_for_ever() -> None:
    cluster = settled(tunnel())
    cluster.change(ports=(Port("pg", 15433, 5432),))
    ahead = replace(cluster, now=cluster.now + 10 * 365 * 86400)
    ahead.reconcile()  # on a machine whose clock is wrong
    cluster.history = {ref: [(cluster.now, version) for _, version in held] for ref, held in ahead.history.items()}

    began = cluster.now
    cluster.settle()

    assert cluster.dials("api")[0].tls_port == 15433
    assert cluster.now - began < 4 * PROPAGATION


def test_an_api_server_whose_clock_is_ahead_does_not_hold_a_change_up() -> None:
    cluster = settled(tunnel())
    service = Ref("services", "shop", "orders-db")
    cluster.objects[service]["metadata"]["creationTimestamp"] = "2222-01-01T00:00:00Z"
    cluster.change(ports=(Port("pg", 15433, 5432),))

    began = cluster.now
    cluster.settle()

    assert cluster.dials("api")[0].tls_port == 15433
    assert cluster.now - began < 4 * PROPAGATION


def test_a_client_of_a_port_that_opens_now_waits_before_it_is_made() -> None:
    cluster = settled(tunnel(clients=[]))
    client = listeners(replace(tunnel().clients[0], name="late"), {"admin": 6001})
    cluster.change(ports=(*cluster.tunnel.ports, Port("admin", 15001, 5433)), clients=(client,))

    made = cluster.reconcile()
    assert [place.name for place in made.waiting] == ["orders-db-mtls-client-late"]

    cluster.settle()
    assert cluster.dials("late")[0].tls_port == 15001


def test_a_new_client_of_an_open_port_is_made_at_once() -> None:
    cluster = settled(tunnel(clients=[]))
    cluster.change(clients=tunnel().clients)

    cluster.reconcile()

    assert cluster.dials("api")[0].tls_port == 15432


def test_a_listener_goes_on_while_its_port_gets_another_name_and_number() -> None:
    cluster = settled(tunnel())
    client = listeners(tunnel().clients[0], {"pg": 5432, "admin": 5433})
    ports = (Port("pg", 15432, 5432), Port("admin", 15001, 5433))
    cluster.change(ports=ports, clients=(client,))
    cluster.settle()

    moved = listeners(client, {"pg": 5432, "console": 5433})
    cluster.change(ports=(ports[0], Port("console", 15002, 5433)), clients=(moved,))
    cluster.reconcile()

    assert {dial.local_port: dial.tls_port for dial in cluster.dials("api")} == {5432: 15432, 5433: 15001}
    cluster.settle()
    assert {dial.local_port: dial.tls_port for dial in cluster.dials("api")} == {5432: 15432, 5433: 15002}


def test_a_configmap_that_was_deleted_by_hand_does_not_make_a_change_hasty() -> None:
    cluster = settled(tunnel())
    server = Ref("configmaps", "shop", "orders-db-mtls-server")
    del cluster.objects[server]  # the files of running pods stay as they were
    cluster.change(ports=(Port("pg", 15433, 5432),))

    cluster.reconcile()
    assert (cluster.served(), cluster.dials("api")[0].tls_port) == ({15432, 15433}, 15432)

    cluster.settle()
    assert (cluster.served(), cluster.dials("api")[0].tls_port) == ({15433}, 15433)
