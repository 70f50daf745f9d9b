"""The rows decide: each of them alone refuses, with its word in the log and the metrics, and never a byte behind.

Whatever the reason, it looks the same from outside.
"""

from pathlib import Path

import pytest

from support.clients import Version, plain, rest
from support.routed import HOST, ORG, USER, Routed, refused, server_name
from support.routes import Routes
from support.servers import Echo
from support.taps import records_of_answer

TLS = [pytest.param("1.2", id="TLS 1.2"), pytest.param("1.3", id="TLS 1.3")]


def test_a_user_who_is_listed_gets_through_and_nobody_else(tmp_path: Path, routes: Routes) -> None:
    """The example that the tables came with."""
    with Routed(tmp_path, routes) as routed:
        routed.greet()
        routed.tunnel.wait_for_line(
            rf'level=INFO msg="router: routed" user_id={USER} org_id={ORG} connect_id={HOST} '
            rf"backend_addr={routed.backend.address} cached=false remote=127.0.0.1:\d+"
        )
        with routed.refuses(refused("unknown_user")):
            routed.attempt(routed.person("user-457"))


def test_the_answer_is_known_the_second_time(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        routed.greet()
        routed.greet()
        routed.tunnel.wait_for_line('msg="router: routed" .*cached=true')
        seen = {word: routed.tunnel.value("mtlsd_router_cache_total", result=word) for word in ("hit", "miss", "stale")}
        assert seen == {"hit": 1, "miss": 1, "stale": 0}
        assert routed.tunnel.value("mtlsd_router_store_seconds_count") == 1
        assert routed.tunnel.value("mtlsd_router_store_up") == 1


def test_a_member_of_a_listed_team_gets_through(tmp_path: Path, routes: Routes) -> None:
    routes.put("users", user_id="ann", org_id=ORG)
    routes.put("teams", team_id="ops", org_id=ORG, user_ids=["bob", "ann"])
    routes.put("teams", team_id="dev", org_id=ORG, user_ids=[])
    routed = Routed(tmp_path, routes)
    routed.put_host("team-host", user_ids=[], team_ids=["dev", "ops", "gone"])
    with routed:
        assert routed.lets_in(routed.person("ann"), "team-host")


def test_the_port_may_be_left_out(tmp_path: Path, routes: Routes) -> None:
    backend = Echo()
    routed = Routed(tmp_path, routes, {"router": {"default_port": backend.port}}, backend=backend)
    for number, address in enumerate(("127.0.0.1", "localhost", f"localhost:{backend.port}")):
        routed.put_host(f"host-{number}", internal_ip_addr=address)
    with backend, routed:
        assert [routed.lets_in(connect_id=f"host-{number}") for number in range(3)] == [True] * 3


REFUSALS = [
    pytest.param("not_allowed", USER, ORG, "not-listed", id="neither listed nor in a team"),
    pytest.param("not_allowed", "mallory", ORG, "alien-team", id="in a team of another organization"),
    pytest.param("not_allowed", "mallory", ORG, "other-team", id="in a team that is not listed"),
    pytest.param("wrong_org", USER, ORG, "alien-host", id="listed for a host of another organization"),
    pytest.param("wrong_org", USER, "org-9", HOST, id="certificate names another organization"),
    pytest.param("unknown_user", "nobody", ORG, HOST, id="unknown user"),
    pytest.param("unknown_user", "listed-only", ORG, "ghost", id="listed, but no user"),
    pytest.param("unknown_user", USER.upper(), ORG, HOST, id="user in other case"),
    pytest.param("unknown_host", USER, ORG, "nowhere", id="unknown host"),
    pytest.param("unknown_host", USER, ORG, "twice", id="two hosts that differ in case"),
]


def test_each_row_alone_refuses_and_all_look_the_same_outside(tmp_path: Path, routes: Routes) -> None:
    routes.putting(
        [
            ("users", {"user_id": "mallory", "org_id": ORG}),
            ("teams", {"team_id": "alien", "org_id": "org-9", "user_ids": ["mallory", USER]}),
            ("teams", {"team_id": "idle", "org_id": ORG, "user_ids": ["mallory"]}),
        ]
    )
    stage = Routed(tmp_path, routes)
    stage.put_host("not-listed", user_ids=["somebody"])
    stage.put_host("alien-team", user_ids=[], team_ids=["alien"])
    stage.put_host("other-team", user_ids=[], team_ids=["elsewhere"])
    stage.put_host("alien-host", org_id="org-9")
    stage.put_host("ghost", user_ids=["listed-only"])
    stage.put_host("twice")
    stage.put_host("Twice")
    with stage as routed:
        outside = set()
        for case in REFUSALS:
            reason, user, org, connect_id = map(str, case.values)
            with routed.refuses(refused(reason)):
                outside.add(routed.attempt(routed.person(user, org), connect_id=connect_id))
        assert outside == {"closed"}


@pytest.mark.parametrize("version", TLS)
def test_an_unknown_host_and_a_forbidden_one_are_the_same_on_the_wire(
    tmp_path: Path, routes: Routes, version: Version
) -> None:
    """What comes back is counted on the wire: what alerts and tickets say is encrypted, how many there are is not."""
    routed = Routed(tmp_path, routes)
    routed.put_host("not-listed", user_ids=[])
    with routed:
        tls = routed.person(version=version)
        listed, known = (records_of_answer(routed.port, tls, server_name(name)) for name in ("not-listed", "not-known"))
        assert listed == known
        assert listed[-1] == "end of input"


def test_a_backend_that_is_away_is_no_refusal(tmp_path: Path, routes: Routes) -> None:
    routed = Routed(tmp_path, routes)
    routed.put_host("down", internal_ip_addr="127.0.0.1:9")
    with routed:
        assert routed.attempt(connect_id="down") in ("closed", "reset")
        routed.tunnel.wait_for_value(1, "mtlsd_dial_errors_total")
        routed.tunnel.wait_for_line(r'msg="proxy: dial failed" target=127\.0\.0\.1:9')
        routed.greet()


def test_plain_tcp_gets_nowhere(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed, plain(routed.port) as raw:
        before = routed.lookups
        raw.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        assert rest(raw) in ("closed", "reset")
        assert (routed.lookups, routed.backend.accepted) == (before, 0)
