"""stunnel on the other end, in either role: every byte arrives, and a half-closed connection stays one."""

from pathlib import Path

import pytest

from support.bulk_story import Role, bulk_through_a_peer, half_close_through_a_peer
from support.peers import stunnel

ROLES = [
    pytest.param("server", id="the tunnel dials stunnel"),
    pytest.param("client", id="stunnel dials the tunnel"),
]

# stunnel 5.68 that was told of the end while it has to wait for room says close_notify before it has sent everything,
# to a plain OpenSSL client that reads slowly as well: so no more than its buffers hold.
DOWN_BYTES = 64 * 1024


@pytest.mark.parametrize("role", ROLES)
def test_checksums_are_equal_in_both_directions(tmp_path: Path, role: Role) -> None:
    bulk_through_a_peer(tmp_path, stunnel, role)


@pytest.mark.parametrize("role", ROLES)
def test_a_half_closed_connection_goes_on_in_the_other_direction(tmp_path: Path, role: Role) -> None:
    half_close_through_a_peer(tmp_path, stunnel, role, down_bytes=DOWN_BYTES)
