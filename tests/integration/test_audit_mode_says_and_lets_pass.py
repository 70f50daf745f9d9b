"""`acl.mode: audit`: what a rule would deny is logged and counted, and passes; the handshake's demands stay."""

from pathlib import Path

from support.clients import PING, context, refusal, talk
from support.guarded import Guarded, handshake_failure


def test_a_denial_in_audit_mode_passes(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"acl": {"mode": "audit", "allow_cn": ["somebody-else"]}}) as guarded:
        guarded.greet()
        line = r'level=WARN msg="acl: connection would be denied \(audit\)" peer_cn=frontend-service .*rule=default'
        guarded.tunnel.wait_for_line(line)
        assert guarded.tunnel.value("mtlsd_acl_decisions_total", result="audit_deny") == 1
        assert guarded.tunnel.value("mtlsd_acl_decisions_total", result="deny") == 0
        with guarded.refuses(handshake_failure("no_certificate")):
            refusal(guarded.port, context(guarded.files, None))


def test_roles_name_groups_and_stand_in_the_access_log(tmp_path: Path) -> None:
    over = {
        "roles": {"writers": {"allow_cn": ["frontend-service"]}, "readers": {"allow_org": ["Example"]}},
        "acl": {"allow_role": ["writers"]},
        "logging": {"access": "all"},
    }
    with Guarded(tmp_path, over) as guarded:
        assert talk(guarded.port, guarded.good) == PING
        line = guarded.tunnel.wait_for_line('level=INFO msg="connection closed"')
        assert "peer_cn=frontend-service roles=writers,readers duration_ms=" in line
        # The standard library's client leaves without a close_notify.
        assert line.endswith(f"bytes_in={len(PING)} bytes_out={len(PING)} tls=TLSv1.3 reason=truncated")
        reader = guarded.files.write("reader", guarded.authority.client("reader"))
        refusal(guarded.port, context(guarded.files, reader))
        guarded.tunnel.wait_for_line("acl: connection denied.*peer_cn=reader")


def test_access_none_is_silent_about_connections_but_not_about_refusals(tmp_path: Path) -> None:
    over = {"logging": {"access": "none"}, "acl": {"deny_cn": ["denied"]}}
    with Guarded(tmp_path, over) as guarded:
        guarded.greet()
        denied = guarded.files.write("denied", guarded.authority.client("denied"))
        refusal(guarded.port, context(guarded.files, denied))
        guarded.tunnel.wait_for_line("acl: connection denied.*peer_cn=denied")
        assert guarded.tunnel.count("listener: accepted connection|connection closed") == 0
