"""Which live peers' certificates have expired, and when to look at the others again."""

from mtls_tunnel.flow.overdue import EXPIRY_RECHECK_SECONDS, run_out
from mtls_tunnel.flow.timers import NEVER
from mtls_tunnel.tls.engine import Leg, Peer
from support.clock import NOW
from support.leaves import someone


def peer(leg: Leg, *, until: float) -> Peer:
    return Peer(someone(leg, not_after=until), (), leg, "TLSv1.3")


def test_nobody_to_look_at_is_never() -> None:
    assert run_out([Peer(None, (), "inbound", "TLSv1.3")], NOW) == ([], NEVER)


def test_the_first_to_expire_says_when_but_clocks_jump() -> None:
    soon, late = peer("inbound", until=NOW + 10), peer("outbound", until=NOW + 86400)
    assert run_out([late, soon], NOW) == ([], 10.1)
    assert run_out([late], NOW) == ([], EXPIRY_RECHECK_SECONDS)


def test_a_certificate_is_over_after_its_last_second_and_the_other_leg_is_looked_at_again() -> None:
    over, good = peer("inbound", until=NOW), peer("outbound", until=NOW + 5)
    assert run_out([over, good], NOW) == ([], 0.1)
    assert run_out([over, good], NOW + 1) == ([over], 4.1)
