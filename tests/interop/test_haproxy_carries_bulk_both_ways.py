"""HAProxy on the other end, in either role: every byte arrives, and a half-closed connection stays one."""

from pathlib import Path

import pytest

from support.bulk_story import Role, bulk_through_a_peer, half_close_through_a_peer
from support.peers import haproxy

ROLES = [
    pytest.param("server", id="the tunnel dials HAProxy"),
    pytest.param("client", id="HAProxy dials the tunnel"),
]


@pytest.mark.parametrize("role", ROLES)
def test_checksums_are_equal_in_both_directions(tmp_path: Path, role: Role) -> None:
    bulk_through_a_peer(tmp_path, haproxy, role)


@pytest.mark.parametrize("role", ROLES)
def test_a_half_closed_connection_goes_on_in_the_other_direction(tmp_path: Path, role: Role) -> None:
    half_close_through_a_peer(tmp_path, haproxy, role)
