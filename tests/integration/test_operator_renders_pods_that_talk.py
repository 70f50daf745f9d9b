"""What the operator renders, mounted as kubelet does and read by real sidecars: who talks, and who may no more."""

import socket
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.model.resources import Authorization, External, Rule
from support.clients import PING, Refused, ask, plain
from support.ports import free_port, listening
from support.rendered_pods import Pod, Rendered, local_tunnel, signer_of
from support.scrape import get
from support.servers import Echo
from support.tunnel_resources import NOON
from support.waiting import eventually


def local_port(rendered: Rendered) -> int:
    return rendered.tunnel.clients[0].listeners[0].local_port


def is_refused(port: int) -> bool:
    try:
        with plain(port) as caller:
            return ask(caller) != PING
    except (Refused, OSError):
        return True


def is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_a_declared_client_passes_a_stranger_does_not_and_a_removed_one_is_cut(tmp_path: Path) -> None:
    signer, tls = signer_of("cluster.local"), free_port()
    with ExitStack() as connections, Echo() as backend:
        orders = Rendered(local_tunnel("orders-db", backend.port, tls, admin=free_port()), signer)
        other = Rendered(local_tunnel("other", backend.port, tls, admin=free_port()), signer)
        with Pod(tmp_path / "server", [(orders, "server")]) as server:
            # One pod is a client of both: the second tunnel leads to the first one's server, and is not allowed there.
            parts = [(orders, "client"), (other, "client")]
            with Pod(tmp_path / "client", parts, admin=free_port()) as client:
                port = local_port(orders)
                held = connections.enter_context(plain(port))
                assert ask(held) == PING
                with closing(socket.create_connection(("::1", port))) as six:
                    six.sendall(PING)
                    assert six.recv(100) == PING
                assert is_refused(local_port(other))
                client.wait_for_line("expected spiffe://cluster.local/ns/shop/mtlstunnel/other/server")
                assert get(client.admin, "/statusz").status == 200

                orders.tunnel = replace(orders.tunnel, clients=())
                orders.reconcile()
                server.refresh()

                assert is_cut(held)
                server.wait_for_line("session closed: no longer authorized.*denied")
                assert is_refused(port)


def test_a_renewed_pair_and_a_moved_port_reach_a_running_sidecar(tmp_path: Path) -> None:
    signer, first, second = signer_of("cluster.local"), free_port(), free_port()
    with Echo() as backend:
        orders = Rendered(local_tunnel("orders-db", backend.port, first, admin=free_port()), signer)
        with Pod(tmp_path / "server", [(orders, "server")]) as server:
            orders.issue(orders.place("server"))
            orders.tunnel = replace(orders.tunnel, ports=(replace(orders.tunnel.ports[0], tls_port=second),))
            orders.reconcile()
            server.refresh()

            eventually(lambda: listening(second), "the new port is served")
            assert listening(first), "clients still dial it"
            server.wait_for_line("certificates reloaded successfully")


SPEED = 10  # the operator's clock beside ours
KUBELET_SECONDS = 2.0  # of ours: how late a volume may be


@pytest.mark.parametrize("client_seconds", [0.0, KUBELET_SECONDS], ids=["clients hear at once", "clients hear late"])
def test_no_connection_fails_while_a_port_moves(client_seconds: float, tmp_path: Path) -> None:
    """Servers hear of an opening as late as they may and of a closing at once."""
    signer, first, second, began = signer_of("cluster.local"), free_port(), free_port(), time.monotonic()
    with Echo() as backend:
        orders = Rendered(
            local_tunnel("orders-db", backend.port, first, admin=free_port()),
            signer,
            now=lambda: NOON + (time.monotonic() - began) * SPEED,
            propagation_seconds=int(KUBELET_SECONDS * SPEED) + SPEED,
        )
        with (
            Pod(tmp_path / "server", [(orders, "server")]) as server,
            Pod(tmp_path / "client", [(orders, "client")], admin=free_port()) as client,
        ):
            failures: list[str] = []
            stop = threading.Event()
            asking = threading.Thread(target=ask_all_the_time, args=(local_port(orders), stop, failures))
            asking.start()
            try:
                orders.tunnel = replace(orders.tunnel, ports=(replace(orders.tunnel.ports[0], tls_port=second),))
                move(orders, server, client, client_seconds)
                eventually(lambda: listening(second) and not listening(first), "only the new port is served")
                assert ask_once(local_port(orders))
            finally:
                stop.set()
                asking.join()

            assert failures == []


def ask_all_the_time(port: int, stop: threading.Event, failures: list[str]) -> None:
    while not stop.wait(0.02):
        try:
            ask_once(port)
        except (OSError, Refused, AssertionError) as error:
            failures.append(repr(error))


def ask_once(port: int) -> bool:
    with plain(port) as caller:
        assert ask(caller) == PING
    return True


def move(orders: Rendered, server: Pod, client: Pod, client_seconds: float) -> None:
    """Reconcile until nothing is waited for; each volume is refreshed as late as the test wants."""
    pods = {"server": (server, KUBELET_SECONDS), "client": (client, client_seconds)}
    written = {role: orders.files(role, pod.root) for role, (pod, _) in pods.items()}
    late: list[tuple[float, Pod, dict[str, bytes]]] = []
    while True:
        orders.reconcile()
        for role, (pod, seconds) in pods.items():
            files = orders.files(role, pod.root)
            if files != written[role]:
                late.append((time.monotonic() + seconds, pod, files))
                written[role] = files
                if role == "server":
                    pods[role] = (pod, 0.0)  # the next one closes
        for one in [one for one in late if one[0] <= time.monotonic()]:
            late.remove(one)
            one[1].publish(one[2])
        if orders.wake_at is None and not late:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("claimed", ["dr.example", "cluster.local"])
def test_a_federated_ca_vouches_for_its_own_domain_and_for_no_other(claimed: str, tmp_path: Path) -> None:
    """The server has the stranger's CA as dr.example's, whatever domain its leaf claims."""
    home, far, tls = signer_of("cluster.local"), signer_of(claimed), free_port()
    rule = Rule("mirror", spiffe_ids=(f"spiffe://{claimed}/ns/shop/mtlstunnel/journal/client/api",))
    with Echo() as backend:
        made = local_tunnel("journal", backend.port, tls, admin=free_port())
        here = Rendered(
            replace(made, authorization=Authorization(allow=(rule,))),
            home,
            federated=(("dr.example", ca.pem_of(far.bundle).decode()),),
        )
        server_id = here.place("server").identity("cluster.local")
        there = Rendered(
            replace(
                made,
                workload=None,
                external=External("127.0.0.1", spiffe_id=server_id, ca_bundle="home"),
                observability=replace(made.observability, admin_port=free_port()),
            ),
            far,
            server_ca=ca.pem_of(home.bundle).decode(),
        )
        with Pod(tmp_path / "server", [(here, "server")]) as server, Pod(tmp_path / "far", [(there, "client")]):
            if claimed == "dr.example":
                with plain(local_port(there)) as caller:
                    assert ask(caller) == PING
            else:
                assert is_refused(local_port(there))
                server.wait_for_line("tls handshake failed.*reason=unknown_ca")
