"""A configuration becomes a whole new state, or none."""

from pathlib import Path

import pytest

from mtls_tunnel.app.generation import Generation, prepare
from mtls_tunnel.config.schema import Acl, Address, Config, Rules, Tls, Tunnel
from mtls_tunnel.errors import MaterialError
from support.clock import NOW
from support.pki import Authority, Folder


def tunnel(folder: Folder, name: str = "", acl: Acl | None = None) -> Tunnel:
    tls = Tls(str(folder.path / "server.pem"), str(folder.path / "server-key.pem"), (str(folder.path / "ca.pem"),))
    return Tunnel(name, "server", Address("127.0.0.1", 0), Address("127.0.0.1", 1), tls, acl=acl or Acl())


def made(config: Config, previous: Generation | None = None) -> Generation:
    return prepare(config, now=lambda: NOW, previous=previous.prepared if previous else None)


def test_nothing_changed_means_an_equal_generation_with_the_same_contexts(tmp_path: Path) -> None:
    config = Config((tunnel(Folder(tmp_path, now=NOW)),))
    first = made(config)
    again = made(config, first)
    assert again == first
    assert again.prepared[""].server_context is first.prepared[""].server_context


@pytest.mark.parametrize("what", ["certificate", "acl"])
def test_a_change_makes_a_fresh_context_and_so_drops_old_tickets(tmp_path: Path, what: str) -> None:
    folder = Folder(tmp_path, now=NOW)
    first = made(Config((tunnel(folder),)))
    if what == "certificate":
        folder.write("server", folder.authority.server())
    acl = Acl(allow=Rules(cn=("somebody",))) if what == "acl" else Acl()
    second = made(Config((tunnel(folder, acl=acl),)), first)
    assert second.prepared[""].server_context is not first.prepared[""].server_context


def test_an_unchanged_tunnel_keeps_its_context_when_its_neighbour_changes(tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "one", now=NOW), Folder(tmp_path / "two", now=NOW)
    config = Config((tunnel(one, "one"), tunnel(two, "two")))
    first = made(config)
    two.write("server", two.authority.server())
    second = made(config, first)
    kept = [second.prepared[name].server_context is first.prepared[name].server_context for name in ("one", "two")]
    assert kept == [True, False]


def test_a_valid_leaf_does_not_give_way_to_one_that_has_expired(tmp_path: Path) -> None:
    folder = Folder(tmp_path, now=NOW)
    config = Config((tunnel(folder),))
    first = made(config)
    folder.write("server", folder.authority.expired("localhost"))
    with pytest.raises(MaterialError, match="the new certificate has expired - the one in use is valid"):
        made(config, first)


def test_an_expired_leaf_gives_way_to_any_other(tmp_path: Path) -> None:
    folder = Folder(tmp_path, now=NOW)
    folder.write("server", folder.authority.expired("localhost"))
    config = Config((tunnel(folder),))
    first = made(config)
    folder.write("server", folder.authority.not_yet_valid("localhost"))
    assert made(config, first) != first


def test_the_problems_of_all_tunnels_are_told_at_once(tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "one", now=NOW), Folder(tmp_path / "two", now=NOW)
    (one.path / "ca.pem").write_bytes(b"")
    two.write_ca(Authority("Other", now=NOW), name="server.pem")
    with pytest.raises(MaterialError) as caught:
        made(Config((tunnel(one, "one"), tunnel(two, "two"))))
    places = {problem.place for problem in caught.value.problems}
    assert {place.partition(":")[0] for place in places} == {"one", "two"}
