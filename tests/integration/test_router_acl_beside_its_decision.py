"""The ACL stands before the rows: a deny rule refuses whom they allow; in audit mode the rows still decide."""

from pathlib import Path

from support.clients import PING, ask, connect, rest
from support.guarded import acl_denial
from support.routed import ORG, Routed, refused, server_name, spiffe
from support.routes import FileRoutes


def test_a_deny_rule_refuses_before_any_row_is_read(tmp_path: Path) -> None:
    routes = FileRoutes(tmp_path / "routes.yaml")
    routes.put("users", user_id="mallory", org_id=ORG)
    routed = Routed(tmp_path, routes, {"acl": {"deny_uri": [spiffe("mallory")]}})
    routed.put_host("open", user_ids=["mallory"])
    with routed, routed.refuses(acl_denial("deny_uri")):
        before = routed.lookups
        assert routed.attempt(routed.person("mallory"), connect_id="open") == "closed"
        assert routed.lookups == before


def test_in_audit_mode_the_acl_only_speaks_and_the_rows_still_refuse(tmp_path: Path) -> None:
    routes = FileRoutes(tmp_path / "routes.yaml")
    routes.put("users", user_id="mallory", org_id=ORG)
    routed = Routed(tmp_path, routes, {"acl": {"deny_uri": [spiffe("mallory")], "mode": "audit"}})
    routed.put_host("open", user_ids=["mallory"])
    with routed:
        assert routed.lets_in(routed.person("mallory"), "open")
        assert routed.tunnel.value("mtlsd_acl_decisions_total", result="audit_deny") == 1
        with routed.refuses(refused("not_allowed")):
            assert routed.attempt(routed.person("mallory")) == "closed"


def test_a_deny_rule_that_comes_with_a_reload_closes_the_live_session(tmp_path: Path) -> None:
    with Routed(tmp_path, FileRoutes(tmp_path / "routes.yaml")) as routed:
        with connect(routed.port, routed.good, name=server_name()) as connection:
            assert ask(connection) == PING
            routed.tunnel.rewrite({"acl": {"deny_uri": [spiffe()]}})
            routed.tunnel.hang_up()
            assert rest(connection) in ("closed", "reset")
        assert not routed.lets_in()
